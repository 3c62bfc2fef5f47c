# SPDX-License-Identifier: GPL-3.0-or-later
"""Released checkpoints into model directories: what converts, and everything that must be refused."""

from __future__ import annotations

import argparse
import builtins
import functools
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.released_files import HEARD, LAYERS, STEPS, WINDOW, Released
from transformers import HubertConfig, HubertModel

from diffposetalk.cli import main
from diffposetalk.convert.checkpoint import convert_checkpoint
from diffposetalk.errors import ModelError, OutputError
from diffposetalk.files.torch_file import read_torch_file
from diffposetalk.generation.batching import generate
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.networks.speech.encoder import encode
from diffposetalk.sound.audio import load_speech

Change = Callable[[Released], Any]


@pytest.fixture(scope="module")
def hubert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small HuBERT as wide as the files of these tests hear."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hubert")
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "conv_dim": [16] * 7}
    HubertModel(HubertConfig(hidden_size=HEARD, num_conv_pos_embeddings=16, **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture
def released(tmp_path: Path) -> Released:
    (tmp_path / "released").mkdir()
    return Released(tmp_path / "released")


def base_hubert() -> HubertModel:
    """A HuBERT of the base kind, but narrow and with one layer."""
    sizes = HubertConfig(
        hidden_size=HEARD, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4 * HEARD
    )
    torch.manual_seed(1)
    return HubertModel(sizes).eval()


def refused(released: Released, output: Path, save: Callable[..., None] = torch.save) -> ModelError:
    """The refusal of a set; nothing may be left behind by it."""
    before = sorted(output.parent.iterdir())
    paths = released.write(save)
    with pytest.raises(ModelError) as caught:
        convert_checkpoint(*paths, output)
    assert sorted(output.parent.iterdir()) == before and not output.exists()
    assert len(caught.value.message) > 20 and "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("head_pose", [True, False])
def test_converts_loads_and_generates(
    head_pose: bool, hubert: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(hubert))
    (tmp_path / "released").mkdir()
    released = Released(tmp_path / "released", head_pose)
    output = tmp_path / "Modell für Ödön"
    summary = convert_checkpoint(*released.write(), output, name="paper")
    assert summary.folder == output and sorted(p.name for p in output.iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    model = load_model(output, "cpu")
    config = model.config
    assert config.name == "paper" and config.basis == "flame" and config.head_pose is head_pose
    assert config.expression_names[0] == "Exp000" and config.expression_names[49] == "Exp049"
    assert config.style_encoder.shared_position and config.speech_encoder.kind == "hubert"
    sampling = config.sampling
    assert (sampling.speech_guidance, sampling.style_guidance, sampling.reuse_noise) == (1.15, 3.0, True)
    assert not (sampling.join_face or sampling.join_head or sampling.smooth_head or sampling.style)
    assert config.provenance["iterations"] == {"denoiser": 110_000, "style_encoder": 26_000}

    speech = load_speech(recording)
    style = model.encode_style(torch.randn(1, WINDOW, config.denoiser.motion_dim) * 0.1)[0].detach()
    (clip,) = generate(model, speech, style=style, seeds=[0], sampler="ddpm")
    assert clip.exp.shape == (150, 50) and clip.basis == "flame"
    mean = released.statistics["pose_mean"]
    np.testing.assert_array_equal(clip.pose[:, 4:], np.broadcast_to(mean[4:], (150, 2)))
    assert clip.pose[:, :3].any() == head_pose and clip.pose[:, 3].std() > 0
    assert clip.exp.std() > 0.01


def test_generation_is_the_released_one(
    released: Released, hubert: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two windows through the engine equal the released code's loop, written down once more."""
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(hubert))
    convert_checkpoint(*released.write(), tmp_path / "model")
    model = load_model(tmp_path / "model", "cpu", "float32")
    speech = load_speech(recording)
    style, shape = torch.randn(128), torch.randn(100) * 0.1
    (clip,) = generate(model, speech, style=style, shape=shape, seeds=[4], sampler="ddpm")

    stats = released.statistics
    schedule = {
        k: released.denoiser["model"][f"diffusion_sched.{k}"].double() for k in ("betas", "alpha_bars")
    }
    betas, bars = schedule["betas"], schedule["alpha_bars"]
    beta = (shape - torch.from_numpy(stats["shape_mean"])) / torch.from_numpy(stats["shape_std"])
    draws = torch.Generator().manual_seed(4)
    start = torch.randn(1, WINDOW, 54, generator=draws)
    previous, before = model.start_motion, model.start_speech
    motion = []
    with torch.no_grad():
        features = model.speech_proj(encode(model.speech_encoder, speech.samples, 2 * WINDOW))
        for window in range(2):
            heard = features[None, window * WINDOW : (window + 1) * WINDOW]
            unheard = model.null_speech.expand(1, WINDOW, -1)
            indicator = (torch.arange(WINDOW) + window * WINDOW < 150).float()[None]
            x = start
            for n in range(STEPS, 0, -1):
                none, spoken, styled = (
                    model.denoiser(
                        x, previous, torch.cat([before, s], 1), v, beta[None], torch.tensor([n]), indicator
                    )[:, -WINDOW:]
                    for s, v in (
                        (unheard, model.null_style),
                        (heard, model.null_style),
                        (heard, style[None]),
                    )
                )
                x0 = none + 1.15 * (spoken - none) + 3.0 * (styled - spoken)
                b, bar, last = (float(v) for v in (betas[n], bars[n], bars[n - 1]))
                x = (last**0.5 * b * x0 + (1 - b) ** 0.5 * (1 - last) * x) / (1 - bar)
                if n > 1:
                    sigma = ((1 - last) / (1 - bar) * b) ** 0.5
                    x = x + sigma * torch.randn(1, WINDOW, 54, generator=draws)
            previous, before = x[:, -10:], heard[:, -10:]
            motion.append(x[0].numpy())
    normalised = np.concatenate(motion)[:150]
    exp = normalised[:, :50] * stats["exp_std"] + stats["exp_mean"]
    padded = np.pad(normalised[:, 50:], ((0, 0), (0, 2)))
    pose = padded * stats["pose_std"] + stats["pose_mean"]
    np.testing.assert_allclose(clip.exp, exp, atol=1e-4)
    np.testing.assert_allclose(clip.pose, pose, atol=1e-4)


def test_statistics_reach_the_motion(
    released: Released, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(hubert))
    convert_checkpoint(*released.write(), tmp_path / "model")
    normalizer = load_model(tmp_path / "model", "cpu").normalizer
    stats = released.statistics
    for kind in ("mean", "std"):
        motion = np.concatenate([stats[f"exp_{kind}"], stats[f"pose_{kind}"][:4]])
        assert np.array_equal(getattr(normalizer, f"motion_{kind}").numpy(), motion)
        assert np.array_equal(getattr(normalizer, f"shape_{kind}").numpy(), stats[f"shape_{kind}"])


def older_format(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def test_both_formats_of_torch_read_alike(released: Released, tmp_path: Path) -> None:
    released.denoiser["args"].data_root = PureWindowsPath("C:\\data\\HDTF")
    released.denoiser["model"]["a.view"] = torch.arange(12.0).reshape(3, 4).T[1:, ::2]
    released.denoiser["model"]["b.half"] = torch.randn(3, 0, 2).half()
    released.denoiser["model"]["c.parameter"] = torch.nn.Parameter(torch.randn(2).double())
    for save in (torch.save, older_format):
        path, _, _ = released.write(save)
        content = read_torch_file(path)
        assert list(content["model"]) == list(released.denoiser["model"])
        for name, value in released.denoiser["model"].items():
            assert torch.equal(content["model"][name], value.detach())
            assert content["model"][name].dtype == value.dtype
        assert content["iter"] == 110_000 and content["args"].n_heads == 4
        assert content["args"].stats_file == "stats_train.npz" and "HDTF" in content["args"].data_root
    older = tmp_path / "older", tmp_path / "newer"
    del released.denoiser["model"]["a.view"], released.denoiser["model"]["b.half"]
    del released.denoiser["model"]["c.parameter"]
    for save, output in zip((older_format, torch.save), older, strict=True):
        convert_checkpoint(*released.write(save), output)
    first, second = (load_file(folder / "model.safetensors") for folder in older)
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("names", ["parametrizations", "weight_g"])
def test_a_whole_hubert_goes_along(
    names: str, released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(tmp_path / "there is none"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source = base_hubert()
    for name, value in source.state_dict().items():
        if names == "weight_g":
            name = name.replace("parametrizations.weight.original0", "weight_g")
            name = name.replace("parametrizations.weight.original1", "weight_v")
        released.denoiser["model"]["audio_encoder." + name] = value
    summary = convert_checkpoint(*released.write(), tmp_path / "model")
    assert summary.config.speech_encoder.stored and "included" in summary.description
    model = load_model(tmp_path / "model", "cpu")
    sound = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    expected = type(model.speech_encoder)(source)
    assert torch.equal(encode(model.speech_encoder, sound, 50), encode(expected, sound, 50))
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    tensors.pop("speech_encoder.hubert.encoder.layer_norm.bias")
    save_file(tensors, tmp_path / "model" / "model.safetensors")
    with pytest.raises(ModelError, match="layer_norm"):
        load_model(tmp_path / "model", "cpu")


def test_trained_layers_override_the_pretrained_ones(
    released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = base_hubert()
    source.save_pretrained(tmp_path / "hubert")
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(tmp_path / "hubert"))
    trained = torch.randn_like(source.encoder.layer_norm.weight)
    released.denoiser["model"]["audio_encoder.encoder.layer_norm.weight"] = trained
    layer = source.encoder.layers[0].state_dict()
    for name, value in layer.items():
        released.denoiser["model"]["audio_encoder.encoder.layers.0." + name] = value
    summary = convert_checkpoint(*released.write(), tmp_path / "model")
    assert not summary.config.speech_encoder.stored
    held: Any = load_model(tmp_path / "model", "cpu").speech_encoder
    assert torch.equal(held.hubert.encoder.layer_norm.weight, trained)
    assert torch.equal(held.hubert.encoder.layer_norm.bias, source.encoder.layer_norm.bias)


def test_options_of_older_checkpoints(released: Released, tmp_path: Path) -> None:
    args = released.denoiser["args"]
    for name in ("align_mask_width", "no_head_pose", "no_use_learnable_pe", "cfg_mode", "pad_mode", "fps"):
        delattr(args, name)
    args.use_alignment_mask, args.predict_head_pose, args.use_learnable_pe = True, True, True
    del released.style["args"].no_head_pose
    released.style["args"].predict_head_pose = True
    summary = convert_checkpoint(*released.write(), tmp_path / "masked")
    assert summary.config.denoiser.align_mask_width == 1 and summary.config.head_pose
    del args.use_alignment_mask, released.denoiser["model"]["denoising_net.alignment_mask"]
    summary = convert_checkpoint(*released.write(), tmp_path / "unmasked")
    assert summary.config.denoiser.align_mask_width == 0
    del args.predict_head_pose  # missing: none was predicted, which the weights contradict
    assert "no_head_pose" in refused(released, tmp_path / "refused").message
    args.predict_head_pose = True
    del args.use_learnable_pe
    assert "no_use_learnable_pe" in refused(released, tmp_path / "refused").message


def test_trained_without_the_indicator(released: Released, tmp_path: Path) -> None:
    name = "denoising_net.feature_proj.weight"
    weight = released.denoiser["model"][name][:, :-1].clone()
    released.denoiser["model"][name] = weight
    released.denoiser["args"].use_indicator = False
    convert_checkpoint(*released.write(), tmp_path / "model")
    ours = load_file(tmp_path / "model" / "model.safetensors")["denoiser.motion_proj.weight"]
    assert torch.equal(ours[:, :-1], weight) and not ours[:, -1].any()


def test_tensors_that_share_memory_or_lie_across(released: Released, tmp_path: Path) -> None:
    weights = released.denoiser["model"]
    convert_checkpoint(*released.write(), tmp_path / "plain")
    name = "denoising_net.diff_step_map.{}.weight"
    weights[name.format(0)] = weights[name.format(0)].T.contiguous().T
    weights[name.format(2)] = weights[name.format(0)]
    weights["denoising_net.PE"] = weights["denoising_net.PE"].double()
    convert_checkpoint(*released.write(), tmp_path / "model")
    plain, ours = (load_file(tmp_path / folder / "model.safetensors") for folder in ("plain", "model"))
    assert torch.equal(ours["denoiser.step_map.0.weight"], plain["denoiser.step_map.0.weight"])
    assert torch.equal(ours["denoiser.step_map.2.weight"], plain["denoiser.step_map.0.weight"])
    assert torch.equal(ours["denoiser.positions"], plain["denoiser.positions"])


def state(change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    return lambda released: change(released.denoiser["model"])


def set_nan(name: str) -> Callable[[dict[str, torch.Tensor]], Any]:
    return lambda tensors: tensors[name].view(-1)[-1:].fill_(float("nan"))


MISMATCHES: dict[str, tuple[Change, str, str]] = {
    "swapped files": (
        lambda r: r.__dict__.update(denoiser=r.style, style=r.denoiser),
        "checkpoint_swapped",
        "swapped",
    ),
    "two denoisers": (lambda r: r.__dict__.update(style=r.denoiser), "checkpoint_swapped", "style encoder"),
    "another pair": (
        lambda r: r.__dict__.update(style=Released(r.folder, False).style),
        "checkpoint_pair",
        "head pose",
    ),
    "no args": (lambda r: r.denoiser.pop("args"), "checkpoint_format", "args"),
    "args of a dict": (lambda r: r.denoiser.update(args={"n_heads": 4}), "checkpoint_format", "args"),
    "a list": (lambda r: r.__dict__.update(denoiser=[1, 2]), "checkpoint_format", "list"),
    "weights alone": (
        lambda r: r.__dict__.update(denoiser=r.denoiser["model"]),
        "checkpoint_format",
        "model",
    ),
    "text among weights": (
        state(lambda t: t.update(note="hello")),
        "checkpoint_format",
        "not a tensor",
    ),
    "no heads": (lambda r: delattr(r.denoiser["args"], "n_heads"), "checkpoint_format", "n_heads"),
    "odd heads": (lambda r: setattr(r.denoiser["args"], "n_heads", 5), "checkpoint_shape", "5 heads"),
    "heads beyond number": (
        lambda r: setattr(r.denoiser["args"], "n_heads", 10**500),
        "checkpoint_format",
        "n_heads",
    ),
    "heads of a list": (
        lambda r: setattr(r.denoiser["args"], "n_heads", [[[4]]]),
        "checkpoint_format",
        "list",
    ),
    "a mask beyond number": (
        lambda r: setattr(r.denoiser["args"], "align_mask_width", 2**70),
        "checkpoint_format",
        "align_mask_width",
    ),
    "a list for the target": (
        lambda r: setattr(r.denoiser["args"], "target", [1]),
        "checkpoint_unsupported",
        "list",
    ),
    "no heads at all": (lambda r: setattr(r.denoiser["args"], "n_heads", 0), "checkpoint_shape", "0 heads"),
    "predicts noise": (
        lambda r: setattr(r.denoiser["args"], "target", "noise"),
        "checkpoint_unsupported",
        "target",
    ),
    "wav2vec": (
        lambda r: setattr(r.denoiser["args"], "audio_model", "wav2vec2"),
        "checkpoint_unsupported",
        "wav2vec2",
    ),
    "other mask": (
        lambda r: setattr(r.denoiser["args"], "align_mask_width", 3),
        "checkpoint_unsupported",
        "alignment_mask",
    ),
    "other schedule": (
        state(lambda t: t["diffusion_sched.alpha_bars"].mul_(0.9)),
        "checkpoint_unsupported",
        "alpha_bars",
    ),
    "other steps": (
        lambda r: setattr(r.denoiser["args"], "n_diff_steps", 500),
        "checkpoint_shape",
        "n_diff_steps",
    ),
    "other depth": (lambda r: setattr(r.denoiser["args"], "n_layers", 8), "checkpoint_shape", "n_layers"),
    "a tensor missing": (
        state(lambda t: t.pop("denoising_net.person_proj.bias")),
        "checkpoint_shape",
        "denoising_net.person_proj.bias",
    ),
    "no start": (state(lambda t: t.pop("start_motion_feat")), "checkpoint_shape", "start_motion_feat"),
    "a tensor too many": (
        state(lambda t: t.update({"denoising_net.extra": torch.zeros(1)})),
        "checkpoint_format",
        "denoising_net.extra",
    ),
    "a name of several lines": (
        state(lambda t: t.update({"x\nerror: all is well\x1b[2J": torch.zeros(1)})),
        "checkpoint_format",
        "x?error",
    ),
    "a layer missing": (
        state(lambda t: [t.pop(k) for k in list(t) if f".layers.{LAYERS - 1}." in k]),
        "checkpoint_shape",
        "n_layers",
    ),
    "a wrong shape": (
        state(lambda t: t.update({"denoising_net.motion_dec.0.weight": torch.zeros(7, 9)})),
        "checkpoint_shape",
        "(7, 9)",
    ),
    "an empty tensor": (
        state(lambda t: t.update({"denoising_net.PE": torch.zeros(1, 0, 32)})),
        "checkpoint_shape",
        "PE",
    ),
    "a number for a matrix": (
        state(lambda t: t.update({"denoising_net.feature_proj.weight": torch.tensor(1.0)})),
        "checkpoint_shape",
        "feature_proj",
    ),
    "a foreign HuBERT": (
        state(lambda t: t.update({"audio_encoder.encoder.layers.0.attention.k_proj.bias": torch.zeros(3)})),
        "checkpoint_shape",
        "k_proj",
    ),
    "not finite": (state(set_nan("denoising_net.PE")), "checkpoint_not_finite", "denoising_net.PE"),
    "style not finite": (
        lambda r: set_nan("motion_proj.bias")(r.style["encoder"]),
        "checkpoint_not_finite",
        "motion_proj.bias",
    ),
    "style wider": (
        lambda r: r.style["encoder"].update({"motion_proj.weight": torch.zeros(64, 54)}),
        "checkpoint_shape",
        "feature_dim",
    ),
    "statistics lacking": (lambda r: r.statistics.pop("pose_std"), "model_statistics", "pose_std"),
    "statistics of another size": (
        lambda r: r.statistics.update(exp_mean=np.zeros(49)),
        "model_statistics",
        "exp_mean",
    ),
    "statistics not finite": (
        lambda r: r.statistics.update(exp_mean=np.full(50, np.nan)),
        "model_statistics",
        "exp_mean",
    ),
    "no deviation": (lambda r: r.statistics.update(exp_std=np.zeros(50)), "model_statistics", "exp_std"),
    "statistics of objects": (
        lambda r: r.statistics.update(exp_std=np.array([print] * 50, object)),
        "model_statistics",
        "exp_std",
    ),
    "statistics of text": (
        lambda r: r.statistics.update(exp_std=np.array(["a"] * 50)),
        "model_statistics",
        "exp_std",
    ),
    "statistics far too large": (
        lambda r: r.statistics.update(exp_std=np.zeros(300_000)),
        "model_statistics",
        "exp_std",
    ),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_files_that_do_not_fit_together(name: str, released: Released, tmp_path: Path) -> None:
    change, kind, word = MISMATCHES[name]
    change(released)
    error = refused(released, tmp_path / "model")
    assert error.kind == kind and word in error.message


def test_missing_statistics_are_refused_first(released: Released, tmp_path: Path) -> None:
    denoiser, style, statistics = released.write()
    with pytest.raises(ModelError, match="violent") as caught:
        convert_checkpoint(denoiser, style, None, tmp_path / "model")
    assert caught.value.kind == "model_statistics"
    statistics.unlink()
    with pytest.raises(ModelError, match="no statistics file"):
        convert_checkpoint(denoiser, style, statistics, tmp_path / "model")
    with pytest.raises(ModelError, match="not the statistics"):
        convert_checkpoint(denoiser, style, denoiser, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_outputs_that_cannot_be(released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = released.write()
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("keep")
    for output in (taken, taken / "mine.txt", tmp_path / "no" / "model"):
        with pytest.raises(OutputError):
            convert_checkpoint(*paths, output)
    assert (taken / "mine.txt").read_text() == "keep"
    empty = tmp_path / "empty"
    empty.mkdir()
    convert_checkpoint(*paths, empty)
    assert (empty / "config.json").is_file()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diffposetalk.networks.checkpoint.save_file", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match="No space left"):
        convert_checkpoint(*paths, tmp_path / "model")
    assert sorted(tmp_path.iterdir()) == before


def test_a_disk_that_is_full(released: Released, tmp_path: Path) -> None:
    """Files may grow to a megabyte only, so that it is really the writing that fails."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from diffposetalk.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    denoiser, style, statistics = map(str, released.write())
    out = tmp_path / "out"
    out.mkdir()
    command = ["convert", "checkpoint", denoiser, "--style-encoder", style]
    command += ["--statistics", statistics, "-o", str(out / "model")]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: Cannot write") and not list(out.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_a_converted_model_is_as_private_as_the_user_wants(released: Released, tmp_path: Path) -> None:
    paths, before = released.write(), os.umask(0o077)
    try:
        folder = convert_checkpoint(*paths, tmp_path / "model").folder
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


class Calls:
    """Pickles to a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def test_code_in_a_checkpoint_does_not_run(released: Released, tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    code = f"open({str(canary)!r}, 'w')"
    attempts = {
        "system": Calls(os.system, f"touch {canary}"),
        "eval": Calls(builtins.eval, code),
        "exec": Calls(builtins.exec, code),
        "partial": Calls(functools.partial, builtins.eval, code),
        "getattr": Calls(Path.touch, canary),
        "load": Calls(torch.load, str(canary)),
    }
    whole = dict(released.denoiser)
    for save in (torch.save, older_format):
        for word, attempt in attempts.items():
            for place in ("args", "iter", "first", "model", "style"):
                released.denoiser = dict(whole)
                style = dict(released.style)
                if place == "first":
                    released.denoiser = {"first": attempt, **whole}
                elif place == "style":
                    released.style = {**released.style, "note": attempt}
                elif place == "model":
                    released.denoiser["model"] = {**whole["model"], "x": attempt}
                elif place == "args":
                    released.denoiser["args"] = argparse.Namespace(**vars(whole["args"]), x=attempt)
                else:
                    released.denoiser["iter"] = attempt
                error = refused(released, tmp_path / "model", save)
                released.style = style
                assert error.kind == "pickle_refused" and word in error.message
    assert not canary.exists()


def test_archives_that_are_not_what_torch_writes(released: Released, tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    evil = pickle.dumps(Calls(os.system, f"touch {canary}"))
    deep_tuples = b"\x80\x02})" + b"\x85" * 300_000 + b"Ns."  # PyTorch's reader overflows the stack
    path, _, _ = released.write()
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (root,) = {name.split("/")[0] for name in entries}
    pickled, first = f"{root}/data.pkl", f"{root}/data/0"

    def written(change: dict[str, bytes], **options: Any) -> Path:
        with zipfile.ZipFile(path, "w", **options) as archive:
            for name, data in {**entries, **change}.items():
                archive.writestr(name, data)
        return path

    cases: list[tuple[dict[str, bytes], dict[str, Any], str]] = [
        ({pickled: evil}, {}, "pickle_refused"),
        ({"evil/data.pkl": evil}, {}, "checkpoint_format"),
        ({pickled: b""}, {}, "pickle_damaged"),
        ({first: b"\0" * 4}, {}, "pickle_damaged"),
        ({f"{root}/constants.pkl": evil}, {}, "pickle_damaged"),
        ({pickled: deep_tuples}, {}, "pickle_refused"),
        ({pickled: bytes(10**8)}, {"compression": zipfile.ZIP_DEFLATED}, "pickle_refused"),
        ({first: bytes(10**8)}, {"compression": zipfile.ZIP_DEFLATED}, "pickle_refused"),
    ]
    for change, options, kind in cases:
        with pytest.raises(ModelError) as caught:
            read_torch_file(written(change, **options))
        assert caught.value.kind == kind
    assert not canary.exists()


def test_storages_that_claim_more_than_the_file_has(tmp_path: Path) -> None:
    """A few bytes must not become gigabytes, through sizes, strides or one storage read many times."""

    def checkpoint(size: tuple[int, ...], stride: tuple[int, ...], count: int, offset: int = 0) -> Path:
        class Storage:
            pass

        class Writer(pickle.Pickler):
            def persistent_id(self, value: Any) -> Any:
                return (
                    ("storage", torch.FloatStorage, "0", "cpu", count) if isinstance(value, Storage) else None
                )

        rebuild = Calls(torch._utils._rebuild_tensor_v2, Storage(), offset, size, stride, False, {})
        path = tmp_path / "claims.pt"
        with zipfile.ZipFile(path, "w") as archive:
            with archive.open("x/data.pkl", "w") as file:
                Writer(file, 2).dump({"model": rebuild})
            archive.writestr("x/version", "3\n")
            archive.writestr("x/data/0", bytes(16))
        return path

    assert read_torch_file(checkpoint((2, 2), (2, 1), 4))["model"].shape == (2, 2)
    for claim in (
        ((10**12,), (0,), 4),
        ((2**32, 2**32), (0, 0), 4),
        ((3, 2), (2, 1), 4),
        ((2, 2), (2, 1), 4, 1),
        ((2, 2), (-2, 1), 4),
        ((2, 2), (2, 1), 4, -1),
        ((1,), (1,), 10**15),
        ((1,), (1,), -1),
        ((2,), (2**62,), 4),
    ):
        with pytest.raises(ModelError) as caught:
            read_torch_file(checkpoint(*claim))
        assert caught.value.kind == "pickle_damaged"


@pytest.mark.parametrize("save", [torch.save, older_format])
def test_cut_off_and_flipped(save: Callable[..., None], released: Released, tmp_path: Path) -> None:
    path, _, _ = released.write(save)
    whole = path.read_bytes()
    for cut in (0, 1, 3, 4, 30, 200, len(whole) // 3, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelError) as caught:
            read_torch_file(path)
        assert caught.value.kind in ("pickle_damaged", "checkpoint_format")
    rng = np.random.default_rng(0)
    for _ in range(60):  # whatever a flipped byte does, it is either read or refused
        damaged = bytearray(whole)
        damaged[rng.integers(min(len(whole), 6_000))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_torch_file(path)
        except ModelError as error:
            assert "\n" not in error.message


def test_other_files_are_not_checkpoints(released: Released, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for data in (b"", b"\0" * 100, b"a text\n" * 20, pickle.dumps({"model": 1}), b"\x80\x02K\x01."):
        path.write_bytes(data)
        with pytest.raises(ModelError) as caught:
            read_torch_file(path)
        assert caught.value.kind == "checkpoint_format"
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    save_file({"a": torch.zeros(3)}, tmp_path / "x.safetensors")
    for name in ("x.npz", "x.safetensors"):
        with pytest.raises(ModelError) as caught:
            read_torch_file(tmp_path / name)
        assert caught.value.kind == "checkpoint_format"
    with pytest.raises(ModelError, match="no checkpoint"):
        read_torch_file(tmp_path)


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a refused command says."""
    capsys.readouterr()
    assert main(list(map(str, arguments))) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    return err


def test_command_line(released: Released, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    denoiser, style, statistics = released.write()
    output = tmp_path / "model"
    base = ("convert", "checkpoint", denoiser, "-o", output)
    assert "violent" in told(capsys, *base, "--style-encoder", style)
    swapped = ("convert", "checkpoint", style, "-o", output, "--style-encoder", denoiser)
    assert "swapped" in told(capsys, *swapped, "--statistics", statistics)
    torch.save({"model": Calls(os.system, f"touch {tmp_path / 'ran'}")}, tmp_path / "evil.pt")
    evil = ("convert", "checkpoint", tmp_path / "evil.pt", "-o", output, "--style-encoder", style)
    assert "posix.system" in told(capsys, *evil, "--statistics", statistics)
    assert not (tmp_path / "ran").exists() and not output.exists()
    assert main([*map(str, base), "--style-encoder", str(style), "--statistics", str(statistics)]) == 0
    assert str(output) in capsys.readouterr().out
    assert json.loads((output / "config.json").read_text())["name"] == "model"
    assert "exists already" in told(capsys, *base, "--style-encoder", style, "--statistics", statistics)


def test_a_converted_model_without_hubert_says_how_to_get_it(
    released: Released, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(tmp_path / "none"))
    convert_checkpoint(*released.write(), tmp_path / "model")
    line = told(capsys, "generate", recording, "-o", tmp_path / "o.npz", "--model", tmp_path / "model")
    assert "hf download facebook/hubert-base-ls960" in line
    assert not (tmp_path / "o.npz").exists()


def test_hostile_model_directories(
    tiny_model: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Model directories that others made: sizes that would exhaust memory, headers that lie."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, settings = weights.read_bytes(), json.loads(config.read_text())

    def said() -> str:
        return told(capsys, "generate", recording, "-o", tmp_path / "o.npz", "--model", folder)

    for huge in (2**40, 2**63 - 1, 10**8 + 1):
        weights.write_bytes(struct.pack("<Q", huge) + whole[8:])
        assert "safetensors" in said()
    header = json.dumps(
        {"null_style": {"dtype": "F32", "shape": [1, 16], "data_offsets": [0, 2**50]}}
    ).encode()
    weights.write_bytes(struct.pack("<Q", len(header)) + header)
    assert "safetensors" in said()
    header = json.dumps({f"t{i}": {"dtype": "XX", "shape": [1], "data_offsets": [0, 4]} for i in range(5)})
    weights.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4))
    assert "safetensors" in said()
    weights.write_bytes(whole)
    settings["denoiser"].update(width=4096, layers=64, heads=2)
    config.write_text(json.dumps(settings))
    assert "do not fit" in said()
    config.write_text('{"a":' * 100_000)
    assert "not valid JSON" in said()
    config.write_bytes(whole[:100])
    assert "not valid JSON" in said()
    assert not (tmp_path / "o.npz").exists()


def test_style_vectors_of_the_wrong_sort(
    tiny_model: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, canary = tmp_path / "style.npy", tmp_path / "ran"
    objects = np.array([Calls(os.system, f"touch {canary}")], object)
    cases: list[tuple[Any, str]] = [
        (np.zeros(15, np.float32), "16"),
        (np.zeros((2, 16), np.float32), "16"),
        (np.full(16, np.nan, np.float32), "not finite"),
        (objects, "not a style vector"),
        (np.array(["a"] * 16), "not a style vector"),
    ]
    command = ("generate", recording, "-o", tmp_path / "o.npz", "--model", tiny_model, "--style", path)
    for value, word in cases:
        np.save(path, value, allow_pickle=True)
        assert word in told(capsys, *command)
    for data in (b"", b"\x93NUMPY", pickle.dumps(Calls(os.system, f"touch {canary}"))):
        path.write_bytes(data)
        assert "not a style vector" in told(capsys, *command)
    np.savez(tmp_path / "x.npz", a=np.zeros(16))
    shutil.copy(tmp_path / "x.npz", path)
    assert "not a style vector" in told(capsys, *command)
    assert not canary.exists() and not (tmp_path / "o.npz").exists()
