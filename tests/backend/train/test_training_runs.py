# SPDX-License-Identifier: GPL-3.0-or-later
"""Training runs through the command line: the same for a seed, killed, stopped, resumed, on two processes, watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.training_sets import (
    assert_equal,
    bundled_assets,  # noqa: F401
    made_set,
    newest,
    write_recipe,
)
from support.waiting import PATIENCE

from diffposetalk.cli import main
from diffposetalk.train import denoiser_training, style_training
from diffposetalk.train.checkpoints import load_latest

# Kills itself, as power failing would, before the iteration whose number comes first.
KILLED = """
import os, signal, sys
from diffposetalk.train import denoiser_training
last, draw = int(sys.argv[1]), denoiser_training.BatchSource.draw
def killed(self, seed, iteration):
    if iteration == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(self, seed, iteration)
denoiser_training.BatchSource.draw = killed
from diffposetalk.cli import main
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with a training set and a trained style encoder."""
    folder = tmp_path_factory.mktemp("made")
    made_set(held_out=2).save(folder / "set")
    assert train("style", folder, folder, "--config", str(write_recipe(folder))) == 0
    return folder


def arguments(stage: str, work: Path, made: Path, *more: str) -> list[str]:
    style = ["--style", str(made / "style")] if stage == "denoiser" else []
    return ["train", stage, "--work", str(work), "--set", str(made / "set"), "--device", "cpu", *style, *more]


def train(stage: str, work: Path, made: Path, *more: str) -> int:
    return main(arguments(stage, work, made, *more))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """With dropout, whose masks must be the same too."""
    return str(write_recipe(tmp_path_factory.mktemp("recipe"), dropout=0.1))


@pytest.fixture(scope="module")
def whole(made: Path, recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    work = tmp_path_factory.mktemp("whole")
    assert train("denoiser", work, made, "--config", recipe) == 0
    return work


def test_the_same_seed_gives_the_same_run(made: Path, recipe: str, whole: Path, tmp_path: Path):
    assert train("denoiser", tmp_path / "again", made, "--config", recipe) == 0
    assert_equal(newest(tmp_path / "again" / "denoiser"), newest(whole / "denoiser"))
    assert train("denoiser", tmp_path / "other", made, "--config", recipe, "--seed", "1") == 0
    other = newest(tmp_path / "other" / "denoiser")["model"]["denoiser.positions"]
    assert not torch.equal(other, newest(whole / "denoiser")["model"]["denoiser.positions"])


def test_killed_between_checkpoints(made: Path, recipe: str, whole: Path, tmp_path: Path):
    command = arguments("denoiser", tmp_path, made, "--config", recipe)
    done = subprocess.run([sys.executable, "-c", KILLED, "4", *command], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert newest(tmp_path / "denoiser")["step"] == 3
    # Goes on by the recipe that it was begun with.
    assert train("denoiser", tmp_path, made) == 0
    assert_equal(newest(tmp_path / "denoiser"), newest(whole / "denoiser"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_by_a_signal(
    made: Path,
    recipe: str,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    status: int,
):
    draw = denoiser_training.BatchSource.draw

    def asked(self: denoiser_training.BatchSource, seed: int, iteration: int) -> denoiser_training.Batch:
        if iteration == 1:
            os.kill(os.getpid(), number)
        return draw(self, seed, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(denoiser_training.BatchSource, "draw", asked)
        handler = signal.getsignal(number)
        assert train("denoiser", tmp_path, made, "--config", recipe) == status
        assert signal.getsignal(number) is handler
    assert newest(tmp_path / "denoiser")["step"] == 2
    assert train("denoiser", tmp_path, made) == 0
    assert_equal(newest(tmp_path / "denoiser"), newest(whole / "denoiser"))


def test_style_encoder_resumes_exactly(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = str(write_recipe(tmp_path, dropout=0.1))
    assert train("style", tmp_path / "parts", made, "--config", recipe, "--iterations", "3") == 0
    assert train("style", tmp_path / "parts", made, "--iterations", "6") == 0
    assert train("style", tmp_path / "whole", made, "--config", recipe) == 0
    assert_equal(newest(tmp_path / "parts" / "style"), newest(tmp_path / "whole" / "style"))


def test_as_many_checkpoints_stay_as_are_wanted(made: Path, recipe: str, tmp_path: Path):
    longer = tmp_path / "longer.toml"
    text = (
        Path(recipe).read_text().replace("checkpoint_every = 3", "checkpoint_every = 1\nkeep_checkpoints = 4")
    )
    longer.write_text(text)
    assert train("denoiser", tmp_path, made, "--config", str(longer)) == 0
    assert len(list((tmp_path / "denoiser").glob("step-*.pt"))) == 4


@pytest.mark.parametrize("iterations", ["0", "-3"])
def test_a_training_without_iterations(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture, iterations: str
):
    assert train("style", tmp_path, made, "--iterations", iterations) == 2
    error = capsys.readouterr().err
    assert f"iterations = {iterations}" in error and len(error.splitlines()) == 1


def test_a_training_past_its_end_says_so(made: Path, whole: Path, capsys: pytest.CaptureFixture):
    before = newest(whole / "denoiser")
    capsys.readouterr()
    assert train("denoiser", whole, made) == 0
    said = capsys.readouterr().err
    assert "nothing to do" in said and "--iterations" in said
    assert_equal(newest(whole / "denoiser"), before)


def test_a_damaged_checkpoint_is_passed_over(made: Path, recipe: str, whole: Path, tmp_path: Path):
    assert train("denoiser", tmp_path, made, "--config", recipe) == 0
    last = tmp_path / "denoiser" / "step-00000006.pt"
    last.write_bytes(last.read_bytes()[:1000])
    assert load_latest(tmp_path / "denoiser", {}) == 3
    assert train("denoiser", tmp_path, made) == 0
    assert_equal(newest(tmp_path / "denoiser"), newest(whole / "denoiser"))


def test_divergence_is_told_and_leaves_the_last_good_checkpoint(
    made: Path, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    losses = denoiser_training.TwoWindowLosses.forward

    def burst(self: torch.nn.Module, batch: denoiser_training.Batch) -> dict[str, torch.Tensor]:
        grown = float("inf") if load_latest(tmp_path / "denoiser", {}) else 1.0
        return {name: value * grown for name, value in losses(self, batch).items()}

    monkeypatch.setattr(denoiser_training.TwoWindowLosses, "forward", burst)
    assert train("denoiser", tmp_path, made, "--config", recipe) == 2
    assert "diverged by iteration 4" in capsys.readouterr().err
    assert newest(tmp_path / "denoiser")["step"] == 3


def test_weights_that_are_not_finite_are_never_saved(
    made: Path, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    losses = denoiser_training.TwoWindowLosses.forward

    def odd(self: torch.nn.Module, batch: denoiser_training.Batch) -> dict[str, torch.Tensor]:
        root = (0 * self.model.null_speech).sum().abs().sqrt()  # 0, but its gradient is not a number
        return {**losses(self, batch), "root": root}

    monkeypatch.setattr(denoiser_training.TwoWindowLosses, "forward", odd)
    only = ["--config", recipe, "--iterations", "1"]
    assert train("denoiser", tmp_path, made, *only) == 2
    assert "weight is not finite" in capsys.readouterr().err
    assert not list((tmp_path / "denoiser").glob("step-*.pt"))


def test_curves_and_samples(made: Path, tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = str(write_recipe(tmp_path, "", 0.0))
    Path(recipe).write_text(Path(recipe).read_text().replace("sample_every = 0", "sample_every = 4"))
    for iterations in ("3", "6"):
        assert train("denoiser", tmp_path, made, "--config", recipe, "--iterations", iterations) == 0
    curves = EventAccumulator(str(tmp_path / "denoiser" / "curves")).Reload()
    scalars = curves.Tags()["scalars"]
    for name in ("simple", "vertex", "velocity", "smooth", "head", "total"):
        assert [event.step for event in curves.Scalars(f"loss/{name}")] == [2, 4, 6]
    assert {"validation/simple", "validation/vertex", "run/learning_rate"} <= set(scalars)
    [picture] = curves.Images("sample/validation")
    assert picture.step == 4 and picture.width > picture.height > 100
    assert "sample/training" not in curves.Tags()["images"]


def test_style_retrieval_is_watched(made: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(made / "style" / "curves")).Reload()
    assert {"retrieval/validation_of_2", "retrieval/training_of_10"} <= set(curves.Tags()["scalars"])
    assert [event.step for event in curves.Scalars("retrieval/training_of_10")] == [3, 6]


def test_style_retrieval_of_known_styles():
    from diffposetalk.train.style_training import style_retrieval

    class Mean(torch.nn.Module):
        def forward(self, motion: torch.Tensor) -> torch.Tensor:
            return motion.mean(1)

    motion = torch.eye(6)[:, None].repeat(1, 8, 1)
    assert style_retrieval(Mean(), motion) == 1.0  # type: ignore[arg-type]
    crossed = torch.cat([motion[:, :4], motion[[1, 0, 3, 2, 4, 5], 4:]], dim=1)
    assert style_retrieval(Mean(), crossed) == pytest.approx(2 / 6)  # type: ignore[arg-type]


def test_mixed_precision(made: Path, recipe: str, whole: Path, tmp_path: Path):
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # which allows one precision a process
    try:
        assert train("denoiser", tmp_path, made, "--config", recipe, "--precision", "bf16") == 0
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    rounded, exact = newest(tmp_path / "denoiser")["model"], newest(whole / "denoiser")["model"]
    for name, value in rounded.items():
        assert value.dtype == exact[name].dtype and torch.isfinite(value).all(), name
    weight = "denoiser.motion_head.0.weight"
    moved = (exact[weight] - rounded[weight]).abs().mean()
    assert 0 < moved < 5e-3  # the weights themselves stay in float32; 6 steps of 2e-3 are 1.2e-2


@pytest.mark.parametrize(("capable", "chosen"), [(True, "bf16"), (False, "no")])
def test_bfloat16_only_where_the_hardware_has_it(capable: bool, chosen: str, monkeypatch: pytest.MonkeyPatch):
    from accelerate.state import AcceleratorState

    from diffposetalk.train import loop, recipe

    monkeypatch.setattr(loop, "has_bfloat16", lambda device: capable)
    for shipped in ("paper", "bundled"):
        stages = recipe.read_recipe(shipped)
        assert {s.precision for s in (stages.style, stages.denoiser, stages.distill)} <= {"no", "auto"}
    AcceleratorState._reset_state(reset_partial_state=True)  # which allows one precision a process
    try:
        assert loop.new_accelerator("auto", "cpu").mixed_precision == chosen
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_validation_sequences_are_never_trained_on():
    data = made_set(held_out=3)
    assert data.drawable(40) == list(range(9)) and data.drawable(40, validation=True) == [9, 10, 11]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["style", "denoiser"])
def test_two_processes_train_as_one(made: Path, tmp_path: Path, stage: str):
    recipe = str(write_recipe(tmp_path))
    assert train(stage, tmp_path / "one", made, "--config", recipe) == 0
    command = arguments(stage, tmp_path / "two", made, "--config", recipe)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "diffposetalk"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch, *command], capture_output=True, text=True, env=environment, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (newest(tmp_path / name / stage) for name in ("one", "two"))
    assert one["step"] == two["step"] == 6
    differences = [(v - two["model"][k]).abs().flatten() for k, v in one["model"].items()]
    # Adam divides by the gradient's size: where that is all but zero (keys' biases), rounding decides the direction.
    assert torch.cat(differences).quantile(0.98) < 1e-6


def test_a_batch_must_divide_by_the_processes(made: Path, monkeypatch: pytest.MonkeyPatch):
    from diffposetalk.errors import DataError
    from diffposetalk.train.loop import share

    class Three:
        num_processes, process_index = 3, 1

    assert share(Three(), 12) == slice(4, 8)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="does not divide"):
        share(Three(), 8)  # type: ignore[arg-type]


def test_without_accelerate_the_command_says_what_to_install(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert train("style", tmp_path, made) == 2
    error = capsys.readouterr().err
    assert 'pip install "diffposetalk[train]"' in error and len(error.splitlines()) == 1


def test_style_encoder_needs_as_many_sequences_as_its_batch(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace("batch = 8", "batch = 11"))
    assert train("style", tmp_path, made, "--config", str(recipe)) == 2
    assert "11" in capsys.readouterr().err


def test_statistics_floor_keeps_noise_of_still_channels_small():
    mean, std = style_training.motion_statistics(made_set(), 51)
    assert mean.shape == std.shape == (51,)
    assert std.min() == np.float32(0.02)
