# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's draft: written beside it, loaded with it, chosen by quality, and refused where it does not belong."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from support.backend_process import Client, greet

from diffposetalk.cli import main
from diffposetalk.errors import ModelError
from diffposetalk.generation.draft import load_draft, save_draft
from diffposetalk.motion.clip import load_motion
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.train.distillation import student_model
from diffposetalk.train.recipe import DistillTraining


@pytest.fixture(scope="module")
def drafted(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a draft, whose denoiser is another one."""
    folder = tmp_path_factory.mktemp("drafted") / "tiny"
    shutil.copytree(tiny_model, folder)
    teacher = load_model(folder, "cpu")
    denoiser = copy.deepcopy(teacher.denoiser)
    with torch.no_grad():
        for weight in denoiser.parameters():
            weight.mul_(1.5)
    save_draft(student_model(teacher, denoiser, DistillTraining(steps=2)), folder)
    return folder


def test_a_draft_is_the_model_with_another_denoiser(drafted: Path):
    model = load_model(drafted, "cpu")
    draft = load_draft(drafted, model)
    assert torch.allclose(draft.denoiser.positions, 1.5 * model.denoiser.positions)
    assert draft.speech_encoder is model.speech_encoder and draft.styles is model.styles
    assert (draft.config.sampling.sampler, draft.config.sampling.steps) == ("ddim", 2)
    assert draft.config.sampling.speech_guidance == draft.config.sampling.style_guidance == 1
    assert draft.sha256 != model.sha256 and "draft" in draft.config.name


def test_quality_is_chosen_on_the_command_line(drafted: Path, recording: Path, tmp_path: Path, capsys):
    made = {}
    for quality in ("final", "draft"):
        out = tmp_path / f"{quality}.npz"
        command = ["generate", str(recording), "-o", str(out), "--model", str(drafted), "--seconds", "2"]
        assert main([*command, "--device", "cpu", "--quality", quality]) == 0
        made[quality] = load_motion(out)
    assert made["draft"].provenance["steps"] == 2 and made["final"].provenance["steps"] == 4
    assert "draft" in made["draft"].provenance["model"]
    assert abs(made["draft"].exp - made["final"].exp).max() > 1e-4
    command = ["generate", str(recording), "-o", str(tmp_path / "x.npz"), "--model", str(drafted)]
    assert main([*command, "--quality", "draft", "--style-guidance", "2"]) == 2
    assert "built in" in capsys.readouterr().err


def test_quality_is_chosen_over_the_protocol(
    drafted: Path, tiny_model: Path, recording: Path, tmp_path: Path
):
    client = Client()
    greet(client)
    try:
        assert client.result("load_model", model=str(drafted), device="cpu")["draft"] is True
        request = {"audio": str(recording), "output_dir": str(tmp_path), "seeds": [0], "audio_seconds": 2.0}
        steps = {}
        for quality in ("draft", "final"):
            [take] = client.result("generate", **request, quality=quality)["takes"]
            steps[quality] = load_motion(take["path"]).provenance["steps"]
        assert steps == {"draft": 2, "final": 4}
        assert client.kind("generate", **request, quality="best") == "settings_quality"
        assert client.kind("generate", **request, quality="draft", steps=9) == "settings_draft"
        assert client.result("load_model", model=str(tiny_model), device="cpu")["draft"] is False
        assert client.kind("generate", **request, quality="draft") == "draft_missing"
    finally:
        client.end()


def test_drafts_that_do_not_belong_are_refused(drafted: Path, tiny_model: Path, tmp_path: Path):
    model = load_model(drafted, "cpu")
    student = load_draft(drafted, model)
    student.config.provenance["distilled_from_sha256"] = "0" * 64
    with pytest.raises(ModelError, match="not the model"):
        save_draft(student, tiny_model)

    def spoilt(name: str, change) -> str:
        folder = tmp_path / name
        shutil.copytree(drafted, folder)
        change(folder)
        with pytest.raises(ModelError) as caught:
            load_draft(folder, model)
        return caught.value.kind

    def about(folder: Path, **changed: object) -> None:
        values = json.loads((folder / "draft.json").read_text())
        (folder / "draft.json").write_text(json.dumps({**values, **changed}))

    provenance = json.loads((drafted / "draft.json").read_text())["provenance"]
    assert spoilt("cut", lambda f: (f / "draft.safetensors").write_bytes(b"\x10\0")) == "draft_invalid"
    assert spoilt("gone", lambda f: (f / "draft.safetensors").unlink()) == "draft_invalid"
    assert spoilt("text", lambda f: (f / "draft.json").write_text("[")) == "draft_invalid"
    assert spoilt("steps", lambda f: about(f, sampling={"steps": 10**9})) == "draft_invalid"
    other = {**provenance, "distilled_from_sha256": "1" * 64}
    assert spoilt("other", lambda f: about(f, provenance=other)) == "draft_model"
    grid = {**provenance, "distilled_grid": [20, 1, 0]}
    assert spoilt("grid", lambda f: about(f, provenance=grid)) == "draft_invalid"
