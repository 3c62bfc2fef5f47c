# SPDX-License-Identifier: GPL-3.0-or-later
"""A video as one performance: joined stretches, snapshots, contact sheets, whose face it is, the tracker's file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.paths import BUNDLED_HEAD, GRID, TRACKER
from support.style_clips import talking
from support.video_files import write_video

from diffposetalk.errors import Cancelled, VideoError
from diffposetalk.files.png import png_bytes
from diffposetalk.head.head_model import load_head
from diffposetalk.head.render import render_frames
from diffposetalk.motion.arkit import INDEX, both
from diffposetalk.motion.clip import MotionClip
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.styles import read_style
from diffposetalk.tracking import face_choice, tracker_file
from diffposetalk.tracking.arkit_motion import Stretch
from diffposetalk.tracking.contact_sheet import contact_sheet
from diffposetalk.tracking.face_choice import find_faces
from diffposetalk.tracking.face_map import FEATURES, RestFace, face_shape, mapped_expression, running_mean
from diffposetalk.tracking.landmarker import LANDMARKS, Face, find_tracker, kept_tracker
from diffposetalk.tracking.performance import joined, track_performance
from diffposetalk.tracking.quality import FEW_SHADES, shades
from diffposetalk.tracking.snapshots import Snapshot, Snapshots
from diffposetalk.tracking.tracker_file import fetch_tracker, tracking_status
from diffposetalk.tracking.video import Frame


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
    assert tracking_status(TRACKER)["tracker"] == str(TRACKER)
    data.mkdir()
    kept_tracker().write_bytes(TRACKER.read_bytes())
    assert find_tracker() == kept_tracker()


# Real footage -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_performance_becomes_a_style(tiny_model: Path) -> None:
    told: list[tuple[int, int]] = []
    tracked = track_performance(GRID / "video" / "bbaf2n.mpg", TRACKER, on_progress=lambda *p: told.append(p))
    assert 70 <= len(tracked.clip) <= 75 and tracked.clip.provenance["unseen"] == []
    assert len(tracked.snapshots) == 8 and told[-1][0] == told[-1][1]
    moved = tracked.clip.translation
    assert moved is not None and moved.shape == (len(tracked.clip), 3) and np.abs(moved).max() < 0.05
    assert "short" in read_style(load_model(tiny_model, "cpu"), tracked.clip).notes[0]
    with pytest.raises(Cancelled):
        track_performance(GRID / "video" / "bbaf2n.mpg", TRACKER, cancelled=lambda: len(told) > 3)


@pytest.mark.parametrize(
    ("frames", "kind"), [(60, "video_no_face"), (3, "video_no_face")], ids=["a red square", "three frames"]
)
def test_videos_without_a_face(tmp_path: Path, frames: int, kind: str) -> None:
    video = write_video(tmp_path / "v.mp4", [k / 25 for k in range(frames)], width=320, height=240)
    with pytest.raises(VideoError) as caught:
        track_performance(video, TRACKER)
    assert caught.value.kind == kind
    assert find_faces(video, TRACKER) == []


def test_drawings_are_said_to_be_drawings(tmp_path: Path) -> None:
    """The tracker takes a smiley for a face: what was made of it is kept, and the user is told."""
    cartoon = video_of(tmp_path / "cartoon.mp4", [cartoon_face(0.5 + 0.5 * np.sin(k)) for k in range(30)])
    warnings = track_performance(cartoon, TRACKER).quality.warnings
    assert any("looks like a drawing" in warning for warning in warnings)
    head, rest = load_head(BUNDLED_HEAD), (np.zeros((1, 50), np.float32), np.zeros((1, 6), np.float32))
    [picture] = render_frames(head, *rest, [0], 256, view_yaw=0.0)
    poster = (picture[:, :204] // 64 * 64).astype(np.uint8)
    warnings = track_performance(video_of(tmp_path / "poster.mp4", [poster] * 30), TRACKER).quality.warnings
    for part in ("looks like a drawing", "looks like a still picture", "mouth hardly ever opens"):
        assert any(part in warning for warning in warnings), part


def test_shades_tell_footage_from_drawings() -> None:
    marks = np.array([[20.0, 20], [200, 200]])
    drawing = cartoon_face(0.5, 224)
    smooth = np.linspace(40, 200, 224).astype(np.uint8)[:, None, None].repeat(224, 1).repeat(3, 2)
    assert shades(Snapshot(0, np.full((224, 224, 3), 9, np.uint8), marks)) == 0
    assert shades(Snapshot(0, drawing, marks)) < 3 < FEW_SHADES < 5 < shades(Snapshot(0, smooth, marks))


def cartoon_face(opening: float, size: int = 256) -> np.ndarray:
    """A yellow disc with two dots for eyes and an ellipse for a mouth, (size, size, 3) uint8."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = np.full((size, size, 3), 255, np.uint8)
    image[x**2 + y**2 < 0.8] = (255, 220, 40)
    for side in (-0.3, 0.3):
        image[(x - side) ** 2 + (y + 0.25) ** 2 < 0.01] = 0
    image[(x / 0.4) ** 2 + ((y - 0.35) / (0.03 + 0.15 * opening)) ** 2 < 1] = (120, 0, 0)
    return image


def video_of(path: Path, pictures: Sequence[np.ndarray]) -> Path:
    """Pictures of even sides as a video, 25 a second."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


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
    scores, shapes, lids_open = (
        np.tile(rest.blendshapes, (9, 1)),
        np.tile(rest.shape, (9, 1)),
        np.ones(9, bool),
    )
    still = mapped_expression(scores, shapes, rest, lids_open)
    assert still.shape == (9, 50) and still.max() < 1e-9
    held = mapped_expression(scores, shapes + 0.05, rest, lids_open)
    assert held.min() >= 0 and held.max() <= 1 and held.any()
    np.testing.assert_allclose(held, held[:1].repeat(9, axis=0), atol=1e-6)
    both_ways = held[:, [INDEX["eyeLookOutLeft"], INDEX["eyeLookInLeft"]]]
    assert (both_ways.min(axis=1) == 0).all(), "nobody looks left and right at once"


def test_what_is_held_is_a_mean_over_frames_with_open_lids() -> None:
    values = np.arange(10.0)[:, None] * [1, -2]
    counted = np.ones(10, bool)
    np.testing.assert_allclose(running_mean(values, counted, 4)[:, 0], [1, 1.5, 2, 3, 4, 5, 6, 7, 7.5, 8])
    counted[2] = False
    np.testing.assert_allclose(running_mean(values, counted, 4)[:3, 0], [0.5, 4 / 3, 2])
    counted[:] = False
    counted[9] = True
    np.testing.assert_allclose(running_mean(values, counted, 4), np.tile([9.0, -18.0], (10, 1)))


@pytest.mark.slow
def test_a_held_smile_is_kept_by_a_picture_at_rest(tmp_path: Path) -> None:
    head = load_head(BUNDLED_HEAD)
    smile = talking(1.2, head=0.02, blink_every=9, brows=0)
    smile.exp[:, both("mouthSmile")] = 0.5
    rest = MotionClip(np.zeros((1, 50), np.float32), np.zeros((1, 6), np.float32))
    found = {}
    for name, clip in (("smile", smile), ("rest", rest)):
        pictures = render_frames(head, clip.exp, clip.pose, range(0, len(clip)), 256, view_yaw=0.0)
        video_of(tmp_path / f"{name}.mp4", [picture[:, :204] for picture in pictures])
    for neutral in (None, tmp_path / "rest.mp4"):
        clip = track_performance(tmp_path / "smile.mp4", TRACKER, neutral=neutral, head=head).clip
        found[neutral is None] = float(clip.exp[:, both("mouthSmile")].mean())
    assert found[True] < 0.15 < 0.3 < found[False]
