# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes: what the shipped ones say, what is refused, and every ablation of Table 1 trained, exported, generating."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.paths import BUNDLED_HEAD
from support.training_sets import (
    bundled_assets,  # noqa: F401
    made_set,
    newest,
    write_recipe,
)

from diffposetalk.cli import main
from diffposetalk.config import DenoiserConfig, ModelConfig, StyleEncoderConfig
from diffposetalk.errors import DataError
from diffposetalk.evaluate.references import Reference
from diffposetalk.evaluate.regressor import RegressorSubject
from diffposetalk.generation.batching import generate
from diffposetalk.motion.clip import MotionClip
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.sound.audio import SpeechAudio
from diffposetalk.train.recipe import (
    ABLATIONS,
    REGRESSOR,
    DenoiserTraining,
    LossWeights,
    Recipe,
    StyleTraining,
    ablate,
    model_config,
    read_recipe,
    recorded,
)
from diffposetalk.train.training_set import SetDescription, TrainingSet

WHISPER_FEATURES = 2 * 2 * 384


def test_the_paper_recipe_is_the_papers():
    recipe = read_recipe("paper")
    d, s = recipe.denoiser, recipe.style
    assert (s.iterations, s.batch, s.learning_rate, s.temperature) == (26_000, 32, 1e-4, 0.1)
    assert (d.iterations, d.batch, d.learning_rate, d.warmup) == (90_000, 16, 1e-4, 5000)
    assert (d.style_dropout, d.all_dropout, d.truncate_first, d.truncate_second) == (0.45, 0.1, 0.3, 0.4)
    assert d.weights == LossWeights(2e6, 1e7, 1e5, 0.05, 5, 0.5, 0.5)
    assert d.train_speech_encoder and d.frozen_speech_layers == 2
    assert d.ema == d.weight_decay == d.gradient_clip == 0 and d.final_rate == d.learning_rate
    config = model_config(recipe, SetDescription(basis="flame", expression_names=()), 0.3)
    assert config.denoiser == DenoiserConfig() and config.style_encoder == StyleEncoderConfig()
    assert config.sampling.hears_before
    assert (config.sampling.speech_guidance, config.sampling.style_guidance) == (1.15, 3.0)
    # What a field means when it is not named is the paper's value too.
    plain = replace(DenoiserTraining(), train_speech_encoder=True)
    assert replace(d, checkpoint_every=plain.checkpoint_every, sample_every=plain.sample_every) == plain
    assert s == StyleTraining()


def test_new_trainings_hear_before():
    for name in ("paper", "bundled"):
        assert read_recipe(name).model["sampling"]["hears_before"] is True


def test_recipes_round_trip_through_json():
    for name in ("paper", "bundled"):
        recipe = ablate(read_recipe(name), ["no-guidance"])
        assert Recipe.from_dict(json.loads(json.dumps(asdict(recipe)))) == recipe


def test_ablations_change_what_they_name():
    paper = read_recipe("paper")

    def ablated(*names: str) -> tuple[Recipe, ModelConfig]:
        recipe = ablate(paper, list(names))
        assert recipe.ablations == tuple(sorted(names, key=list(ABLATIONS).index))
        return recipe, model_config(recipe, SetDescription(), 0.36)

    recipe, _ = ablated("no-geometric-losses")
    assert not recipe.denoiser.weights.geometric and recipe.denoiser.weights.head_velocity == 0
    _, config = ablated("no-alignment-mask")
    assert config.denoiser.align_mask_width == 0
    recipe, config = ablated("no-guidance")
    assert recipe.denoiser.style_dropout == recipe.denoiser.all_dropout == 0
    assert config.sampling.speech_guidance == config.sampling.style_guidance == 1
    recipe, _ = ablated("no-style-encoder")
    assert not recipe.denoiser.styled and recipe.denoiser.all_dropout == 0.1
    recipe, _ = ablated("no-style-encoder", "no-guidance")
    assert not recipe.denoiser.styled and recipe.denoiser.all_dropout == 0
    _, config = ablated("no-head-pose")
    assert not config.head_pose and config.style_encoder.motion_dim == 51


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("[denoiser]\nbatsch = 3", "batsch"),
        ("[denoiser]\nbatch = 0", "batch"),
        ("[denoiser]\nbatch = 'many'", "batch"),
        ("[denoiser]\nstyle_dropout = 1.5", "style_dropout"),
        ("[denoiser]\nprecision = 'float8'", "precision"),
        ("[denoiser.weights]\nvertex = -1", "weight"),
        ("[denoiser", "Expected"),
        ("ablations = ['no-lips']", "no-lips"),
        ("[style]\nlearning_rate = nan", "learning_rate"),
    ],
)
def test_bad_recipes_are_told_in_a_sentence(tmp_path: Path, line: str, word: str):
    path = tmp_path / "bad.toml"
    path.write_text(line)
    with pytest.raises(DataError, match=word) as raised:
        read_recipe(str(path))
    assert "\n" not in raised.value.message


def test_a_recipe_may_hold_only_what_differs(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(
        'base = "bundled"\n[denoiser]\nbatch = 4\n[denoiser.weights]\nvertex = 3e6'
    )
    (tmp_path / "ours.toml").write_text('base = "mine.toml"\nablations = ["no-guidance"]\n[style]\nbatch = 9')
    bundled, mine = read_recipe("bundled"), read_recipe(str(tmp_path / "mine.toml"))
    assert mine.name == "mine" and mine.model == bundled.model
    weights = replace(bundled.denoiser.weights, vertex=3e6)
    assert mine.denoiser == replace(bundled.denoiser, batch=4, weights=weights)
    ours = read_recipe(str(tmp_path / "ours.toml"))
    assert (ours.denoiser.batch, ours.style.batch, ours.ablations) == (4, 9, ("no-guidance",))
    (tmp_path / "mine.toml").write_text('base = "ours.toml"')
    with pytest.raises(DataError, match="circle"):
        read_recipe(str(tmp_path / "ours.toml"))


def test_a_recipe_that_does_not_exist():
    with pytest.raises(DataError, match="bundled, paper"):
        read_recipe("papper")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set heard through the bundled model's speech encoder, and a style encoder of each motion size."""
    folder = tmp_path_factory.mktemp("made")
    made_set(WHISPER_FEATURES).save(folder / "set")
    recipe = str(write_recipe(folder, "", 0.0))
    for name, more in (("with", []), ("without", ["--ablation", "no-head-pose"])):
        command = ["train", "style", "--work", str(folder / name), "--set", str(folder / "set")]
        assert main([*command, "--config", recipe, "--device", "cpu", *more]) == 0
    return folder


def trained(made: Path, work: Path, *more: str, styled: str = "with") -> Path:
    """Train for a few steps and export, all through the command line: the model directory."""
    recipe = str(write_recipe(made))
    places = ["--work", str(work), "--set", str(made / "set")]
    style = ["--style", str(made / styled / "style")]
    command = ["train", "denoiser", *places, *style, "--config", recipe, "--device", "cpu", *more]
    assert main(command) == 0
    assert main(["train", "export", *places, "--out", str(work / "model")]) == 0
    return work / "model"


@pytest.fixture(scope="module")
def plain(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of the recipe as it is, trained."""
    work = tmp_path_factory.mktemp("plain")
    trained(made, work)
    return work


def spoken(folder: Path, style: torch.Tensor | None = None, **settings: Any) -> MotionClip:
    rng = np.random.default_rng(1)
    samples = (0.1 * rng.standard_normal(32_000)).astype(np.float32)
    speech = SpeechAudio(samples, 16_000, 1, 2.0, "0" * 64, "noise.wav")
    [clip] = generate(load_model(folder, "cpu", "float32"), speech, style=style, seeds=[0], **settings)
    assert len(clip) == 50 and np.isfinite(clip.exp).all()
    return clip


def test_exported_model(plain: Path):
    folder = plain / "model"
    model = load_model(folder, "cpu", "float32")
    assert model.config.sampling.hears_before and model.config.sampling.style == ""
    assert len(model.styles) == 6  # of speakers: the set does not hold the bundled presets' own
    average = newest(plain / "denoiser")["average"]
    assert torch.equal(model.denoiser.positions, average["module.denoiser.positions"])
    assert not torch.equal(
        model.denoiser.positions, newest(plain / "denoiser")["model"]["denoiser.positions"]
    )
    provenance = model.config.provenance
    assert provenance["recipe"] == "tiny" and provenance["iterations"] == 6
    assert provenance["ablations"] == [] and provenance["training"]["denoiser"]["seed"] == 0
    calm, broad = (model.styles[f"speaker-{k}"].vector for k in (1, 6))
    assert np.abs(spoken(folder, calm).exp - spoken(folder, broad).exp).max() > 1e-4
    assert np.abs(spoken(folder).pose[:, :3]).max() > 0


def test_without_a_moving_average_the_last_weights_are_exported(made: Path, tmp_path: Path):
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace("ema = 0.5", "ema = 0.0"))
    places = ["--work", str(tmp_path), "--set", str(made / "set")]
    train = ["train", "denoiser", *places, "--config", str(recipe), "--device", "cpu"]
    assert main([*train, "--style", str(made / "with" / "style"), "--iterations", "2"]) == 0
    assert main(["train", "export", *places, "--out", str(tmp_path / "model")]) == 0
    state = newest(tmp_path / "denoiser")
    assert "average" not in state
    model = load_model(tmp_path / "model", "cpu", "float32")
    assert torch.equal(model.denoiser.positions, state["model"]["denoiser.positions"])


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_trains_exports_and_generates(made: Path, tmp_path: Path, name: str):
    styled = "without" if name == "no-head-pose" else "with"
    folder = trained(made, tmp_path, "--ablation", name, styled=styled)
    model = load_model(folder, "cpu", "float32")
    assert model.config.provenance["ablations"] == [name]
    if name == REGRESSOR:
        return  # spoken in a test of its own
    some = torch.randn(16, generator=torch.Generator().manual_seed(0))
    clip = spoken(folder, some)
    if name == "no-head-pose":
        assert not clip.pose[:, :3].any() and model.normalizer.motion_mean.shape == (51,)
    if name == "no-alignment-mask":
        assert model.config.denoiser.align_mask_width == 0
    if name == "no-guidance":
        assert model.config.sampling.speech_guidance == model.config.sampling.style_guidance == 1
    if name == "no-style-encoder":
        assert model.styles == {}
        assert np.allclose(clip.exp, spoken(folder).exp, atol=1e-5)
        assert np.allclose(clip.exp, spoken(folder, 5 * some).exp, atol=1e-5)


def test_a_regressor_learns_speech_to_motion_and_knows_no_chance(made: Path, tmp_path: Path):
    folder = trained(made, tmp_path, "--ablation", REGRESSOR)
    settings = recorded(tmp_path / "denoiser").recipe.denoiser
    assert settings.regression and settings.style_dropout == 1 and not settings.styled
    model = load_model(folder, "cpu", "float32")
    subject = RegressorSubject(model)
    rng = np.random.default_rng(1)
    sounds = [(level * rng.standard_normal(80_000)).astype(np.float32) for level in (0.1, 0.1, 0.0)]
    references = [Reference(str(k), "x", lambda s=s: s, None, ()) for k, s in enumerate(sounds)]
    clips = {k: clip for k, [clip] in subject.takes(references)}
    assert len(clips[0]) == 125 and clips[0].pose[:, 3].min() >= 0
    again = dict(subject.takes(references))[0][0]
    assert np.array_equal(again.exp, clips[0].exp)
    assert np.abs(clips[0].exp - clips[2].exp).max() > 1e-4


def test_only_a_regressor_is_measured_as_one(plain: Path):
    with pytest.raises(DataError, match="--ablation regressor"):
        RegressorSubject(load_model(plain / "model", "cpu", "float32"))


def test_a_training_starts_from_another_model(
    made: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    first = plain / "model"
    seeded = ["--seed", "7", "--iterations", "1"]
    second = trained(made, tmp_path / "second", "--start-from", str(first), *seeded)
    known, model = (load_model(folder, "cpu", "float32") for folder in (first, second))
    fresh = load_model(trained(made, tmp_path / "third", *seeded), "cpu", "float32")
    near, far = ((m.denoiser.positions - known.denoiser.positions).abs().max() for m in (model, fresh))
    assert 0 < near < 0.2 * far
    origin = model.config.provenance["started_from"]
    assert origin == {"name": "tiny", "recipe": "tiny", "iterations": 6}
    assert "started_from" not in fresh.config.provenance
    style = [
        "train",
        "style",
        "--work",
        str(tmp_path / "style"),
        "--set",
        str(made / "set"),
        "--device",
        "cpu",
    ]
    style += ["--config", str(write_recipe(made)), "--start-from", str(first), "--iterations", "1"]
    assert main(style) == 0
    encoder = newest(tmp_path / "style" / "style")["model"]
    assert (
        encoder["motion_proj.weight"] - known.style_encoder.state_dict()["motion_proj.weight"]
    ).abs().max() < 0.01
    other = [
        "train",
        "denoiser",
        "--work",
        str(tmp_path / "other"),
        "--set",
        str(made / "set"),
        "--device",
        "cpu",
    ]
    other += ["--style", str(made / "with" / "style"), "--config", str(write_recipe(made))]
    assert main([*other, "--start-from", str(BUNDLED_HEAD.parents[1] / "model")]) == 2
    assert "another size" in capsys.readouterr().err


def test_without_a_style_encoder_the_exported_model_is_the_one_trained(made: Path, tmp_path: Path):
    folder = trained(made, tmp_path, "--ablation", "no-style-encoder")
    model = load_model(folder, "cpu", "float32")
    average = newest(tmp_path / "denoiser")["average"]
    prefix = "module.denoiser.person_proj"
    weight, bias = average[f"{prefix}.weight"], average[f"{prefix}.bias"]
    person = torch.cat([torch.zeros(100), average["module.null_style"][0]])
    assert torch.allclose(model.denoiser.person_proj(torch.zeros(116)), weight @ person + bias, atol=1e-6)


def test_a_work_folder_goes_on_by_its_own_recipe_and_refuses_another_model(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    trained(made, tmp_path, "--ablation", "no-alignment-mask", "--iterations", "3")
    again = ["train", "denoiser", "--work", str(tmp_path), "--set", str(made / "set"), "--device", "cpu"]
    again += ["--style", str(made / "with" / "style")]
    assert main([*again, "--config", str(write_recipe(made))]) == 2
    assert "another model" in capsys.readouterr().err
    assert main([*again, "--iterations", "6"]) == 0
    assert newest(tmp_path / "denoiser")["step"] == 6
    record = json.loads((tmp_path / "denoiser" / "recipe.json").read_text())
    assert record["recipe"]["ablations"] == ["no-alignment-mask"]


def test_settings_changed_on_the_way_are_told_by_the_model(made: Path, tmp_path: Path):
    trained(made, tmp_path, "--iterations", "2")
    recipe = write_recipe(tmp_path, "")
    recipe.write_text(recipe.read_text() + "[denoiser.weights]\nvertex = 5.0\n")
    places = ["--work", str(tmp_path), "--set", str(made / "set")]
    style = ["--style", str(made / "with" / "style"), "--device", "cpu"]
    assert main(["train", "denoiser", *places, *style, "--config", str(recipe), "--iterations", "4"]) == 0
    assert main(["train", "export", *places, "--out", str(tmp_path / "model")]) == 0
    provenance = load_model(tmp_path / "model", "cpu", "float32").config.provenance
    assert provenance["training"]["denoiser"]["weights"]["vertex"] == 5.0
    [before] = provenance["training_before"]
    assert before == {"until": 2, "denoiser": {"iterations": 2, "weights": {"vertex": 2e6}}}


def test_a_denoiser_needs_a_trained_style_encoder(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    command = ["train", "denoiser", "--work", str(tmp_path), "--set", str(made / "set"), "--device", "cpu"]
    assert main([*command, "--config", str(write_recipe(made))]) == 2
    assert "train one first" in capsys.readouterr().err


def test_training_sets_round_trip_and_damage_is_told(tmp_path: Path):
    data = made_set(held_out=1, sound=True)
    data.shapes = np.ones((12, 100), np.float32)
    data.description = SetDescription(basis="flame", expression_names=(), jaw_rest=(0.01, -0.02))
    data.save(tmp_path)
    again = TrainingSet.load(tmp_path)
    assert again.sequences == data.sequences and again.description == data.description
    for name in ("features", "motion", "silence", "sound", "shapes"):
        assert np.array_equal(getattr(again, name), getattr(data, name))
    rows = json.loads((tmp_path / "sequences.json").read_text())
    rows[0]["motion_starts"] = [10**6]
    (tmp_path / "sequences.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="outside the arrays"):
        TrainingSet.load(tmp_path)
    (tmp_path / "sequences.json").unlink()
    with pytest.raises(DataError, match="train prepare"):
        TrainingSet.load(tmp_path)


def test_a_head_of_another_basis_is_refused(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    data = made_set(WHISPER_FEATURES)
    data.description = replace(data.description, basis="flame", expression_names=())
    data.save(tmp_path / "set")
    style = ["--style", str(made / "with" / "style")]
    command = ["train", "denoiser", "--work", str(tmp_path), "--device", "cpu", *style]
    assert main([*command, "--config", str(write_recipe(tmp_path))]) == 2
    assert "--head" in capsys.readouterr().err
