# SPDX-License-Identifier: GPL-3.0-or-later
"""A video as one performance: joined stretches, snapshots, contact sheets, whose face it is, the tracker's file."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffposetalk.checkpoint import load_model
from diffposetalk.errors import Cancelled, VideoError
from diffposetalk.evaluate.render import render_frames
from diffposetalk.head_model import load_head
from diffposetalk.motion import MotionClip
from diffposetalk.png import png_bytes
from diffposetalk.styles import read_style
from diffposetalk.tracking import face_choice, tracker_file
from diffposetalk.tracking.arkit_motion import Stretch
from diffposetalk.tracking.contact_sheet import contact_sheet
from diffposetalk.tracking.face_choice import find_faces
from diffposetalk.tracking.face_map import FEATURES, RestFace, face_shape, mapped_expression
from diffposetalk.tracking.landmarker import LANDMARKS, Face, find_tracker, kept_tracker
from diffposetalk.tracking.performance import joined, track_performance
from diffposetalk.tracking.snapshots import Snapshots
from diffposetalk.tracking.tracker_file import fetch_tracker, tracking_status
from diffposetalk.tracking.video import Frame
from diffposetalk.train.arkit import both

from .conftest import BUNDLED_HEAD
from .style_clips import talking
from .video_files import write_video

SHARED = Path(__file__).resolve().parents[3] / "shared"
TRACKER = SHARED / "models" / "face_landmarker.task"
GRID = SHARED / "data" / "grid_s1" / "video"


def face(x: float = 0.5, y: float = 0.5, width: float = 0.3) -> Face:
    rng = np.random.default_rng(0)
    marks = np.zeros((LANDMARKS, 3), np.float32)
    marks[:, :2] = rng.uniform(-0.5, 0.5, (LANDMARKS, 2)) * width + [x, y]
    marks[0, :2], marks[1, :2] = [x - width / 2, y - width / 2], [x + width / 2, y + width / 2]
    return Face(marks, np.zeros(52, np.float32), np.eye(4))


def test_stretches_are_joined_and_what_lies_between_is_said() -> None:
    first, second = talking(2), talking(3)
    first.pose[-1, 1], second.pose[0, 1] = 0.2, 0.4
    clip = joined([Stretch(1.0, first), Stretch(4.0, second)])
    assert len(clip) == 175 and clip.provenance["unseen"] == [[0.0, 1.0], [3.0, 4.0]]
    np.testing.assert_array_equal(clip.exp[25:75], first.exp)
    np.testing.assert_array_equal(clip.exp[100:], second.exp)
    between = clip.pose[75:100, 1]
    assert (np.diff(between) > 0).all() and between.min() > 0.2 and between.max() < 0.4
    assert (clip.exp[:25] == first.exp[0]).all()


def test_few_snapshots_are_kept_however_long_it_is() -> None:
    snapshots = Snapshots(count=6)
    image = np.zeros((48, 64, 3), np.uint8)
    for k in range(5000):
        snapshots(Frame(k / 25, image), None if 1000 <= k < 1500 else face())
        assert len(snapshots._kept) <= 13
    times = [s.time for s in snapshots.spread()]
    assert len(times) == 6 and times[0] < 30 and times[-1] > 160
    assert np.diff(times).min() > 15
    assert all(100 <= s.time <= 120 for s in snapshots.spread(((100.0, 120.0),)))


def test_snapshots_show_the_face_and_grey_beyond_the_frame() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 90:110] = 255
    shot = Snapshots()
    shot(Frame(0.0, image), face(0.5, 0.5, 0.2))
    [kept] = shot.spread()
    middle = kept.image.shape[0] // 2
    assert (kept.image[middle, middle] > 250).all()
    np.testing.assert_allclose(kept.landmarks.mean(axis=0), middle, atol=6)
    edge = Snapshots()
    edge(Frame(0.0, image), face(0.02, 0.5, 0.2))
    assert (edge.spread()[0].image[middle, 0] == 40).all()


def test_contact_sheets_pair_frames_with_the_head() -> None:
    snapshots = Snapshots(count=3)
    for k in range(3):
        snapshots(Frame(float(k), np.full((90, 120, 3), 60, np.uint8)), face())
    sheet = contact_sheet(talking(3), snapshots.spread(), load_head(BUNDLED_HEAD))
    assert sheet.shape[0] == 2 * 224 + 4 and sheet.dtype == np.uint8
    colours = {tuple(c) for c in sheet[:224].reshape(-1, 3)}
    assert (255, 70, 90) in colours and (80, 220, 255) in colours  # lips and eyes
    assert sheet[228:].std() > 30


def test_people_are_told_apart_by_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    seen = [
        (Frame(0.0, image), [face(0.2, 0.5, 0.1), face(0.8, 0.5, 0.2)]),
        (Frame(1.0, image), [face(0.22, 0.5, 0.12)]),
        (Frame(2.0, image), [face(0.79, 0.52, 0.2), face(0.21, 0.5, 0.1)]),
        (Frame(3.0, image), []),
    ]
    monkeypatch.setattr(face_choice, "look", lambda *_: iter(seen))
    large, small = find_faces("video.mp4")
    assert large.x == pytest.approx(0.8) and large.seen == 0.5
    assert small.x == pytest.approx(0.22) and small.seen == 0.75  # where it is largest


def test_pictures_are_written_as_they_are() -> None:
    pillow = pytest.importorskip("PIL.Image")
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(pillow.open(io.BytesIO(png_bytes(image)))), image)
    for wrong in (image[:0], image[..., :2], image.astype(float)):
        with pytest.raises(ValueError):
            png_bytes(wrong)


# The tracker's file -------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFFPOSETALK_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("DIFFPOSETALK_TRACKER", raising=False)
    return tmp_path / "data"


def no_network(url: str) -> io.BytesIO:
    raise AssertionError("nothing may be fetched")


def test_nothing_is_fetched_without_permission(data: Path) -> None:
    with pytest.raises(VideoError) as caught:
        fetch_tracker(False, opener=no_network)
    assert caught.value.kind == "tracker_offline" and not data.exists()


def test_what_is_fetched_is_checked_and_fetched_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"model" * 100_000
    monkeypatch.setattr(tracker_file, "SHA256", hashlib.sha256(content).hexdigest())
    told: list[int] = []
    asked: list[str] = []

    def opener(url: str) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(content)

    path = fetch_tracker(True, on_progress=told.append, opener=opener)
    assert path == kept_tracker() == data / "face_landmarker.task" and path.read_bytes() == content
    assert told[-1] == len(content) and told == sorted(told) and asked[0].startswith("https://")
    assert fetch_tracker(False, opener=no_network) == path


@pytest.mark.parametrize("content", [b"", b"another file", b"x" * 5_000_000])
def test_another_file_is_not_kept(data: Path, content: bytes) -> None:
    with pytest.raises(VideoError) as caught:
        fetch_tracker(True, opener=lambda _: io.BytesIO(content))
    assert caught.value.kind == "tracker_checksum" and list(data.iterdir()) == []


def test_a_broken_connection_and_a_cancel_leave_nothing(data: Path) -> None:
    def broken(url: str) -> io.BytesIO:
        raise OSError("no route to host")

    with pytest.raises(VideoError) as caught:
        fetch_tracker(True, opener=broken)
    assert caught.value.kind == "tracker_fetch" and "no route" in caught.value.message
    with pytest.raises(Cancelled):
        fetch_tracker(True, cancelled=lambda: True, opener=lambda _: io.BytesIO(b"x"))
    assert list(data.iterdir()) == []


def test_whether_video_can_be_tracked_is_told(data: Path, tmp_path: Path) -> None:
    told = tracking_status()
    assert told["tracker"] is None and "fetch" in told["problem"] and told["bytes"] > 1e6
    (tmp_path / "wrong.task").write_bytes(b"no model")
    assert "not a MediaPipe model" in tracking_status(tmp_path / "wrong.task")["problem"]
    if TRACKER.is_file():
        assert tracking_status(TRACKER)["tracker"] == str(TRACKER)
        data.mkdir()
        kept_tracker().write_bytes(TRACKER.read_bytes())
        assert find_tracker() == kept_tracker()


# Real footage -------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.skipif(not TRACKER.is_file(), reason="needs the shared tracker and videos")
def test_a_real_performance_becomes_a_style(tiny_model: Path) -> None:
    told: list[tuple[int, int]] = []
    tracked = track_performance(GRID / "bbaf2n.mpg", TRACKER, on_progress=lambda *p: told.append(p))
    assert 70 <= len(tracked.clip) <= 75 and tracked.clip.provenance["unseen"] == []
    assert len(tracked.snapshots) == 8 and told[-1][0] == told[-1][1]
    moved = tracked.clip.translation
    assert moved is not None and moved.shape == (len(tracked.clip), 3) and np.abs(moved).max() < 0.05
    assert "short" in read_style(load_model(tiny_model, "cpu"), tracked.clip).notes[0]
    with pytest.raises(Cancelled):
        track_performance(GRID / "bbaf2n.mpg", TRACKER, cancelled=lambda: len(told) > 3)


@pytest.mark.shared
@pytest.mark.skipif(not TRACKER.is_file(), reason="needs the shared tracker")
@pytest.mark.parametrize(
    ("frames", "kind"), [(60, "video_no_face"), (3, "video_no_face")], ids=["a red square", "three frames"]
)
def test_videos_without_a_face(tmp_path: Path, frames: int, kind: str) -> None:
    video = write_video(tmp_path / "v.mp4", [k / 25 for k in range(frames)], width=320, height=240)
    with pytest.raises(VideoError) as caught:
        track_performance(video, TRACKER)
    assert caught.value.kind == kind
    assert find_faces(video, TRACKER) == []


def test_a_clip_of_no_frames_has_no_place() -> None:
    clip = MotionClip(np.zeros((1, 50), np.float32), np.zeros((1, 6), np.float32))
    assert joined([Stretch(0.0, clip)]).provenance["unseen"] == []


# The resting face ---------------------------------------------------------------------------------


def test_shapes_of_a_face_do_not_depend_on_where_it_is_and_how_it_is_turned() -> None:
    rng = np.random.default_rng(3)
    points = rng.standard_normal((LANDMARKS, 3)) * 20
    turned = Rotation.from_euler("YX", [0.4, -0.2]).as_matrix()

    def seen(rotation: np.ndarray, scale: float, width: int, height: int) -> np.ndarray:
        pixels = (points @ rotation.T * scale + [90, -120, 0]) * [1, -1, -1]
        matrix = np.eye(4)
        matrix[:3, :3] = rotation * 1.3
        marks = (pixels / [width, height, width]).astype(np.float32)
        return face_shape(Face(marks, np.zeros(52, np.float32), matrix), width, height)

    plain = seen(np.eye(3), 1.0, 640, 480)
    assert plain.shape == (FEATURES,)
    np.testing.assert_allclose(seen(turned, 2.5, 320, 700), plain, atol=1e-3)


def test_a_face_at_rest_is_mapped_to_no_expression() -> None:
    rng = np.random.default_rng(0)
    rest = RestFace(rng.random(52), rng.standard_normal(FEATURES))
    still = mapped_expression(np.tile(rest.blendshapes, (3, 1)), np.tile(rest.shape, (3, 1)), rest)
    assert still.shape == (3, 50) and not still.any()
    scores = np.tile(rest.blendshapes, (3, 1))
    moved = mapped_expression(scores, np.tile(rest.shape, (3, 1)) + 0.05, rest)
    assert moved.min() >= 0 and moved.max() <= 1


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.skipif(not TRACKER.is_file(), reason="needs the shared tracker")
def test_a_held_smile_is_kept_by_a_picture_at_rest(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    head = load_head(BUNDLED_HEAD)
    smile = talking(1.2, head=0.02, blink_every=9, brows=0)
    smile.exp[:, both("mouthSmile")] = 0.5
    rest = MotionClip(np.zeros((1, 50), np.float32), np.zeros((1, 6), np.float32))
    found = {}
    for name, clip in (("smile", smile), ("rest", rest)):
        pictures = render_frames(head, clip.exp, clip.pose, range(0, len(clip)), 256, view_yaw=0.0)
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 204, 256, "yuv420p"
            stream.bit_rate = 4_000_000
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:, :204]), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    for neutral in (None, tmp_path / "rest.mp4"):
        clip = track_performance(tmp_path / "smile.mp4", TRACKER, neutral=neutral, head=head).clip
        found[neutral is None] = float(clip.exp[:, both("mouthSmile")].mean())
    assert found[True] < 0.15 < 0.3 < found[False]
