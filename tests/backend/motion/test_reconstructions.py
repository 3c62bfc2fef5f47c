# SPDX-License-Identifier: GPL-3.0-or-later
"""Coefficients of face reconstruction tools: their names, shapes and rotations, and what is refused as ambiguous."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffposetalk.errors import MotionError
from diffposetalk.motion.clip import MotionClip
from diffposetalk.motion.formats.reconstructions import load_reconstruction

FRAMES = 50


def curves(channels: int, scale: float = 1.0) -> np.ndarray:
    """Slow curves (FRAMES, channels), which the filters leave all but unchanged."""
    t = np.arange(FRAMES)[:, None] / 25
    return (scale * np.sin(2 * np.pi * 0.3 * t + np.arange(channels))).astype(np.float32)


EXP, HEAD, JAW = curves(50), curves(3, 0.3), curves(3, 0.1)


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def matrices(rotation: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(rotation).as_matrix()


@pytest.mark.parametrize(
    "arrays",
    [
        {"exp": EXP, "pose": np.hstack([HEAD, JAW])},  # SPECTRE, the released code
        {"expcode": EXP[:, None], "posecode": np.hstack([HEAD, JAW])[:, None]},  # EMOCA, DECA: batches of one
        {"exp": np.hstack([EXP, EXP]), "pose": np.hstack([HEAD, JAW])},  # 100 components
        {"expression_params": EXP, "jaw_params": JAW, "pose_params": HEAD},  # SMIRK
        {"exp": EXP, "jaw": matrices(JAW), "head": matrices(HEAD)},
        {
            "exp": EXP,
            "pose": np.hstack([0 * HEAD, JAW]),
            "head": matrices(HEAD),
        },  # the head's replaced, as in the paper
        {
            "exp": EXP,
            "jaw_6d": matrices(JAW)[:, :, :2].transpose(0, 2, 1).reshape(FRAMES, 6),
            "head_6d": matrices(HEAD)[:, :, :2].transpose(0, 2, 1).reshape(FRAMES, 6),
            "rotation_6d": "columns",  # 6DRepNet
        },
        {
            "exp": EXP,
            "jaw_6d": matrices(JAW)[:, :2].reshape(FRAMES, 6),
            "head_6d": matrices(HEAD)[:, :2].reshape(FRAMES, 6),
            "rotation_6d": "rows",  # PyTorch3D
        },
        {
            "exp": EXP,
            "jaw": JAW,
            "head_euler_degrees": Rotation.from_rotvec(HEAD).as_euler("xyz", degrees=True),
        },
        {
            "exp": EXP,
            "jaw": JAW,
            **dict(
                zip(
                    ("pitch", "yaw", "roll"),
                    Rotation.from_rotvec(HEAD).as_euler("xyz", degrees=True).T,
                    strict=True,
                )
            ),
        },
    ],
)
def test_every_tools_layout(tmp_path: Path, arrays: dict[str, Any]) -> None:
    clip = load_reconstruction(save(tmp_path / "größe 1.npz", **arrays), fps=25)
    assert clip.basis == "flame" and clip.fps == 25 and clip.provenance["head_rotation"] is True
    assert np.abs(clip.exp - EXP).max() < 5e-3
    assert np.abs(clip.pose[:, :3] - HEAD).max() < 2e-3 and np.abs(clip.pose[:, 3:] - JAW).max() < 2e-3


def test_jaw_as_pitch_alone_and_no_head(tmp_path: Path) -> None:
    clip = load_reconstruction(save(tmp_path / "a.npz", exp=EXP, jaw=JAW[:, :1], fps=30.0))
    assert clip.fps == 30 and clip.provenance["head_rotation"] is False
    assert np.abs(clip.pose[:, 3] - JAW[:, 0]).max() < 2e-3 and not clip.pose[:, [0, 1, 2, 4, 5]].any()


def test_head_from_a_second_file(tmp_path: Path) -> None:
    face = save(tmp_path / "a.npz", exp=EXP, pose=np.hstack([0 * HEAD, JAW]))
    np.save(tmp_path / "m.npy", np.concatenate([matrices(HEAD), matrices(HEAD)[-1:]]))  # a frame more
    clip = load_reconstruction(face, fps=25, head=tmp_path / "m.npy")
    assert np.abs(clip.pose[:, :3] - HEAD).max() < 2e-3
    np.save(tmp_path / "e.npy", Rotation.from_rotvec(HEAD).as_euler("xyz", degrees=True))
    again = load_reconstruction(face, fps=25, head=tmp_path / "e.npy")
    assert np.abs(again.pose - clip.pose).max() < 1e-5
    np.save(tmp_path / "short.npy", matrices(HEAD)[:-1])
    with pytest.raises(MotionError, match="49 frames"):
        load_reconstruction(face, fps=25, head=tmp_path / "short.npy")
    np.save(tmp_path / "what.npy", HEAD)
    with pytest.raises(MotionError, match="degrees or radians"):
        load_reconstruction(face, fps=25, head=tmp_path / "what.npy")


def test_identity_from_a_second_file(tmp_path: Path) -> None:
    face = save(tmp_path / "a.npz", exp=EXP, pose=np.hstack([HEAD, JAW]), shape=np.zeros(100))
    code = np.random.default_rng(0).standard_normal((1, 300)).astype(np.float32)
    np.save(tmp_path / "identity.npy", code)  # MICA's
    np.savez(tmp_path / "identity.npz", shape=code[0])
    for name in ("identity.npy", "identity.npz"):
        clip = load_reconstruction(face, identity=tmp_path / name)
        assert clip.shape is not None and np.array_equal(clip.shape, code[0, :100])
    np.save(tmp_path / "short.npy", code[:, :50])
    with pytest.raises(MotionError, match="at least 100"):
        load_reconstruction(face, identity=tmp_path / "short.npy")


def test_noise_is_filtered_and_identity_averaged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, EXP.shape)
    shape = rng.normal(0, 1, (FRAMES, 300))
    path = save(tmp_path / "a.npz", exp=EXP + noise, pose=np.hstack([HEAD, JAW]), shape=shape)
    clip = load_reconstruction(path)
    assert np.abs(clip.exp - EXP).std() < 0.75 * np.abs(noise).std()
    assert clip.shape is not None and np.allclose(clip.shape, shape.mean(0)[:100], atol=1e-5)
    assert np.allclose(load_reconstruction(path, smooth=False).exp, EXP + noise, atol=1e-6)


def test_full_turns_of_axis_angle_are_no_jumps(tmp_path: Path) -> None:
    turning = np.zeros((FRAMES, 3))
    turning[:, 1] = np.linspace(3.0, 3.3, FRAMES)
    wrapped = Rotation.from_rotvec(turning).as_rotvec()
    assert np.abs(np.diff(wrapped[:, 1])).max() > 6
    clip = load_reconstruction(save(tmp_path / "a.npz", exp=EXP, pose=np.hstack([wrapped, JAW])))
    assert np.abs(np.diff(clip.pose[:, 1])).max() < 0.02


@pytest.mark.parametrize(("rate", "seconds"), [(25, 2.0), (30, 50 / 30), (60, 0.84), (24, 2.08), (50, 1.0)])
def test_rate_from_the_sound(tmp_path: Path, rate: float, seconds: float) -> None:
    path = save(tmp_path / "a.npz", exp=EXP, jaw=JAW)
    assert load_reconstruction(path, seconds=seconds).fps == rate
    with pytest.raises(MotionError, match="does not state its frame rate"):
        load_reconstruction(path)
    with pytest.raises(MotionError, match="no usual rate"):
        load_reconstruction(path, seconds=50 / 37)


def test_own_clips_stay_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    own = MotionClip(rng.random((20, 50), np.float32), rng.random((20, 6), np.float32), 30.0)
    own.save(tmp_path / "own.npz")
    clip = load_reconstruction(tmp_path / "own.npz")
    assert clip.basis == "arkit" and clip.fps == 30 and np.array_equal(clip.exp, own.exp)


POSE = np.hstack([HEAD, JAW])


@pytest.mark.parametrize(
    ("arrays", "kind", "message"),
    [
        ({"exp": EXP, "pose": HEAD}, "motion_ambiguous", "head's or the jaw's"),
        ({"exp": EXP, "expcode": EXP, "pose": POSE}, "motion_ambiguous", "twice"),
        ({"exp": EXP, "pose": np.degrees(POSE)}, "motion_ambiguous", "degrees"),
        ({"exp": EXP, "jaw": JAW, "head": POSE}, "motion_ambiguous", "head_6d"),
        ({"exp": EXP, "jaw": POSE}, "motion_ambiguous", "jaw_6d"),
        ({"exp": EXP, "jaw": JAW, "head_6d": POSE}, "motion_ambiguous", "columns.*rows"),
        ({"exp": EXP, "jaw": JAW, "head": HEAD, "yaw": HEAD[:, 0]}, "motion_format", "not all"),
        ({"exp": EXP}, "motion_format", "jaw"),
        ({"pose": POSE}, "motion_format", "expression"),
        ({"exp": EXP[:, :49], "pose": POSE}, "motion_format", r"\(50, 49\)"),
        ({"exp": EXP, "pose": POSE[:-1]}, "motion_format", r"\(49, 6\)"),
        ({"exp": EXP[:1], "pose": POSE[:1]}, "motion_format", "single frame"),
        ({"exp": EXP[:0], "pose": POSE[:0]}, "motion_format", "empty"),
        ({"exp": EXP * np.nan, "pose": POSE}, "motion_format", "not finite"),
        ({"exp": EXP * 1e4, "pose": POSE}, "motion_format", "never reach"),
        ({"exp": EXP, "jaw": JAW, "head": np.ones((FRAMES, 3, 3))}, "motion_format", "no rotations"),
        ({"exp": EXP, "pose": POSE, "fps": np.array([0.0])}, "motion_rate", "frame rate"),
        ({"exp": EXP.astype(str), "pose": POSE}, "motion_format", "numbers"),
    ],
)
def test_refusals(tmp_path: Path, arrays: dict[str, Any], kind: str, message: str) -> None:
    with pytest.raises(MotionError, match=message) as caught:
        load_reconstruction(save(tmp_path / "a b.npz", **arrays), fps=25)
    assert caught.value.kind == kind


def test_objects_and_damage(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", exp=np.array([{"a": 1}], object), pose=POSE)
    (tmp_path / "cut.npz").write_bytes(save(tmp_path / "a.npz", exp=EXP, pose=POSE).read_bytes()[:5000])
    for name in ("o.npz", "cut.npz"):
        with pytest.raises(MotionError, match="plain NumPy arrays"):
            load_reconstruction(tmp_path / name)
    with pytest.raises(MotionError, match="does not exist"):
        load_reconstruction(tmp_path / "none.npz")
