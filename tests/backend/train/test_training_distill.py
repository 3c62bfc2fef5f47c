# SPDX-License-Identifier: GPL-3.0-or-later
"""The distilled student: its wanted predictions have known answers, and it comes to do what its teacher does."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.training_sets import (
    bundled_assets,  # noqa: F401
    made_set,
    newest,
    write_recipe,
)

from diffposetalk.cli import main
from diffposetalk.diffusion.samplers import solver_steps
from diffposetalk.generation.draft import load_draft
from diffposetalk.motion.clip import to_vectors
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.networks.model import DiffPoseTalk
from diffposetalk.networks.schedule import NoiseSchedule
from diffposetalk.train.denoiser_training import BatchSource, TwoWindowLosses
from diffposetalk.train.distillation import Distillation, guided_prediction, step_table
from diffposetalk.train.new_model import CachedFeatures
from diffposetalk.train.recipe import DistillTraining, read_recipe
from diffposetalk.train.samples import sample_clip
from diffposetalk.train.training_set import TrainingSet

WHISPER_FEATURES = 2 * 2 * 384


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return made_set(WHISPER_FEATURES)


@pytest.fixture(scope="module")
def teacher(data: TrainingSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory, trained long enough that speech and style matter."""
    work = tmp_path_factory.mktemp("teacher")
    data.save(work / "set")
    recipe = write_recipe(work)
    command = ["--work", str(work), "--config", str(recipe), "--device", "cpu"]
    assert main(["train", "style", *command]) == 0
    assert main(["train", "denoiser", *command, "--iterations", "150"]) == 0
    assert main(["train", "export", "--work", str(work), "--out", str(work / "model")]) == 0
    return work / "model"


def test_steps_of_teacher_and_student():
    schedule = NoiseSchedule(500)
    table = step_table(schedule, 4, 4)
    assert table[:, 0].tolist() == solver_steps(schedule, 4)[:-1]
    assert table[:, -1].tolist() == solver_steps(schedule, 4)[1:]
    assert (table.diff(dim=1) <= 0).all() and table[:-1].min() >= 1
    assert step_table(schedule, 1, 8)[0].tolist()[0] == 500


def distillation(model: DiffPoseTalk, data: TrainingSet, folded: bool) -> tuple[Distillation, BatchSource]:
    training = replace(read_recipe("bundled").denoiser, batch=4, precision="no")
    settings = DistillTraining(steps=2, substeps=3)
    windows = TwoWindowLosses(model, None, data.silence, training)
    network = model.denoiser if folded else None
    return Distillation(windows, model.denoiser, network, None, training, settings), BatchSource(
        data, model, training
    )


def test_one_step_from_a_teacher_of_one_step_is_its_own_prediction(data: TrainingSet, teacher: Path):
    model = load_model(teacher, "cpu", "float32")
    losses, source = distillation(model, data, folded=True)
    losses.table = step_table(model.schedule, 2, 1)
    # Student and teacher are the same network: where one step stands for one step, nothing is left to learn.
    assert losses.eval()(source.draw(0, 0))["simple"].item() < 1e-10
    losses.table = step_table(model.schedule, 2, 3)
    assert losses(source.draw(0, 0))["simple"].item() > 1e-6


def test_wanted_prediction_is_the_guided_one(data: TrainingSet, teacher: Path):
    from diffposetalk.diffusion.guidance import Condition, GuidedDenoiser
    from diffposetalk.networks.prepared_denoiser import PreparedDenoiser

    model = load_model(teacher, "cpu", "float32")
    losses, source = distillation(model, data, folded=False)
    with torch.no_grad():
        c = losses.windows.windows(source.draw(0, 0))
        x = torch.randn_like(c.clean)
        silenced = torch.cat([c.speech[:, :5], model.null_speech.expand(len(x), 20, -1)], 1)
        condition = Condition(
            c.previous_motion, c.speech, silenced, c.style, model.null_style, c.shape, c.indicator
        )
        engine = GuidedDenoiser(PreparedDenoiser(model.denoiser), condition, 1.15, 3.0)(x, 30)
        ours = guided_prediction(model, c, x, torch.full((len(x),), 30))
    assert torch.allclose(ours, engine, atol=1e-4)


def test_the_student_approaches_its_teacher(data: TrainingSet, teacher: Path, tmp_path: Path):
    data.save(tmp_path / "set")
    recipe = write_recipe(tmp_path)
    distill = "[distill]\nguidance_iterations = 250\niterations = 250\nlearning_rate = 1e-3\nwarmup = 5\nsteps = 2\n"
    recipe.write_text(recipe.read_text().replace("[denoiser]", f"{distill}\n[denoiser]"))
    command = ["train", "distill", "--work", str(tmp_path), "--config", str(recipe), "--device", "cpu"]
    command += ["--model", str(teacher)]
    assert main(command) == 0
    full = load_model(teacher, "cpu", "float32")
    student = load_draft(teacher, full)
    settings = student.config.sampling
    assert (settings.sampler, settings.steps) == ("ddim", 2)
    assert settings.speech_guidance == settings.style_guidance == 1
    assert student.styles.keys() == full.styles.keys()
    assert student.config.provenance["distilled_from_sha256"] == full.sha256
    # A student samples on the grid that it was trained on.
    assert student.config.provenance["distilled_grid"] == solver_steps(full.schedule, 2)
    assert not torch.equal(student.denoiser.positions, full.denoiser.positions)
    # Only the network is another one.
    for name, value in full.state_dict().items():
        if not name.startswith("denoiser."):
            assert torch.equal(value, student.state_dict()[name]), name

    hasty = load_model(teacher, "cpu", "float32")
    hasty.config = replace(full.config, sampling=settings)
    full.config = replace(full.config, sampling=replace(full.config.sampling, sampler="ddim", steps=24))
    style = list(full.styles.values())[5].vector
    std = full.normalizer.motion_std.numpy()
    for one in (full, student, hasty):
        del one.speech_encoder
        one.speech_encoder = CachedFeatures(WHISPER_FEATURES)

    def miss(model: DiffPoseTalk) -> float:
        errors = []
        for seed in range(6):
            rows = slice(seed * 220, seed * 220 + 40)
            wanted, got = (to_vectors(sample_clip(m, data, rows, style, seed), 54) for m in (full, model))
            errors.append((((wanted - got) / std) ** 2).mean())
        return float(np.mean(errors))

    assert miss(student) < 0.5 * miss(hasty)


def test_distillation_resumes(data: TrainingSet, teacher: Path, tmp_path: Path):
    data.save(tmp_path / "set")
    recipe = write_recipe(tmp_path)
    section = "[distill]\nguidance_iterations = 2\niterations = 4\ncheckpoint_every = 2\nfinal_rate = 1e-4\n"
    recipe.write_text(recipe.read_text().replace("[denoiser]", f"{section}\n[denoiser]"))
    weights = []
    for work, runs in (("whole", [4]), ("parts", [2, 4])):
        place = tmp_path / work / "model"
        shutil.copytree(teacher, place)
        for iterations in runs:
            command = ["train", "distill", "--work", str(tmp_path / work), "--set", str(tmp_path / "set")]
            command += ["--config", str(recipe), "--device", "cpu", "--iterations", str(iterations)]
            assert main([*command, "--model", str(place)]) == 0
        weights.append(newest(tmp_path / work / "distill" / "steps")["step"])
        weights.append(load_draft(place, load_model(place, "cpu", "float32")).denoiser.positions)
    assert weights[0] == weights[2] == 4
    assert torch.equal(weights[1], weights[3])
