# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion clips on disk, their vectors and their rates; style references taken from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffposetalk.errors import MotionError, StyleError
from diffposetalk.motion.clip import MotionClip, from_vectors, load_motion, resample, to_vectors
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.styles import extract_style, resolve_style


def clip(frames: int = 120, seed: int = 0, **fields: object) -> MotionClip:
    rng = np.random.default_rng(seed)
    exp = rng.uniform(0, 1, (frames, 50)).astype(np.float32)
    pose = rng.normal(0, 0.1, (frames, 6)).astype(np.float32)
    pose[:, 4:] = 0
    return MotionClip(exp, pose, **fields)  # type: ignore[arg-type]


def test_round_trip(tmp_path: Path):
    out = clip(provenance={"synthetic": True, "audio_name": "línea.wav"}, shape=np.ones(100, np.float32))
    loaded = load_motion(out.save(tmp_path / "ein Takt.npz"))
    assert np.array_equal(loaded.exp, out.exp) and np.array_equal(loaded.pose, out.pose)
    assert loaded.provenance == out.provenance and loaded.basis == "arkit" and loaded.fps == 25
    assert [p.name for p in tmp_path.iterdir()] == ["ein Takt.npz"]


def test_released_files_load_as_flame(tmp_path: Path):
    np.savez(tmp_path / "clip.npz", exp=np.zeros((10, 50)), pose=np.zeros((10, 6)))
    assert load_motion(tmp_path / "clip.npz").basis == "flame"


def test_vectors():
    motion = clip()
    for dim in (51, 54):
        exp, pose = from_vectors(to_vectors(motion, dim))
        assert np.allclose(exp, motion.exp) and np.allclose(pose[:, 3], motion.pose[:, 3])
        assert np.allclose(pose[:, :3], motion.pose[:, :3] if dim == 54 else 0)
        assert not pose[:, 4:].any()
        _, pose = from_vectors(to_vectors(motion, dim), (0.01, -0.02))
        assert np.allclose(pose[:, 4:], [0.01, -0.02])


def test_resampling_keeps_the_motion():
    time = np.arange(100) / 25
    exp = np.repeat((0.5 + 0.4 * np.sin(2 * np.pi * time))[:, None], 50, axis=1).astype(np.float32)
    pose = np.zeros((100, 6), np.float32)
    pose[:, 1] = 0.3 * np.sin(2 * np.pi * 0.5 * time)
    out = resample(MotionClip(exp, pose), 60.0)
    wanted = np.arange(len(out)) / 60
    assert len(out) == int(99 / 25 * 60 + 1e-6) + 1
    assert np.abs(out.exp[:, 0] - (0.5 + 0.4 * np.sin(2 * np.pi * wanted))).max() < 0.01
    assert np.abs(out.pose[:, 1] - 0.3 * np.sin(np.pi * wanted)).max() < 0.005


@pytest.mark.parametrize(
    "arrays",
    [
        {"exp": np.zeros((10, 50))},
        {"exp": np.zeros((10, 49)), "pose": np.zeros((10, 6))},
        {"exp": np.zeros((10, 50)), "pose": np.zeros((9, 6))},
        {"exp": np.zeros((0, 50)), "pose": np.zeros((0, 6))},
        {"exp": np.full((10, 50), np.nan), "pose": np.zeros((10, 6))},
        {"exp": np.array(["a"] * 10), "pose": np.zeros((10, 6))},
        {"exp": np.zeros((10, 50)), "pose": np.zeros((10, 6)), "basis": np.array("morphs")},
        {"exp": np.array([{}], dtype=object), "pose": np.zeros((1, 6))},
        {"exp": np.full((9, 50), 1e30, np.float32), "pose": np.zeros((9, 6))},
    ],
)
def test_files_that_hold_no_motion(tmp_path: Path, arrays: dict):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(MotionError):
        load_motion(tmp_path / "bad.npz")


def test_one_name_is_a_list_of_one(tmp_path: Path):
    np.savez(
        tmp_path / "a.npz", exp=np.zeros((9, 50)), pose=np.zeros((9, 6)), expression_names=np.array("jawOpen")
    )
    assert load_motion(tmp_path / "a.npz").expression_names == ("jawOpen",)


def test_files_that_are_no_archives(tmp_path: Path):
    with pytest.raises(MotionError):
        load_motion(tmp_path / "missing.npz")
    for content in (b"", b"text", b"PK\x03\x04" + b"\0" * 50):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(MotionError):
            load_motion(tmp_path / "bad.npz")


def test_style_of_a_reference(tiny_model: Path, tmp_path: Path):
    model = load_model(tiny_model, "cpu")
    assert extract_style(model, clip(300)).shape == (16,)
    middle = extract_style(model, clip(300), 100)
    assert torch.allclose(middle, extract_style(model, clip(300)))
    assert extract_style(model, clip(40)).shape == (16,)
    path = clip(200).save(tmp_path / "ref.npz")
    assert resolve_style(model, {"motion": path}) is not None
    assert resolve_style(model, {"preset": "calm"}) is not None
    assert resolve_style(model, None) is None


@pytest.mark.parametrize(
    ("frames", "fields", "start", "kind"),
    [
        (20, {}, None, "style_short"),
        (200, {"basis": "flame"}, None, "style_basis"),
        (200, {}, 150, "style_range"),
        (200, {}, -1, "style_range"),
    ],
)
def test_references_that_cannot_be_used(
    tiny_model: Path, frames: int, fields: dict, start: int | None, kind: str
):
    with pytest.raises(StyleError) as caught:
        extract_style(load_model(tiny_model, "cpu"), clip(frames, **fields), start)
    assert caught.value.kind == kind


@pytest.mark.parametrize("spec", [{"preset": "nobody"}, {}, {"vector": "nothing.npy"}])
def test_styles_that_do_not_exist(tiny_model: Path, spec: dict):
    with pytest.raises(StyleError):
        resolve_style(load_model(tiny_model, "cpu"), spec)
