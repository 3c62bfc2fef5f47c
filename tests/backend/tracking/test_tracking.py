# SPDX-License-Identifier: GPL-3.0-or-later
"""From tracked faces to clean motion: bad frames, calibration, quality, several faces, cancelling; and real footage."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.face_tracks import made_up, without
from support.paths import BUNDLED_HEAD, GRID, TRACKER
from support.video_files import write_video

from diffposetalk.errors import Cancelled, VideoError
from diffposetalk.head.head_model import HeadModel, load_head
from diffposetalk.motion.arkit import APPLE_ORDER, INDEX
from diffposetalk.tracking import face_track
from diffposetalk.tracking.arkit_motion import good_frames, stretches
from diffposetalk.tracking.face_track import FaceTrack, track_face
from diffposetalk.tracking.landmarker import Face, find_tracker
from diffposetalk.tracking.lip_gap import LipGap
from diffposetalk.tracking.quality import assess
from diffposetalk.tracking.video import read_frames
from diffposetalk.train.tracked_motion import TrackedCorpus

NAMES = ("_neutral", *(n for n in APPLE_ORDER if n != "tongueOut"))


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head(BUNDLED_HEAD)


def test_motion_of_a_clean_track(head: HeadModel) -> None:
    track = made_up()
    (stretch,) = stretches(track, head)
    clip = stretch.clip
    assert stretch.start == 0 and clip.basis == "arkit" and len(clip) == 150
    times = np.arange(len(clip)) / 25
    gap = LipGap(head).of(clip.exp, clip.pose[:, 3])
    wanted = 0.012 * np.clip(np.sin(2 * np.pi * 1.5 * times), 0, 1)
    assert np.corrcoef(gap, wanted)[0, 1] > 0.99 and np.abs(gap - wanted).max() < 0.002
    closed = np.sin(2 * np.pi * 1.5 * times) < -0.5
    assert gap[closed].max() < 4e-4  # lips that were closed meet
    turned = Rotation.from_rotvec(clip.pose[:, :3]).as_euler("YXZ")
    assert np.corrcoef(turned[:, 0], np.sin(2 * np.pi * 0.2 * times))[0, 1] > 0.99
    assert np.ptp(turned[:, 0]) == pytest.approx(0.6, rel=0.05) and abs(turned[:, 1].mean()) < 0.02
    assert clip.exp[:, INDEX["browDownLeft"]].max() < 1e-6  # the bias is gone
    brow = clip.exp[:, INDEX["browInnerUp"]]
    assert brow.min() == pytest.approx(0, abs=0.03) and brow.max() == pytest.approx(1 / 3, abs=0.06)
    blinks = clip.exp[:, INDEX["eyeBlinkLeft"]]
    assert ((blinks[1:-1] > 0.6) & (blinks[1:-1] >= blinks[:-2]) & (blinks[1:-1] > blinks[2:])).sum() == 4
    assert np.median(blinks) < 0.05
    for name in ("eyeLookDownLeft", "eyeSquintLeft"):
        assert clip.exp[:, INDEX[name]].max() < 0.1  # a blink is no look down


def test_short_gaps_are_bridged_and_long_ones_split(head: HeadModel) -> None:
    track = made_up()
    (bridged,) = stretches(without(track, slice(60, 66)), head)
    assert len(bridged.clip) == 150 and np.isfinite(bridged.clip.exp).all()
    first, second = stretches(without(track, slice(60, 90)), head)
    assert first.start == 0 and len(first.clip) == 50 and second.start == pytest.approx(3.0)
    assert (
        abs(second.start * 25 - round(second.start * 25)) < 1e-9
    )  # on the frames that the sound is cut into
    whole = stretches(track, head)[0].clip
    frame = round(second.start * 25)
    inside = slice(10, 60)
    later = whole.pose[frame:][: len(second.clip)]
    assert np.abs(second.clip.pose[inside, 3] - later[inside, 3]).max() < 0.03


def test_bad_frames_are_dropped(head: HeadModel) -> None:
    track = made_up()
    jumped = track.rotations.copy()
    jumped[40] = [0, 1.0, 0]
    small = track.eye_distance.copy()
    small[80:83] = 10
    boxes = track.boxes.copy()
    boxes[120, 0] = -0.1
    bad = replace(track, rotations=jumped, eye_distance=small, boxes=boxes)
    assert np.flatnonzero(~good_frames(bad)).tolist() == [40, 80, 81, 82, 120]
    clip, clean = stretches(bad, head)[0].clip, stretches(track, head)[0].clip
    assert np.abs(clip.pose[:, :3] - clean.pose[:, :3]).max() < 0.02
    away = replace(track, rotations=np.tile([0, 1.2, 0], (len(track.times), 1)))
    with pytest.raises(VideoError, match="turned away"):
        stretches(away, head)


def test_quality_and_its_warnings() -> None:
    good = assess(made_up())
    assert good.warnings == () and good.face_share == good.used_share == 1 and good.gaps == ()
    assert good.face_size == pytest.approx(98, abs=3) and good.yaw == pytest.approx((-17, 17), abs=1)
    assert good.mouth_opening == pytest.approx(0.23, abs=0.03)
    assert json.loads(json.dumps(good.to_dict()))["frames"] == 180 and "100 %" in good.describe()
    track = made_up()
    lost = assess(without(track, slice(60, 120)))
    assert lost.face_share == pytest.approx(2 / 3) and lost.gaps == ((1.97, 4.0),)
    assert any("only 67 %" in w for w in lost.warnings)

    def warned(text: str, **changes: np.ndarray) -> bool:
        return any(text in w for w in assess(replace(track, **changes)).warnings)

    assert warned("small", eye_distance=track.eye_distance * 0.4)
    assert warned("hardly ever opens", lip_gap=track.lip_gap * 0.1)
    assert warned("turned away", rotations=np.tile([0, 0.8, 0], (180, 1)))
    assert warned("faces are in the picture", faces=np.full(180, 3))
    assert warned("still picture", lip_gap=np.full(180, 5.0), rotations=np.zeros((180, 3)))
    assert any("frames a second" in w for w in assess(replace(track, times=track.times * 3)).warnings)


class FakeTracker:
    """Two faces: a large one at the left, and a small one that moves from the right into the middle."""

    only: set[int] | None = None

    def __init__(self, model: Path, faces: int = 1, still: bool = False) -> None:
        self.limit, self.count, self.names = faces, 0, NAMES

    def __enter__(self) -> FakeTracker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def faces(self, image: np.ndarray, seconds: float = 0.0) -> list[Face]:
        self.count += 1
        if self.only is not None and self.count - 1 not in self.only:
            return []
        out = []
        for x, half, jaw in ((0.3, 0.15, 0.1), (0.8 - 0.1 * seconds, 0.08, 0.7)):
            marks = np.zeros((478, 3), np.float32)
            marks[:, 0] = np.linspace(x - half, x + half, 478)
            marks[:, 1] = np.linspace(0.4, 0.6, 478)
            shapes = np.zeros(52, np.float32)
            shapes[NAMES.index("jawOpen")] = jaw
            out.append(Face(marks, shapes, np.eye(4)))
        return out[::-1][-self.limit :] if self.limit == 1 else out[::-1]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    pytest.importorskip("av")
    monkeypatch.setattr(face_track, "FaceTracker", FakeTracker)
    monkeypatch.setattr(face_track, "find_tracker", lambda model: Path("model.task"))
    return write_video(tmp_path / "zwei Köpfe.mp4", np.arange(60) / 25)


def jaw_of(track: FaceTrack) -> np.ndarray:
    return track.blendshapes[:, NAMES.index("jawOpen")]


def test_largest_face_or_the_one_picked(fake: Path) -> None:
    track = track_face(fake)
    assert jaw_of(track) == pytest.approx(0.1) and track.faces.tolist() == [2] * 60
    assert jaw_of(track_face(fake, face=(0.8, 0.5))) == pytest.approx(0.7)


def test_progress_and_cancel(fake: Path) -> None:
    told: list[tuple[int, int]] = []
    track_face(fake, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (60, 60) and [done for done, _ in told] == list(range(1, 61))
    assert max(total for _, total in told) == 60
    with pytest.raises(Cancelled):
        track_face(
            fake, on_progress=lambda done, _: told.append((done, 0)), cancelled=lambda: told[-1] == (9, 0)
        )
    assert told[-1] == (9, 0)


def test_face_that_comes_late_or_never(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTracker, "only", set(range(30, 60)))
    track = track_face(fake)
    assert track.face_found.sum() == 30 and not track.face_found[:30].any()
    monkeypatch.setattr(FakeTracker, "only", set())
    with pytest.raises(VideoError, match="No face was found") as caught:
        track_face(fake)
    assert caught.value.kind == "video_no_face"


def test_tracker_model_is_named_never_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIFFPOSETALK_TRACKER", raising=False)
    with pytest.raises(VideoError, match="DIFFPOSETALK_TRACKER"):
        find_tracker()
    with pytest.raises(VideoError, match="no tracker model"):
        find_tracker(tmp_path / "none.task")
    (tmp_path / "bad.task").write_bytes(b"PK\x03\x04 not really")
    monkeypatch.setenv("DIFFPOSETALK_TRACKER", str(tmp_path / "bad.task"))
    with pytest.raises(VideoError, match="not a MediaPipe model"):
        find_tracker()
    import zipfile

    with zipfile.ZipFile(tmp_path / "hand.task", "w") as archive:
        archive.writestr("hand_landmarker.tflite", b"x")
    with pytest.raises(VideoError, match="not the face landmarker"):
        find_tracker(tmp_path / "hand.task")


@pytest.mark.parametrize("name", ["bbaf2n", "pbac1s"])
def test_real_footage_agrees_with_its_given_track(name: str, head: HeadModel) -> None:
    pytest.importorskip("mediapipe")
    track = track_face(GRID / "video" / f"{name}.mpg", TRACKER)
    with np.load(GRID / f"{name}.npz") as given:
        count = len(given["blendshapes"])
        assert len(track.times) == count and set(track.names) == set(NAMES)
        index = track.names.index("jawOpen")
        meta = json.loads((GRID / "meta.json").read_text())["blendshape_names"].index("jawOpen")
        assert np.corrcoef(track.blendshapes[:, index], given["blendshapes"][:, meta])[0, 1] > 0.99
        for axis in range(3):
            assert np.corrcoef(track.rotations[:, axis], given["head_rotvec"][:, axis])[0, 1] > 0.98
    (stretch,) = stretches(track, head)
    clip = stretch.clip
    reference = TrackedCorpus(GRID, head, [GRID / f"{name}.npz"]).motion(GRID / f"{name}.npz")
    gap = LipGap(head)
    opened, expected = gap.of(clip.exp, clip.pose[:, 3]), gap.of(reference[:, :50], reference[:, 53])
    assert np.corrcoef(clip.pose[:, 3], reference[:, 53])[0, 1] > 0.98
    assert np.corrcoef(opened, expected)[0, 1] > 0.99 and np.abs(opened - expected).max() < 0.001
    for axis in range(3):
        assert np.corrcoef(clip.pose[:, axis], reference[:, 50 + axis])[0, 1] > 0.95
    quality = assess(track)
    assert quality.warnings == () and quality.used_share == 1


def test_pictures_without_a_face(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    black = write_video(tmp_path / "schwarz ü.mp4", np.arange(3) / 25, width=320, height=240)
    with pytest.raises(VideoError, match=r"No face was found in “schwarz ü.mp4” \(3 frames\)"):
        track_face(black, TRACKER)
    damaged = tmp_path / "d.task"
    data = bytearray(TRACKER.read_bytes())
    data[200_000:260_000] = bytes(60_000)
    damaged.write_bytes(data)
    with pytest.raises(VideoError):
        track_face(black, damaged)


def _grid_frames(name: str) -> list[np.ndarray]:
    return [frame.image for frame in read_frames(GRID / "video" / f"{name}.mpg")]


def _write(path: Path, images: list[np.ndarray], times: np.ndarray, rotation: int = 0) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12", "preset": "veryfast"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _given_jaw(name: str) -> np.ndarray:
    index = json.loads((GRID / "meta.json").read_text())["blendshape_names"].index("jawOpen")
    with np.load(GRID / f"{name}.npz") as given:
        return given["blendshapes"][:, index]


def test_turned_and_uneven_footage(tmp_path: Path) -> None:
    """The same face on its side, as a phone films it, with every third frame missing."""
    pytest.importorskip("mediapipe")
    images = _grid_frames("pbac1s")
    keep = np.arange(75) % 3 != 1
    turned = [np.rot90(image, -1) for image, kept in zip(images, keep, strict=True) if kept]
    path = _write(tmp_path / "phone.mp4", turned, np.arange(75)[keep] / 25, rotation=90)
    track = track_face(path, TRACKER)
    assert track.face_found.all() and (track.video.width, track.video.height) == (360, 288)
    assert track.times == pytest.approx(np.arange(75)[keep] / 25, abs=2e-3)
    jaw = track.blendshapes[:, track.names.index("jawOpen")]
    assert np.corrcoef(jaw, _given_jaw("pbac1s")[keep])[0, 1] > 0.97
    (stretch,) = stretches(track, load_head(BUNDLED_HEAD))
    assert len(stretch.clip) == 75


def test_two_people_in_one_picture(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    left, right = _grid_frames("bbaf2n"), _grid_frames("pbac1s")
    both = [np.hstack([a[:, 40:260], b[:, 40:260]]) for a, b in zip(left, right, strict=True)]
    path = _write(tmp_path / "zwei.mp4", both, np.arange(75) / 25)
    for name, at in (("bbaf2n", (0.25, 0.5)), ("pbac1s", (0.75, 0.5))):
        track = track_face(path, TRACKER, face=at)
        assert track.face_found.mean() > 0.95 and track.faces.max() == 2
        jaw = track.blendshapes[track.face_found, track.names.index("jawOpen")]
        assert np.corrcoef(jaw, _given_jaw(name)[track.face_found])[0, 1] > 0.9
        assert any("faces" in warning for warning in assess(track).warnings)
