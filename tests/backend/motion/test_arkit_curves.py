# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion through Live Link Face tables and JSON, and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.paths import BUNDLED_HEAD

from diffposetalk.cli import main
from diffposetalk.errors import MotionError, OutputError
from diffposetalk.head.head_model import load_head
from diffposetalk.motion.arkit import APPLE_ORDER, EXPRESSIONS, INDEX
from diffposetalk.motion.clip import MotionClip, load_motion
from diffposetalk.motion.formats import read_motion, write_motion
from diffposetalk.motion.formats.arkit_curves import (
    blendshapes,
    read_arkit_json,
    read_live_link_curves,
    read_unchanged,
)
from diffposetalk.motion.formats.live_link import load_live_link, read_live_link


@pytest.fixture(scope="module")
def clip() -> MotionClip:
    """Five seconds in which everything moves, smoothly, within ARKit's ranges."""
    rng = np.random.default_rng(0)
    times = np.arange(125)[:, None] / 25
    exp = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 1, (1, 50)) * times + rng.uniform(0, 6, (1, 50)))
    pose = np.zeros((125, 6))
    pose[:, :3] = 0.3 * np.sin(2 * np.pi * np.array([[0.3, 0.5, 0.2]]) * times)
    pose[:, 3] = load_head(BUNDLED_HEAD).jaw_open_angle * (0.5 - 0.5 * np.cos(2 * np.pi * times[:, 0]))
    provenance = {"synthetic": True, "model": "tiny", "audio_name": "Ödön.wav"}
    return MotionClip(
        exp.astype(np.float32), pose.astype(np.float32), 25.0, "arkit", None, EXPRESSIONS, provenance
    )


def test_blendshapes_are_named_as_apple_names_them(clip: MotionClip) -> None:
    weights = blendshapes(clip)
    assert weights.shape == (125, 52)
    assert np.array_equal(weights[:, APPLE_ORDER.index("mouthPucker")], clip.exp[:, INDEX["mouthPucker"]])
    assert weights[:, APPLE_ORDER.index("jawOpen")].max() == pytest.approx(1, abs=1e-2)
    assert not weights[:, APPLE_ORDER.index("tongueOut")].any()


def test_json_gives_back_what_was_written(clip: MotionClip, tmp_path: Path) -> None:
    back = read_arkit_json(write_motion(clip, tmp_path / "a.json"))
    assert np.array_equal(back.exp, clip.exp) and back.provenance == clip.provenance
    assert np.array_equal(back.pose[:, :3], clip.pose[:, :3])
    assert np.abs(back.pose - clip.pose).max() < 1e-6 and back.fps == 25
    assert np.allclose(read_motion(tmp_path / "a.json").exp, clip.exp)


@pytest.mark.parametrize(("fps", "error"), [(25.0, 2e-6), (50.0, 2e-6), (60.0, 0.015), (None, 0.015)])
def test_a_table_gives_back_what_was_written(
    clip: MotionClip, tmp_path: Path, fps: float | None, error: float
) -> None:
    path = write_motion(clip, tmp_path / "a.csv", fps)
    back = read_live_link_curves(path)
    assert len(back) == len(clip) and back.fps == 25
    assert np.abs(back.exp - clip.exp).max() < error
    assert np.abs(back.pose - clip.pose).max() < error
    take = read_live_link(path)
    assert np.median(np.diff(take.times)) == pytest.approx(1 / (fps or 60), abs=1e-6)
    assert (take.blendshapes >= 0).all() and (take.blendshapes <= 1).all()


def test_the_tables_signs_are_those_of_the_reader(clip: MotionClip, tmp_path: Path) -> None:
    """The eyes' angles go with the gaze, by which the reader tells a mirrored capture; heads come back unmirrored."""
    captured = load_live_link(write_motion(clip, tmp_path / "take_cal.csv"))
    wanted = clip.pose[:, :3] - clip.pose[:, :3].mean(axis=0)
    assert np.corrcoef(captured.pose[5:120, 1], wanted[5:120, 1])[0, 1] > 0.98
    assert np.abs(captured.pose[5:120, :3] - wanted[5:120]).max() < 0.08


def test_json_of_others(tmp_path: Path) -> None:
    data = {
        "fps": 30,
        "names": ["JawOpen", "mouthsmileleft", "visemeX"],
        "weights": [[1, 0.5, 3], [0, 0.25, 3]],
    }
    (tmp_path / "a.json").write_text(json.dumps(data))
    clip = read_arkit_json(tmp_path / "a.json")
    assert clip.exp[:, INDEX["mouthSmileLeft"]].tolist() == [0.5, 0.25] and clip.exp.sum() == 0.75
    assert clip.pose[0, 3] == pytest.approx(load_head(BUNDLED_HEAD).jaw_open_angle) and clip.fps == 30


@pytest.mark.parametrize(
    "data",
    [
        "{",
        "[]",
        "{}",
        '{"fps": 25, "names": ["jawOpen"], "weights": [[1], [2, 3]]}',
        '{"fps": 25, "names": ["jawOpen"], "weights": []}',
        '{"fps": 25, "names": ["x"], "weights": [[1]]}',
        '{"fps": 25, "names": ["jawOpen"], "weights": [[NaN]]}',
        '{"fps": 0, "names": ["jawOpen"], "weights": [[1]]}',
        '{"fps": 25, "names": ["jawOpen"], "weights": [["one"]]}',
        '{"format": "other", "fps": 25, "names": ["jawOpen"], "weights": [[1]]}',
        '{"version": 2, "fps": 25, "names": ["jawOpen"], "weights": [[1]]}',
    ],
)
def test_json_that_is_none(tmp_path: Path, data: str) -> None:
    (tmp_path / "a.json").write_text(data)
    with pytest.raises(MotionError) as caught:
        read_arkit_json(tmp_path / "a.json")
    assert caught.value.kind == "motion_format"
    with pytest.raises(MotionError) as caught:
        read_arkit_json(tmp_path / "none.json")
    assert caught.value.kind == "motion_missing"


def test_what_cannot_be_written(clip: MotionClip, tmp_path: Path) -> None:
    flame = MotionClip(clip.exp, clip.pose, 25.0, "flame")
    for name in ("a.csv", "a.json"):
        with pytest.raises(MotionError) as caught:
            write_motion(flame, tmp_path / name)
        assert caught.value.kind == "motion_basis"
    with pytest.raises(MotionError):
        write_motion(clip, tmp_path / "a.csv", 23.976)
    with pytest.raises(OutputError):
        write_motion(clip, tmp_path / "a.fbx")
    with pytest.raises(OutputError):
        write_motion(clip, tmp_path / "none" / "a.json")
    assert not list(tmp_path.iterdir())


def test_the_command(clip: MotionClip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip.save(tmp_path / "a.npz")
    for source, target in (("a.npz", "b.json"), ("b.json", "c.csv"), ("c.csv", "d.npz")):
        assert main(["convert", "motion", str(tmp_path / source), str(tmp_path / target)]) == 0
    back = load_motion(tmp_path / "d.npz")
    assert np.abs(back.exp - clip.exp).max() < 0.015 and np.abs(back.pose - clip.pose).max() < 0.015
    assert read_unchanged(tmp_path / "b.json").provenance == clip.provenance
    only_one = ["convert", "motion", str(tmp_path / "a.npz"), str(tmp_path / "e.npz"), "--to-head", "x"]
    assert main(only_one) == 2
    assert "error:" in capsys.readouterr().err
