# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading video: varying rates, rotation, pixel shapes, sound beside it, and files that are damaged or none."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from support.made_recordings import clip
from support.video_files import write_video

from diffposetalk.errors import AudioError, VideoError
from diffposetalk.tracking import landmarker, tracker_file
from diffposetalk.tracking.landmarker import FaceTracker
from diffposetalk.tracking.tracker_file import tracking_status
from diffposetalk.tracking.video import frame_near, probe_video, read_frames, read_sound
from diffposetalk.train.recordings import read_recordings


def corners(image: np.ndarray) -> list[bool]:
    """Whether each corner (top left, top right, bottom left, bottom right) is red."""
    height, width = image.shape[:2]
    return [
        bool(image[y, x, 0] > 128)
        for y in (height // 8, height - height // 8)
        for x in (width // 8, width - width // 8)
    ]


def test_frames_and_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "größe 日本.mp4", np.arange(30) / 25)
    info = probe_video(path)
    assert (info.width, info.height, info.rotation, info.has_sound) == (64, 48, 0, False)
    assert info.seconds == pytest.approx(1.2, abs=0.05) and info.fps == pytest.approx(25, rel=0.05)
    frames = list(read_frames(path))
    assert [f.time for f in frames] == pytest.approx(list(np.arange(30) / 25), abs=2e-3)
    assert all(f.image.shape == (48, 64, 3) and f.image.flags["C_CONTIGUOUS"] for f in frames)
    assert int(frames[20].image[24, 48, 2]) == pytest.approx(100, abs=12)
    assert corners(frames[0].image) == [True, False, False, False]


def test_varying_rate_keeps_its_times(tmp_path: Path) -> None:
    times = np.cumsum([0, *([0.04] * 10), 0.5, *([0.1] * 5), *([0.04] * 5)])
    frames = list(read_frames(write_video(tmp_path / "v.mp4", times)))
    assert [f.time for f in frames] == pytest.approx(times.tolist(), abs=2e-3)


@pytest.mark.parametrize(("rate", "kept"), [(60, 30), (50, 25), (120, 30), (30, 30), (24, 24)])
def test_fast_video_is_thinned(tmp_path: Path, rate: int, kept: int) -> None:
    frames = list(read_frames(write_video(tmp_path / "v.mp4", np.arange(2 * rate) / rate)))
    assert len(frames) == pytest.approx(2 * kept, abs=3)
    assert np.diff([f.time for f in frames]).max() <= 1 / 24 + 3e-3


@pytest.mark.parametrize(
    ("rotation", "red"), [(90, 2), (-90, 1), (180, 3)]
)  # counter-clockwise: the top left goes to the bottom left
def test_rotation_noted_by_phones(tmp_path: Path, rotation: int, red: int) -> None:
    path = write_video(tmp_path / "v.mp4", np.arange(5) / 25, rotation=rotation)
    info = probe_video(path)
    frame = next(read_frames(path)).image
    expected = (64, 48) if rotation == 180 else (48, 64)
    assert (info.width, info.height) == expected and frame.shape == (expected[1], expected[0], 3)
    assert corners(frame) == [k == red for k in range(4)]


def test_oblong_pixels_and_large_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", np.arange(5) / 25, aspect=Fraction(16, 11))
    assert probe_video(path).width == 93 and next(read_frames(path)).image.shape == (48, 93, 3)
    large = write_video(tmp_path / "l.mp4", np.arange(3) / 25, width=640, height=480)
    assert next(read_frames(large, max_side=320)).image.shape == (240, 320, 3)


def test_frame_near(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", np.arange(100) / 25)
    for wanted in (0.0, 1.0, 3.9):
        exact, near = frame_near(path, wanted + 0.01, exact=True), frame_near(path, wanted + 0.01)
        assert exact is not None and exact.time == pytest.approx(wanted, abs=0.041)
        assert int(exact.image[24, 48, 2]) == pytest.approx(min(250, 125 * wanted), abs=20)
        assert near is not None and near.time <= exact.time
    last = frame_near(path, 100.0, exact=True)
    assert last is not None and last.time == pytest.approx(3.96, abs=0.05)


def test_sound_beside_the_pictures(tmp_path: Path) -> None:
    t = np.arange(2 * 44_100) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * 440 * t)
    path = write_video(tmp_path / "v.mov", np.arange(50) / 25, sound=np.stack([tone, 0 * tone], 1))
    assert probe_video(path).has_sound
    sound = read_sound(path)
    assert sound.dtype == np.float32 and len(sound) == pytest.approx(32_000, abs=40)
    spectrum = np.abs(np.fft.rfft(sound[8000:24_000]))
    assert np.argmax(spectrum) == 440 and np.abs(sound).max() == pytest.approx(0.25, abs=0.01)


def test_pictures_that_start_late(tmp_path: Path) -> None:
    sound = np.zeros((2 * 44_100, 1))
    sound[44_100:] = 0.5
    path = write_video(tmp_path / "v.mov", 0.4 + np.arange(40) / 25, sound=sound)
    heard = read_sound(path)
    assert next(iter(read_frames(path))).time == 0.0
    step = int(np.argmax(np.abs(heard) > 0.25)) / 16_000
    assert step == pytest.approx(0.6, abs=0.01)  # a second into the sound, 0.6 s after the first picture


def test_video_gives_the_sound_of_a_pair(tmp_path: Path) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal((2 * 44_100, 1))
    write_video(tmp_path / "take 1.mov", np.arange(50) / 25, sound=sound)
    clip(tmp_path / "take 1.npz", 50)
    (recording,) = read_recordings(tmp_path)
    assert len(recording.sound()) == pytest.approx(32_000, abs=40)
    write_video(tmp_path / "take 1.mov", np.arange(50) / 25)
    with pytest.raises(AudioError, match="no sound"):
        list(read_recordings(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no video" * 100, bytes(range(256)) * 40])
def test_files_that_are_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a b.mp4"
    path.write_bytes(content)
    for use in (probe_video, read_sound, lambda p: list(read_frames(p))):
        with pytest.raises(VideoError, match=r"a b\.mp4"):
            use(path)
    with pytest.raises(VideoError, match="no video at"):
        probe_video(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="not a file"):
        probe_video(tmp_path)


def test_sound_only_and_no_sound(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "s.wav", np.zeros(16_000), 16_000)
    with pytest.raises(VideoError, match="no pictures"):
        probe_video(tmp_path / "s.wav")
    with pytest.raises(AudioError, match="no sound"):
        read_sound(write_video(tmp_path / "v.mp4", np.arange(5) / 25))


def test_cut_off_and_damaged(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "w.mkv", np.arange(100) / 25, width=320, height=240).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 2])
    assert 0 < len(list(read_frames(cut))) < 100
    index = write_video(tmp_path / "w.mp4", np.arange(100) / 25).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(index[: len(index) // 2])  # its index is at the end
    with pytest.raises(VideoError, match="not a video"):
        probe_video(tmp_path / "cut.mp4")
    rng = np.random.default_rng(0)
    for k in range(10):
        bad = bytearray(whole)
        for at in rng.integers(500, len(whole), 20):
            bad[at : at + 50] = rng.bytes(50)
        (tmp_path / f"bad{k}.mkv").write_bytes(bad)
        try:
            frames = list(read_frames(tmp_path / f"bad{k}.mkv"))
        except VideoError:
            continue
        assert all(np.diff([f.time for f in frames]) > 0)


def test_without_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "v.mp4", np.arange(3) / 25)
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(VideoError, match=r'pip install "diffposetalk\[tracking\]"'):
        probe_video(path)
    with pytest.raises(VideoError, match=r'pip install "diffposetalk\[tracking\]"'):
        FaceTracker(tmp_path / "face_landmarker.task")


def write_mediapipe(folder: Path, code: str) -> None:
    (folder / "mediapipe").mkdir()
    (folder / "mediapipe" / "__init__.py").write_text(code, encoding="utf-8")


@pytest.fixture
def other_mediapipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A MediaPipe that notes that it is loaded, and cannot be; returns the file that it writes."""
    loaded = tmp_path / "loaded.txt"
    code = f"open({str(loaded)!r}, 'a').write('x')\nraise OSError('libsomething.so.1: cannot open shared object file')"
    write_mediapipe(tmp_path, code)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(landmarker, "_load_failure", None)
    return loaded


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MediaPipe brings its libraries")
def test_a_missing_library_is_found_before_mediapipe_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_mediapipe: Path
) -> None:
    def lacking(name: str) -> None:
        if name == "libGLESv2.so.2":
            raise OSError(name)

    monkeypatch.setattr(landmarker.ctypes, "CDLL", lacking)
    with pytest.raises(VideoError, match=r"lacks libGLESv2\.so\.2\..*apt install libgles2\.") as caught:
        FaceTracker(tmp_path / "face_landmarker.task")
    assert caught.value.kind == "tracker_extra" and not other_mediapipe.exists()
    monkeypatch.setattr(tracker_file, "find_tracker", lambda path: tmp_path)
    assert "libgles2" in tracking_status()["problem"]


def test_what_could_not_be_loaded_is_not_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_mediapipe: Path
) -> None:
    """The second try ends the process."""
    monkeypatch.setattr(landmarker, "SYSTEM_LIBRARIES", {})
    for _ in range(3):
        with pytest.raises(VideoError, match="libsomething"):
            FaceTracker(tmp_path / "face_landmarker.task")
    assert other_mediapipe.read_text() == "x"
