# SPDX-License-Identifier: GPL-3.0-or-later
"""Videos as recordings: tracked once, cut where the face is lost, sound and motion together; nothing half-kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from support.face_tracks import made_up, without
from support.made_recordings import clip
from support.video_files import write_video

from diffposetalk.errors import Cancelled, OutputError, VideoError
from diffposetalk.tracking.face_track import FaceTrack
from diffposetalk.train import video_recordings
from diffposetalk.train.recording import Recording, Skipped
from diffposetalk.train.video_recordings import TrackedVideo, read_videos, videos_in

TRACK = without(made_up(), slice(60, 90))  # stretches from 0 and from 3 s on


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def track(path: Path, model: Any, **options: Any) -> FaceTrack:
        names.append(path.name)
        if path.name.startswith("nobody"):
            raise VideoError(f"No face was found in “{path.name}”.", "video_no_face")
        if path.name.startswith("stop"):
            raise Cancelled()
        return TRACK

    monkeypatch.setattr(video_recordings, "track_face", track)
    return names


def video(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its loudness rises by the second, so that what is heard tells when.
    steps = np.repeat(np.arange(1, 7), 44_100) / 20
    tone = np.sin(2 * np.pi * (400 + 50 * seed) * np.arange(len(steps)) / 44_100)
    return write_video(path, np.arange(150) / 25, sound=(steps * tone)[:, None])


def read(source: Path, folder: Path) -> tuple[dict[str, Recording], dict[str, str], list[TrackedVideo]]:
    skipped: list[Skipped] = []
    tracked: list[TrackedVideo] = []
    found = list(
        read_videos(
            source,
            folder,
            split_of=lambda name, speaker: "train",
            on_skip=skipped.append,
            on_tracked=lambda name, how: tracked.append(how),
        )
    )
    return {r.id: r for r in found}, {s.id: s.reason for s in skipped}, tracked


def test_stretches_with_their_sound(tmp_path: Path, calls: list[str]) -> None:
    root = tmp_path / "Vidéos"
    video(root / "Ann" / "talk 1.mov")
    (root / "Ann" / "again.mov").write_bytes((root / "Ann" / "talk 1.mov").read_bytes())
    video(root / "val" / "Bob" / "x.mov", 1)
    video(root / "test" / "Cid" / "y.mov", 2)
    video(root / "nobody.mov", 3)
    write_video(root / "mute.mov", np.arange(10) / 25)
    (root / "broken.mp4").write_bytes(b"junk")
    video(root / "paired.mov", 4)
    clip(root / "paired.npz")
    found, skipped, tracked = read(root, tmp_path / "kept")
    assert set(found) == {f"{name}#{k}" for name in ("Ann/again", "val/Bob/x") for k in (0, 1)}
    assert {(r.speaker, r.split) for r in found.values()} == {("Ann", "train"), ("Bob", "validation")}
    assert set(skipped) == {"Ann/talk 1", "test/Cid/y", "nobody", "mute", "broken"}
    assert "same video as Ann/again" in skipped["Ann/talk 1"] and "no sound" in skipped["mute"]
    assert [t.starts for t in tracked] == [(0.0, 3.0)] * 2 and tracked[0].quality["faces"] == 1
    late = found["Ann/again#1"]
    assert late.motion is not None and late.motion.provenance["source"] == "video"
    heard = late.sound()
    assert len(heard) == len(late.motion) * 640
    loudness = [np.abs(heard[k * 16_000 : (k + 1) * 16_000]).max() * 20 for k in range(2)]
    assert loudness == pytest.approx([4, 5], abs=0.2)  # its fourth and fifth second


def test_tracked_once(tmp_path: Path, calls: list[str]) -> None:
    root, kept = tmp_path / "v", tmp_path / "kept"
    path = video(root / "a.mov")
    first, _, _ = read(root, kept)
    path.rename(root / "b.mov")
    second, _, tracked = read(root, kept)
    assert calls == ["a.mov"] and len(first) == len(second) == 2 and tracked[0].quality["frames"] == 180
    a, b = first["a#0"].motion, second["b#0"].motion
    assert a is not None and b is not None and np.array_equal(a.exp, b.exp)
    (folder,) = kept.iterdir()
    (folder / "001.npz").unlink()
    read(root, kept)
    assert calls == ["a.mov", "b.mov"]
    (folder / "track.json").write_text("{")
    assert len(read(root / "b.mov", kept)[0]) == 2 and len(calls) == 3


def test_nothing_is_half_kept(tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    video(tmp_path / "v" / "stop.mov")
    with pytest.raises(Cancelled):
        read(tmp_path / "v", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    path = video(tmp_path / "w" / "a.mov", 5)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(video_recordings.soundfile, "write", full)
        with pytest.raises(OutputError, match="No space left"):
            list(read_videos(path, tmp_path / "kept", split_of=lambda *_: "train"))
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_missing_tracker_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIFFPOSETALK_TRACKER", raising=False)
    video(tmp_path / "v" / "a.mov")
    with pytest.raises(VideoError, match="DIFFPOSETALK_TRACKER"):
        read(tmp_path / "v", tmp_path / "kept")


def test_which_files_are_videos(tmp_path: Path) -> None:
    for name in ("a.mp4", "B.MOV", "c.txt", "take_1.mov", "take_1_cal.csv", "pair.mkv", "pair.npz"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "d.mp4").write_bytes(b"x")
    assert [p.name for p in videos_in(tmp_path)] == ["B.MOV", "a.mp4"]
    assert videos_in(tmp_path / "c.txt") == []
