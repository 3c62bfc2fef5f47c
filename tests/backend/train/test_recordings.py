# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders and lists of recordings: what is paired with what, who speaks, which split, and what is left out and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.live_link_files import performance, write_table
from support.made_recordings import clip, sound

from diffposetalk.errors import DataError, DiffPoseTalkError
from diffposetalk.motion.clip import MotionClip
from diffposetalk.motion.formats import read_motion
from diffposetalk.train.recording import Recording, Skipped
from diffposetalk.train.recordings import hashed_split, read_recordings


def read(source: Path, **options: object) -> tuple[dict[str, Recording], dict[str, str]]:
    skipped: list[Skipped] = []
    found = list(read_recordings(source, on_skip=skipped.append, **options))  # type: ignore[arg-type]
    return {r.id: r for r in found}, {s.id: s.reason for s in skipped}


def test_pairs_speakers_and_splits(tmp_path: Path) -> None:
    root = tmp_path / "Meine Daten 日本"
    for name in (
        "Zoë/a b.flac",
        "Zoë/c.wav",
        "train/Ann/x.wav",
        "val/Bob/y.ogg",
        "test/Cid/z.wav",
        "solo.mp3",
    ):
        sound(root / name)
        clip((root / name).with_suffix(".npz"))
    sound(root / "alone.wav")
    clip(root / "mute.npz")
    (root / ".hidden").mkdir()
    clip(root / ".hidden" / "a.npz")
    found, skipped = read(root)
    assert set(found) == {"Zoë/a b", "Zoë/c", "train/Ann/x", "val/Bob/y", "solo", "alone"}
    assert {r.id: r.speaker for r in found.values()} == {
        "Zoë/a b": "Zoë",
        "Zoë/c": "Zoë",
        "train/Ann/x": "Ann",
        "val/Bob/y": "Bob",
        "solo": root.name,
        "alone": root.name,
    }
    assert found["train/Ann/x"].split == "train" and found["val/Bob/y"].split == "validation"
    assert set(skipped) == {"mute", "test/Cid/z"} and "no sound" in skipped["mute"]
    assert [(r.id, r.split) for r in read_recordings(root, testing=True, on_skip=lambda _: None)] == [
        ("test/Cid/z", "test")
    ]
    assert found["alone"].motion is None
    taken = found["Zoë/c"]
    assert taken.motion is not None and len(taken.motion) == 50
    heard = taken.sound()
    assert heard.dtype == np.float32 and heard.shape == (32_000,)


def test_split_by_hash_is_stable_and_near_the_share() -> None:
    names = [f"clip {i}" for i in range(2000)]
    kept = [hashed_split(n, 0.1) == "validation" for n in names]
    assert 0.07 < np.mean(kept) < 0.13
    assert kept[:300] == [hashed_split(n, 0.1) == "validation" for n in names[:300]]
    assert hashed_split("Zoe\u0308", 0.5) == hashed_split(
        "Zo\u00eb", 0.5
    )  # as macOS and Linux write the same name


def test_split_by_speaker_keeps_speakers_whole(tmp_path: Path) -> None:
    for speaker in range(12):
        for k in range(2):
            sound(tmp_path / f"s{speaker}" / f"{k}.wav", 0.5)
            clip(tmp_path / f"s{speaker}" / f"{k}.npz", 12)
    found, _ = read(tmp_path, validation_share=0.4, split_by="speaker")
    splits = {(r.speaker, r.split) for r in found.values()}
    assert len(splits) == 12 and len({split for _, split in splits}) == 2


def test_other_frame_rates_are_resampled(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", 4.0, 44_100)
    clip(tmp_path / "a.npz", 240, 60.0)
    found, _ = read(tmp_path)
    motion = found["a"].motion
    assert motion is not None and motion.fps == 25 and len(motion) == 100
    assert abs(len(found["a"].sound()) - 64_000) < 5


def test_wrong_pairs_and_damage_are_told(tmp_path: Path) -> None:
    sound(tmp_path / "long.wav", 4.0)
    clip(tmp_path / "long.npz", 50)
    for name in ("twice.wav", "twice.flac"):
        sound(tmp_path / name)
    clip(tmp_path / "twice.npz")
    sound(tmp_path / "cut.wav")
    (tmp_path / "cut.npz").write_bytes(clip(tmp_path / "x.npz").read_bytes()[:300])
    (tmp_path / "x.npz").unlink()
    clip(tmp_path / "empty.npz")
    (tmp_path / "empty.wav").write_bytes(b"")
    sound(tmp_path / "nan.wav")
    bad = MotionClip(np.full((50, 50), np.nan, np.float32), np.zeros((50, 6), np.float32))
    bad.save(tmp_path / "nan.npz")
    sound(tmp_path / "good.wav")
    clip(tmp_path / "good.npz")
    found, skipped = read(tmp_path)
    assert set(found) == {"good"}
    assert "2.00 s but its sound 4.00 s" in skipped["long"] and "several" in skipped["twice"]
    assert "damaged" in skipped["cut"] and "0 bytes" in skipped["empty"] and "not finite" in skipped["nan"]
    with pytest.raises(DiffPoseTalkError):
        list(read_recordings(tmp_path))


def test_list_of_recordings(tmp_path: Path) -> None:
    sound(tmp_path / "audio" / "one.wav")
    clip(tmp_path / "motion" / "1.npz")
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "motion" / "smirk.npz",
        expression_params=rng.random((60, 50)),
        jaw_params=np.zeros((60, 3)),
    )
    lines = [
        "Audio;Motion;Speaker;Split;FPS",
        "audio/one.wav;motion/1.npz;Ann;val;",
        "audio/one.wav;motion/smirk.npz;Bob;train;30",
        "audio/none.wav;motion/1b.npz;Bob;;",
        ";motion/2.npz;;;",
        "audio/one.wav;;;;",
        "audio/one.wav;motion/1.npz;Ann;train;",
        "audio/one.wav;motion/3.npz;Ann;maybe;",
        "audio/one.wav;motion/4.npz;Ann;test;",
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    found, skipped = read(tmp_path)
    assert {(r.id, r.speaker, r.split) for r in found.values()} == {
        ("motion/1", "Ann", "validation"),
        ("motion/smirk", "Bob", "train"),
    }
    assert found["motion/smirk"].motion is not None and len(found["motion/smirk"].motion) == 50
    assert set(skipped) == {"motion/1b", "motion/2", "line 6", "motion/1", "motion/3", "motion/4"}
    (tmp_path / "manifest.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="audio and motion"):
        list(read_recordings(tmp_path))


def test_second_files_for_head_and_identity(tmp_path: Path) -> None:
    sound(tmp_path / "a b.wav")
    turned = np.tile(np.diag([1.0, -1.0, -1.0]), (50, 1, 1))
    exp = np.random.default_rng(0).random((50, 50))
    np.savez(tmp_path / "a b.npz", exp=exp, pose=np.zeros((50, 6)))
    np.save(tmp_path / "a b.head.npy", turned)
    np.savez(tmp_path / "a b.shape.npz", shape=np.ones(300))
    found, skipped = read(tmp_path)
    motion = found["a b"].motion
    assert not skipped and motion is not None and motion.shape is not None and motion.shape.sum() == 100
    assert np.abs(motion.pose[:, 0]) == pytest.approx(np.pi, abs=1e-5)


def test_live_link_takes(tmp_path: Path) -> None:
    times, columns = performance()
    folder = tmp_path / "Ann" / "Take 1"
    folder.mkdir(parents=True)
    for ending in ("_raw", "_cal"):
        write_table(folder / f"Slate_1{ending}.csv", times, columns)
    write_table(folder / "Slate_1_neutral.csv", times[:1], {k: v[:1] for k, v in columns.items()})
    sound(folder / "Slate_1.wav", 4.0, 48_000)
    found, skipped = read(tmp_path)
    assert set(found) == {"Ann/Take 1/Slate_1_cal"} and not skipped
    taken = found["Ann/Take 1/Slate_1_cal"]
    assert taken.speaker == "Ann" and taken.motion is not None and taken.motion.basis == "arkit"
    single, _ = read(folder / "Slate_1_cal.csv")
    assert len(single) == 1
    assert len(read_motion(folder / "Slate_1_cal.csv")) == 100


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing at"):
        list(read_recordings(tmp_path / "none"))
    with pytest.raises(DataError, match="no recordings"):
        list(read_recordings(tmp_path))
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(DataError, match="neither a folder"):
        list(read_recordings(tmp_path / "a.bin"))
