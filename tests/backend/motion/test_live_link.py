# SPDX-License-Identifier: GPL-3.0-or-later
"""Live Link Face tables: what the app writes, what spreadsheets make of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.live_link_files import performance, write_table

from diffposetalk.errors import MotionError
from diffposetalk.motion.arkit import APPLE_ORDER, INDEX
from diffposetalk.motion.formats.live_link import is_live_link, load_live_link, read_live_link

JAW = 0.3


@pytest.fixture
def table(tmp_path: Path) -> Path:
    times, columns = performance()
    return write_table(tmp_path / "Aufnahme ü 1.csv", times, columns)


def test_take_at_25_frames_with_neutral_at_zero(table: Path) -> None:
    clip = load_live_link(table, jaw_open_angle=JAW)
    assert clip.basis == "arkit" and clip.fps == 25 and len(clip) == 100
    wanted = np.arange(100) / 25
    opening = 0.25 - 0.25 * np.cos(2 * np.pi * wanted)
    quiet = np.percentile(0.25 - 0.25 * np.cos(2 * np.pi * np.arange(240) / 60), 10)
    calibrated = np.clip((opening - quiet) / (1 - quiet), 0, 1)
    assert np.abs(clip.pose[:, 3] / JAW - calibrated)[3:-3].max() < 0.02
    assert np.abs(clip.exp[:, INDEX["mouthSmileLeft"]]).max() < 1e-6  # held throughout: the neutral face
    head = Rotation.from_rotvec(clip.pose[:, :3]).as_euler("YXZ")
    expected = np.stack(
        [
            0.3 * np.sin(2 * np.pi * 0.5 * wanted),
            0.2 * np.sin(2 * np.pi * 0.7 * wanted),
            0.1 * np.sin(2 * np.pi * 0.3 * wanted),
        ],
        1,
    )
    for axis in range(3):
        assert np.corrcoef(head[3:-3, axis], expected[3:-3, axis])[0, 1] > 0.99
        assert np.ptp(head[:, axis]) == pytest.approx(np.ptp(expected[:, axis]), rel=0.12)
    assert clip.provenance["neutral"] == "estimated" and clip.provenance["capture_fps"] == pytest.approx(
        60, abs=0.1
    )


def test_given_or_no_neutral(table: Path) -> None:
    raw = load_live_link(table, neutral="none", jaw_open_angle=JAW)
    assert raw.exp[:, INDEX["mouthSmileLeft"]] == pytest.approx(0.12, abs=1e-6)
    face = np.zeros(52)
    face[APPLE_ORDER.index("mouthSmileLeft")] = 0.06
    half = load_live_link(table, neutral=face, jaw_open_angle=JAW)
    assert half.exp[:, INDEX["mouthSmileLeft"]] == pytest.approx(0.06 / 0.94, abs=1e-6)
    with pytest.raises(MotionError, match="52"):
        load_live_link(table, neutral=np.zeros(51))


def test_neutral_file_of_the_app(tmp_path: Path) -> None:
    times, columns = performance()
    raw = write_table(tmp_path / "Slate_1_raw.csv", times, columns)
    neutral = {name: np.full(1, 0.1 if name == "MouthSmileLeft" else 0.0) for name in columns}
    write_table(tmp_path / "Slate_1_neutral.csv", times[:1], neutral)
    clip = load_live_link(raw, jaw_open_angle=JAW)
    assert clip.provenance["neutral"] == "Slate_1_neutral.csv"
    assert clip.exp[:, INDEX["mouthSmileLeft"]] == pytest.approx(0.02 / 0.9, abs=1e-6)
    calibrated = write_table(tmp_path / "Slate_1_cal.csv", times, columns)
    assert load_live_link(calibrated, jaw_open_angle=JAW).provenance["neutral"] == "calibrated by the app"


def test_variants_of_the_columns(tmp_path: Path) -> None:
    times, columns = performance()
    whole = load_live_link(write_table(tmp_path / "61.csv", times, columns), jaw_open_angle=JAW)
    old = {k: v for k, v in columns.items() if k != "TongueOut" and not k.endswith(("Yaw", "Pitch", "Roll"))}
    assert len(old) == 51
    clip = load_live_link(write_table(tmp_path / "51.csv", times, old), jaw_open_angle=JAW)
    assert np.array_equal(clip.exp, whole.exp) and not clip.pose[:, :3].any()
    assert clip.provenance["head_rotation"] is False
    shuffled = dict(sorted(columns.items(), reverse=True))
    again = load_live_link(write_table(tmp_path / "shuffled.csv", times, shuffled), jaw_open_angle=JAW)
    assert np.array_equal(again.exp, whole.exp) and np.array_equal(again.pose, whole.pose)
    lower = {k[0].lower() + k[1:]: v for k, v in columns.items()}
    assert np.array_equal(load_live_link(write_table(tmp_path / "l.csv", times, lower)).exp, whole.exp)


def test_spreadsheet_with_decimal_commas(tmp_path: Path) -> None:
    times, columns = performance(1.5)
    plain = load_live_link(write_table(tmp_path / "a.csv", times, columns))
    local = load_live_link(write_table(tmp_path / "b.csv", times, columns, separator=";", comma=True))
    tabs = load_live_link(write_table(tmp_path / "c.csv", times, columns, separator="\t"))
    assert np.array_equal(plain.exp, local.exp) and np.array_equal(plain.pose, tabs.pose)


def test_signs_follow_the_eyes_and_units_the_size(tmp_path: Path) -> None:
    times, columns = performance()
    plain = load_live_link(write_table(tmp_path / "a.csv", times, columns), jaw_open_angle=JAW)
    mirrored = columns | {k: -v for k, v in columns.items() if k.endswith(("Yaw", "Roll"))}
    other = load_live_link(write_table(tmp_path / "b.csv", times, mirrored), jaw_open_angle=JAW)
    assert np.abs(plain.pose - other.pose).max() < 1e-6
    degrees = columns | {k: np.degrees(v) for k, v in columns.items() if k.endswith(("Yaw", "Pitch", "Roll"))}
    third = load_live_link(write_table(tmp_path / "c.csv", times, degrees), jaw_open_angle=JAW)
    assert np.abs(plain.pose - third.pose).max() < 1e-5
    turns = columns | {k: v / np.pi for k, v in columns.items() if k.endswith(("Yaw", "Pitch", "Roll"))}
    path = write_table(tmp_path / "d.csv", times, turns)
    assert (
        np.abs(load_live_link(path, angles="half_turns", jaw_open_angle=JAW).pose - plain.pose).max() < 1e-5
    )


def test_dropped_and_repeated_frames(tmp_path: Path) -> None:
    times, columns = performance()
    whole = load_live_link(write_table(tmp_path / "a.csv", times, columns), jaw_open_angle=JAW)
    keep = np.ones(len(times), bool)
    keep[[20, 21, 60, 100, 101, 102]] = False
    rows = np.sort(np.concatenate([np.flatnonzero(keep), [50, 50]]))
    path = write_table(tmp_path / "b.csv", times[rows], {k: v[rows] for k, v in columns.items()})
    clip = load_live_link(path, jaw_open_angle=JAW)
    assert len(clip) == len(whole)
    assert np.abs(clip.pose[:, 3] - whole.pose[:, 3]).max() < 0.01
    keep[100:160] = False
    lost = write_table(tmp_path / "c.csv", times[keep], {k: v[keep] for k, v in columns.items()})
    with pytest.raises(MotionError, match=r"no frames for 1\.0. s from 1\.6. s") as caught:
        load_live_link(lost)
    assert caught.value.kind == "motion_gap"


@pytest.mark.parametrize("rate", [24, 30, 60])
def test_timecode_at_other_rates_and_over_midnight(tmp_path: Path, rate: int) -> None:
    times, columns = performance(3.0, rate)
    path = write_table(tmp_path / "a.csv", times, columns, start=23 * 3600 + 59 * 60 + 58, rate=rate)
    path.write_text(path.read_text().replace("\n24:00:", "\n00:00:"))
    take = read_live_link(path)
    assert take.times == pytest.approx(times, abs=2e-5)


def test_recognised_by_its_columns(tmp_path: Path, table: Path) -> None:
    assert is_live_link(table)
    other = tmp_path / "words.csv"
    other.write_text("audio,motion\na.wav,b.npz\n")
    assert not is_live_link(other)


def _change(table: Path, change: object) -> None:
    lines = table.read_text().splitlines()
    table.write_text("\n".join(change(lines)) + "\n")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [], "empty"),
        (lambda lines: lines[:1], "0 frames"),
        (lambda lines: lines[:4], "3 frames"),
        (lambda lines: [lines[0].replace("MouthFunnel", "Funnel"), *lines[1:]], "MouthFunnel"),
        (
            lambda lines: [*lines[:10], lines[10].replace(",0.", ",x.", 1), *lines[11:]],
            "line 11.*not a number",
        ),
        (lambda lines: [*lines[:10], lines[10].replace("0.00000000", "nan", 1), *lines[11:]], "not finite"),
        (lambda lines: [*lines[:10], "14:03,61" + lines[10][14:], *lines[11:]], "timecode|not a number"),
        (lambda lines: [lines[0], *lines[60:], *lines[1:60]], "backwards"),
        (lambda lines: [lines[0], *(x.replace(",0.12000000,", ",12.0,") for x in lines[1:])], "0 to 1"),
    ],
)
def test_refusals(table: Path, change: object, message: str) -> None:
    _change(table, change)
    with pytest.raises(MotionError, match=message):
        load_live_link(table)


def test_last_line_cut_off(table: Path) -> None:
    whole = load_live_link(table)
    table.write_text(table.read_text()[:-100])
    assert len(load_live_link(table)) >= len(whole) - 1


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(bytes(range(256)) * 50)
    with pytest.raises(MotionError, match="text table"):
        load_live_link(path)
    with pytest.raises(MotionError, match="cannot be read"):
        load_live_link(tmp_path / "none.csv")


def test_without_timecode_a_rate_is_needed(table: Path) -> None:
    _change(table, lambda lines: [line.split(",", 1)[1] for line in lines])
    with pytest.raises(MotionError, match="frame rate"):
        load_live_link(table)
    assert len(load_live_link(table, fps=60)) == 100
