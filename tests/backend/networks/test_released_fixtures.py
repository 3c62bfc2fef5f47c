# SPDX-License-Identifier: GPL-3.0-or-later
"""The paper's engine exactly: converted checkpoints against outputs that the released network computed.

Every figure must agree to 1e-4; measured deviations are recorded with the test results.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.paths import RELEASED
from transformers import HubertConfig, HubertModel

from diffposetalk.convert.checkpoint import convert_checkpoint
from diffposetalk.diffusion.guidance import Condition, DynamicThreshold, GuidedDenoiser
from diffposetalk.diffusion.samplers import sample_ddpm
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.networks.model import DiffPoseTalk
from diffposetalk.networks.prepared_denoiser import PreparedDenoiser

TOLERANCE = 1e-4

Case = tuple[DiffPoseTalk, dict[str, torch.Tensor]]
Agree = Callable[[str, torch.Tensor, torch.Tensor], None]


@pytest.fixture(scope="module", params=["head", "nohead"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A converted and loaded set, and its expected values."""
    folder = tmp_path_factory.mktemp(request.param)
    # Of the speech encoder only the width matters here: the fixtures begin behind it.
    sizes = {"num_hidden_layers": 1, "intermediate_size": 32, "conv_dim": [16] * 7}
    HubertModel(HubertConfig(num_conv_pos_embeddings=16, **sizes)).save_pretrained(folder / "hubert")
    paths = (
        RELEASED / name for name in (f"dpt_{request.param}.pt", f"se_{request.param}.pt", "stats_train.npz")
    )
    convert_checkpoint(*paths, folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFPOSETALK_HUBERT", str(folder / "hubert"))
        model = load_model(folder / "model", "cpu")
    with np.load(RELEASED / f"cases_{request.param}.npz") as expected:
        return model, {name: torch.from_numpy(expected[name]) for name in expected.files}


@pytest.fixture
def agree(record_property: Callable[[str, object], None]) -> Agree:
    """Asserts agreement and records the deviation."""

    def check(name: str, ours: torch.Tensor, theirs: torch.Tensor) -> None:
        assert ours.shape == theirs.shape
        deviation = float((ours - theirs).abs().max())
        record_property(f"deviation of {name}", deviation)
        assert deviation < TOLERANCE

    return check


def test_style_encoder(case: Case, agree: Agree) -> None:
    model, c = case
    with torch.no_grad():
        agree("style", model.style_encoder(c["style_in"]), c["style_out"])


def test_denoiser(case: Case, agree: Agree) -> None:
    model, c = case
    speech = torch.cat([c["prev_audio_feat"], c["audio_feat"]], 1)
    with torch.no_grad():
        out = model.denoiser(
            c["x_noisy"], c["prev_motion"], speech, c["style_out"], c["shape"], c["step"], c["indicator"]
        )
    agree("denoiser", out, c["denoiser_out"])


def test_denoiser_prepared_for_sampling(case: Case, agree: Agree) -> None:
    model, c = case
    speech = torch.cat([c["prev_audio_feat"], c["audio_feat"]], 1)
    with torch.no_grad():
        window = PreparedDenoiser(model.denoiser).window(
            c["prev_motion"], [(speech, c["style_out"])], c["shape"], c["indicator"]
        )
        for row, step in enumerate(c["step"].tolist()):
            out = window(c["x_noisy"], step)[0, row]
            agree(f"prepared denoiser {row}", out, c["denoiser_out"][row, model.config.denoiser.previous :])


def test_schedule(case: Case, agree: Agree) -> None:
    model, c = case
    agree("alpha bars", model.schedule.alpha_bars.float(), c["alpha_bars"])


def sampled(
    case: Case,
    previous_motion: torch.Tensor,
    previous_speech: torch.Tensor,
    noise: torch.Tensor,
    threshold: DynamicThreshold | None,
) -> torch.Tensor:
    """One window at the model's own guidance, ancestral sampling through all steps with given noise."""
    model, c = case
    settings = model.config.sampling
    assert settings.hears_before and settings.reuse_noise
    previous_speech = previous_speech.expand(2, -1, -1)
    condition = Condition(
        previous_motion=previous_motion.expand(2, -1, -1),
        speech=torch.cat([previous_speech, c["audio_feat"]], 1),
        null_speech=torch.cat([previous_speech, model.null_speech.expand_as(c["audio_feat"])], 1),
        style=c["style_out"],
        null_style=model.null_style,
        shape=c["shape"],
        indicator=c["indicator"],
    )
    draws = iter(noise)
    with torch.no_grad():
        denoise = GuidedDenoiser(
            PreparedDenoiser(model.denoiser),
            condition,
            settings.speech_guidance,
            settings.style_guidance,
            threshold,
        )
        out = sample_ddpm(denoise, c["x_T"], model.schedule, lambda: next(draws))
    assert next(draws, None) is None
    return out


def test_first_window(case: Case, agree: Agree) -> None:
    model, c = case
    out = sampled(case, model.start_motion, model.start_speech, c["sample_first_noise"], None)
    agree("first window", out, c["sample_first_out"])


def test_following_window_with_dynamic_thresholding(case: Case, agree: Agree) -> None:
    _, c = case
    out = sampled(
        case, c["prev_motion"], c["prev_audio_feat"], c["sample_next_noise"], DynamicThreshold(0.99, 1.0, 4.0)
    )
    agree("following window", out, c["sample_next_out"])
