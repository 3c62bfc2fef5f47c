# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation in FLAME's basis, and of a model against references of the other basis; the bundled model as shipped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support import flame_files
from support.paths import BUNDLED_HEAD, BUNDLED_MODEL, GRID, SHARED
from support.tiny_model import tiny_config

from diffposetalk.cli import main
from diffposetalk.convert.flame import convert_flame
from diffposetalk.evaluate.evaluation import evaluate
from diffposetalk.evaluate.references import read_references
from diffposetalk.evaluate.subjects import ModelSubject, Recorded
from diffposetalk.head.basis_conversion import convert
from diffposetalk.head.geometry import FaceRegions
from diffposetalk.head.head_model import load_head
from diffposetalk.motion.clip import MotionClip
from diffposetalk.networks.checkpoint import load_model, save_model
from diffposetalk.networks.model import DiffPoseTalk

CORPUS = SHARED / "data" / "grid_s1"
SECONDS, FRAMES = 2, 50


@pytest.fixture(scope="module")
def flame_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flame")
    flame_files.write_npz(folder / "flame.npz")
    convert_flame(folder / "flame.npz", folder / "head.npz")
    return folder / "head.npz"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings with motion in FLAME's basis, as the released code writes it, with identities."""
    folder = tmp_path_factory.mktemp("flame data")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(SECONDS * 16_000), 16_000)
        pose = np.zeros((FRAMES, 6), np.float32)
        pose[:, 3] = 0.1 * (1 - np.cos(np.arange(FRAMES) / 2))
        pose[:, :3] = np.cumsum(0.004 * rng.standard_normal((FRAMES, 3)), axis=0)
        shape = rng.normal(0, 0.5, 100).astype(np.float32)
        np.savez(folder / f"{name}.npz", exp=np.zeros((FRAMES, 50), np.float32), pose=pose, shape=shape)
    phones = [["", "SIL", 0.0, 0.4], ["", "M", 0.4, 0.6], ["", "AA", 0.6, 1.0], ["", "W", 1.0, 1.2]]
    (folder / "index.json").write_text(json.dumps([{"id": n, "phones": phones} for n in ("a", "b")]))
    return folder


@pytest.fixture(scope="module")
def flame_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    config = replace(
        tiny_config(), name="tiny flame", basis="flame", expression_names=(), coefficient_range=None
    )
    model = DiffPoseTalk(config)
    for name, buffer in model.normalizer.named_buffers():
        buffer.copy_(torch.ones_like(buffer) * (0.1 if name.endswith("std") else 0.0))
    folder = tmp_path_factory.mktemp("flame model")
    save_model(model, folder)
    return folder


def test_a_flame_model_on_flame_references(
    data: Path, flame_path: Path, flame_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "figures.json"
    command = ["evaluate", str(data), "--model", str(flame_model), "--device", "cpu", "--runs", "2"]
    command += ["--head", str(flame_path), "--long-seconds", "0", "--json", str(out)]
    assert main(command) == 0
    subjects = json.loads(out.read_text())["corpora"][data.name]["subjects"]
    figures = subjects["tiny flame"]["figures"]
    assert figures["lve"]["mean"] > 0.1 and {"closure", "opening", "narrowing"} <= set(figures)
    # what only the ARKit basis names is not made up
    assert not {"blinks", "rounded", "lid_rest"} & (set(figures) | set(subjects["recorded"]["figures"]))
    assert "Lips close on P, B, M" in capsys.readouterr().out


def test_the_released_database(flame_path: Path, flame_model: Path, tmp_path: Path):
    """Its validation list is measured, on FLAME's mesh with each speaker's identity; test clips are left out."""
    pytest.importorskip("lmdb")
    from support.released_lmdb import clip_arrays, entries, write_lmdb

    clips = {name: clip_arrays(60, seed) for seed, name in enumerate(("A/000", "B/000", "C/000", "D/000"))}
    values: dict[str, bytes] = {}
    for name, arrays in clips.items():
        values |= entries(name, arrays)
    write_lmdb(tmp_path / "lmdb", values)
    for name, listed in (("train.txt", "A/000"), ("val.txt", "B/000\nC/000"), ("test.txt", "D/000")):
        (tmp_path / name).write_text(listed + "\n")
    out = tmp_path / "figures.json"
    command = ["evaluate", str(tmp_path), "--model", str(flame_model), "--device", "cpu", "--runs", "1"]
    assert main([*command, "--head", str(flame_path), "--long-seconds", "0", "--json", str(out)]) == 0
    data = json.loads(out.read_text())
    [corpus] = data["corpora"].values()
    assert set(corpus["subjects"]["tiny flame"]["by_clip"]) == {"B/000", "C/000"}
    assert any("D/000: it is kept for testing" in note for note in data["notes"])
    assert any("no phones" in note for note in data["notes"])


def test_a_model_of_the_other_basis_needs_its_head(
    data: Path, flame_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["evaluate", str(data), "--model", str(tiny_model), "--head", str(flame_path)]
    assert main([*command, "--model-head", str(flame_path)]) == 2
    assert "shows the flame basis; the model speaks arkit" in capsys.readouterr().err
    assert main(command) == 2
    assert "--model-head" in capsys.readouterr().err


def test_a_model_of_the_other_basis_is_converted_and_its_style_read(
    data: Path, flame_path: Path, tiny_model: Path, tmp_path: Path
):
    out = tmp_path / "figures.json"
    command = ["evaluate", str(data), "--model", str(tiny_model), "--device", "cpu", "--runs", "1"]
    command += ["--head", str(flame_path), "--model-head", str(BUNDLED_HEAD), "--long-seconds", "0"]
    assert main([*command, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert "converted to flame" in result["settings"]["Basis"]
    subject = result["corpora"][data.name]["subjects"]["tiny"]
    assert subject["figures"]["lve"]["mean"] > 0.1 and subject["notes"] == []


def test_converted_motion_is_measured_near_its_original(data: Path, flame_path: Path):
    """What conversion loses is little beside what metrics are about."""
    flame, bundled = load_head(flame_path), load_head(BUNDLED_HEAD)
    [references] = read_references(data, flame).values()
    regions = FaceRegions(bundled)
    motion = references[0].motion
    there, residual = convert(MotionClip(motion.exp, motion.pose, basis="flame"), flame, bundled)
    opening = FaceRegions(flame).track(MotionClip(motion.exp, motion.pose, basis="flame")).opening
    assert np.corrcoef(regions.track(there).opening, opening)[0, 1] > 0.98 and residual.mean < 1


def test_a_sentence_of_the_real_speaker_is_measured():
    """What a few seconds can show, without the recordings that are not part of the repository."""
    head = load_head(BUNDLED_HEAD)
    references = read_references(GRID, head)["grid"]
    assert [reference.id for reference in references] == ["bbaf2n"]
    regions = FaceRegions(head)
    model = load_model(BUNDLED_MODEL, device="cpu")
    figures = evaluate(ModelSubject(model, "bundled", runs=1), references, regions).estimates
    recorded = evaluate(Recorded(), references, regions).estimates
    assert figures["opening_correlation"].mean >= 0.8 and abs(figures["opening_lag"].mean) <= 1
    assert abs(figures["phone_lag"].mean - recorded["phone_lag"].mean) <= 1
    assert figures["closure"].mean == 1 and figures["opening"].mean == recorded["opening"].mean == 1
    assert figures["lve"].mean < 3 and 0.5 < figures["opening_variance"].mean < 2


@pytest.mark.shared
@pytest.mark.skipif(not CORPUS.is_dir(), reason="needs ../shared/data/grid_s1")
def test_lips_of_the_bundled_model_follow_the_real_speaker():
    head = load_head(BUNDLED_HEAD)
    references = read_references(CORPUS, head, limit=16)["grid_s1"]
    regions = FaceRegions(head)
    model = load_model(BUNDLED_MODEL, device="cpu")
    figures = evaluate(ModelSubject(model, "bundled", runs=1), references, regions).estimates
    recorded = evaluate(Recorded(), references, regions).estimates
    assert figures["opening_correlation"].mean >= 0.6 and abs(figures["opening_lag"].mean) <= 1
    assert abs(figures["phone_lag"].mean - recorded["phone_lag"].mean) <= 1
    assert figures["closure"].mean >= 0.85 and figures["opening"].mean >= 0.85
    assert recorded["closure"].mean >= 0.8 and recorded["opening"].mean >= 0.85
    assert figures["lve"].mean < 3 and 0.6 < figures["opening_variance"].mean < 1.5
