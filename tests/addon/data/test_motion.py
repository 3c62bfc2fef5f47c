# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading motion clips and bringing them to the scene's frame rate."""

import numpy as np
import pytest

FPS = [23.976023976, 24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 12.0]


@pytest.fixture
def motion_module(part):
    return part("data.motion")


def smooth_motion(module, count=101, fps=25.0):
    t = np.arange(count) / fps
    exp = 0.5 + 0.5 * np.sin(2 * np.pi * np.outer(t, np.linspace(0.1, 1.5, 50)))
    head = np.stack([0.2 * np.sin(3 * t), 0.4 * np.cos(2 * t), 0.1 * t], axis=1)
    jaw = np.stack([0.2 + 0.2 * np.sin(9 * t), 0 * t, 0 * t], axis=1)
    return module.Motion(exp, head, jaw, fps, "arkit", (), {})


@pytest.mark.parametrize("fps", FPS)
def test_frame_n_shows_its_time(motion_module, fps):
    motion = smooth_motion(motion_module)
    made = motion_module.resample_motion(motion, fps)
    t = np.arange(len(made.exp)) / fps
    assert len(made.exp) == len(made.head) == len(made.jaw) == int(4 * fps + 1e-6) + 1
    truth = 0.5 + 0.5 * np.sin(2 * np.pi * np.outer(t, np.linspace(0.1, 1.5, 50)))
    assert np.abs(made.exp - truth).max() < 0.02
    assert np.abs(made.head[:, 1] - 0.4 * np.cos(2 * t)).max() < 2e-3
    assert made.exp.min() >= motion.exp.min() and made.exp.max() <= motion.exp.max()
    assert not made.jaw[:, 1:].any()


def test_same_rate_is_untouched(motion_module):
    motion = smooth_motion(motion_module)
    made = motion_module.resample_motion(motion, 25.0)
    assert made.exp is motion.exp and made.head is motion.head


def test_clamped_expressions_stay_clamped(motion_module):
    values = np.random.default_rng(0).integers(0, 2, (200, 50)).astype("f4")
    made = motion_module.interpolate(values, np.linspace(0, 199, 1000)).astype("f4")
    assert made.min() >= 0 and made.max() <= 1


def test_rotation_across_half_a_turn(motion_module):
    angle = np.linspace(2.8, 3.5, 36)
    turned = np.outer(angle, [0, 1, 0])
    wrapped = motion_module.axis_angles(motion_module.continuous_quaternions(turned))
    motion = smooth_motion(motion_module, 36)
    motion = motion_module.Motion(motion.exp, wrapped, motion.jaw, 25.0, "arkit", (), {})
    made = motion_module.resample_motion(motion, 60.0)
    quaternions = motion_module.continuous_quaternions(made.head)
    steps = 2 * np.arccos(np.clip((quaternions[1:] * quaternions[:-1]).sum(1), -1, 1))
    np.testing.assert_allclose(steps, 0.02 * 25 / 60, rtol=0.02)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("fps", [24.0, 60.0])
def test_very_short_motion(motion_module, count, fps):
    made = motion_module.resample_motion(smooth_motion(motion_module, count), fps)
    assert len(made.exp) >= 1 and np.isfinite(made.exp).all() and made.fps == fps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exp": None}, "lacks"),
        ({"exp": np.zeros((4, 50), "f4")}, r"\(T, 6\)"),
        ({"exp": np.full((5, 50), np.nan, "f4")}, "not finite"),
        ({"exp": np.zeros((0, 50), "f4"), "pose": np.zeros((0, 6), "f4")}, "needed"),
        ({"fps": np.float32(0)}, "frames per second"),
        ({"expression_names": np.array(["a", "b"])}, "names 2"),
    ],
)
def test_bad_motion_files(motion_module, api, tmp_path, change, message):
    arrays = {"exp": np.zeros((5, 50), "f4"), "pose": np.zeros((5, 6), "f4"), "basis": np.array("arkit")}
    arrays = {key: value for key, value in (arrays | change).items() if value is not None}
    np.savez(tmp_path / "clip.npz", **arrays)
    with pytest.raises(api.UserError, match=message):
        motion_module.read_motion(tmp_path / "clip.npz")


def test_files_without_metadata_are_flame(motion_module, tmp_path):
    np.savez(tmp_path / "clip.npz", exp=np.zeros((5, 50), "f4"), pose=np.zeros((5, 6), "f4"))
    motion = motion_module.read_motion(tmp_path / "clip.npz")
    assert motion.basis == "flame" and motion.fps == 25 and not motion.has_head


def test_missing_and_foreign_files(motion_module, api, tmp_path):
    with pytest.raises(api.UserError, match="does not exist"):
        motion_module.read_motion(tmp_path / "none.npz")
    for name, content in (("empty.npz", b""), ("text.npz", b"hello"), ("cut.npz", b"PK\x03\x04abc")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(api.UserError, match="not a motion file"):
            motion_module.read_motion(tmp_path / name)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(api.UserError, match="not a motion file"):
        motion_module.read_motion(tmp_path / "single.npy")
