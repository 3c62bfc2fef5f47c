# SPDX-License-Identifier: GPL-3.0-or-later
"""Styles from references, and performances from video, as jobs that are polled; they know nothing of windows.

A job's files are made in a private folder and moved into the library when all is well: cancelled or failed, it
leaves nothing. A video that has been tracked is not tracked again while Blender runs.
"""

import os
import shutil
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..data import style_library
from ..data.array_file import plain_arrays
from ..data.errors import UserError
from ..data.motion import write_motion
from ..data.style_request import MOTION_SUFFIXES, VIDEO_SUFFIXES
from ..engine import flame_file
from ..engine.job import BackendJob, Steps, session_folder
from ..faces.targets import Target
from ..install.preferences import addon_preferences, chosen_model_directory
from ..takes import scene_motion
from .style_list import library_folder

LONGEST_BASIS = 4096  # bytes of the array that names it
STATUS_SECONDS = 60.0
REFERENCE_SUFFIXES = (*MOTION_SUFFIXES, ".npy")


@dataclass(frozen=True)
class ReferenceWindow:
    """Which four seconds of a reference: from `start_frame` on (25 a second), or “auto”, or the “mean” over all."""

    window: str = "auto"
    start_frame: int | None = None


@dataclass(frozen=True)
class Machine:
    """The model to load and where it computes; the tracker's model file, empty for the backend's own."""

    model_directory: Path
    device: str
    tracker: str = ""


def machine() -> Machine:
    """Model, device and tracker of the preferences."""
    chosen = addon_preferences()
    tracker = bpy.path.abspath(chosen.tracker_model) if chosen.tracker_model else ""
    return Machine(chosen_model_directory(), chosen.device, tracker)


@dataclass(frozen=True)
class Person:
    """Who is meant in a video: the place of the face (shares of the picture; None is the largest), and a picture or
    short video of the same person at rest (None: rest is estimated)."""

    face: tuple[float, float] | None = None
    neutral: Path | None = None


ANYONE = Person()


@dataclass(frozen=True)
class TrackedVideo:
    """What the backend made of a video; paths lie in the session's own folder."""

    video: Path
    motion: Path
    contact_sheet: Path
    summary: str
    warnings: tuple[str, ...]
    unseen: tuple[tuple[float, float], ...]


@dataclass
class Extracted:
    """A style that was made: its file, what was measured, what to beware of, and a plot of its reference."""

    path: Path
    figures: str
    notes: tuple[str, ...] = ()
    plot: Path | None = None
    starts: tuple[int, ...] = ()
    tracked: TrackedVideo | None = field(default=None)


_tracked: dict[tuple[Any, ...], TrackedVideo] = {}


def plot_file() -> Path:
    """Where the plot of a reference goes."""
    return session_folder() / f"plot-{os.urandom(4).hex()}.png"


class ReferenceJob(BackendJob):
    """A job that reads a reference: motion, or a video that is tracked first."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.machine = machine()

    def model(self) -> Generator[None, None, dict[str, Any]]:
        """Load the machine's model; the generator's value is what the backend says of it."""
        return self.load_model(self.machine.model_directory, self.machine.device)

    def heads(self, motion_basis: str, model_basis: str) -> Generator[None, None, dict[str, str] | None]:
        """The heads between which a reference is converted, or None where it need not be.

        Raises:
            UserError: the user's FLAME is needed and not set.
        """
        if motion_basis == model_basis:
            return None
        motion = yield from flame_file.head_file(self, motion_basis)
        model = yield from flame_file.head_file(self, model_basis)
        return {"motion": str(motion), "model": str(model)}

    def track(self, video: Path, person: Person = ANYONE) -> Generator[None, None, TrackedVideo]:
        """Track a video, or find that it has been; the generator's value is what came of it.

        Raises:
            UserError: packages or the tracker's model are missing. BackendError: it cannot be tracked.
        """
        try:
            state = video.stat()
        except OSError as error:
            raise UserError(f"The video “{video}” cannot be read: {error.strerror}.") from error
        if person.neutral is not None and not person.neutral.is_file():
            raise UserError(f"The picture of the neutral face “{person.neutral}” does not exist.")
        key = (str(video), state.st_mtime_ns, state.st_size, person, self.machine.tracker)
        if key in _tracked and _tracked[key].motion.is_file():
            return _tracked[key]
        yield from self._check_tracking()
        self.text = rpt_("Tracking {name}").format(name=video.name)

        params = {
            "video": str(video),
            "output_dir": str(session_folder()),
            "tracker": self.machine.tracker or None,
            "face": None if person.face is None else list(person.face),
            "neutral": None if person.neutral is None else str(person.neutral),
        }
        answer = yield from self.ask("track_video", params, on_notice=self.show_progress)
        self.progress = 0.0
        _tracked[key] = TrackedVideo(
            video,
            Path(answer["motion"]),
            Path(answer["contact_sheet"]),
            str(answer["summary"]),
            tuple(answer["warnings"]),
            tuple((float(a), float(b)) for a, b in answer["unseen"]),
        )
        return _tracked[key]

    def _check_tracking(self) -> Steps:
        self.text = rpt_("Looking for the face tracker")
        params = {"tracker": self.machine.tracker or None}
        status = yield from self.ask("tracking_status", params, STATUS_SECONDS)
        if status["missing_packages"]:
            raise UserError(
                "The backend lacks the packages that track faces in video. Press Install Video Tracking in the "
                "add-on's preferences."
            )
        if status["tracker"] is None:
            problem = status["problem"] if self.machine.tracker else ""
            raise UserError(
                "The face tracker's model is missing. In the add-on's preferences press Fetch Face Tracker, or "
                f"choose the file face_landmarker.task there. {problem}".strip()
            )
        if status["problem"]:
            raise UserError(status["problem"])


class ExtractStyle(ReferenceJob):
    """Taking the style of a reference; `result` is there when it is done."""

    result: Extracted

    def __init__(
        self,
        reference: Path,
        name: str = "",
        window: ReferenceWindow | None = None,
        *,
        person: Person = ANYONE,
        description: str = "",
        source: dict[str, Any] | None = None,
        basis: str | None = None,
        remove_reference: bool = False,
    ) -> None:
        """Start.

        Args:
            reference: motion file of any kind, or video.
            name: that the style gets in the library, with a number where it is taken; that of the file when empty.
            window: which four seconds.
            person: who is meant in a video.
            source: what the style's file keeps of where it is from.
            basis: of the motion, where it is known not to be the model's.
            remove_reference: it is a file of ours, to be removed in the end.

        Raises:
            UserError: the reference does not exist, the name cannot be, or the library is read-only.
        """
        _check_exists(reference, "style's reference")
        self._library, self._name = library_folder(), name or style_library.name_from(reference)
        style_library.check_name(self._name)
        style_library.prepare_folder(self._library)
        super().__init__(rpt_("Reading the style"))
        self._reference = reference
        self._window = window or ReferenceWindow()
        self._person, self._description, self._basis = person, description, basis
        self._source = source or {"kind": "motion", "file": reference.name}
        self._remove = remove_reference
        self._backend()

    def _tidy_up(self) -> None:
        if self._remove:
            self._reference.unlink(missing_ok=True)

    def _run(self) -> Steps:
        motion, tracked, source = self._reference, None, self._source
        if motion.suffix.lower() in VIDEO_SUFFIXES:
            tracked = yield from self.track(motion, self._person)
            motion, source = tracked.motion, {"kind": "video", "file": self._reference.name}
        model = yield from self.model()
        basis = self._basis or motion_basis(motion) or str(model["basis"])
        heads = yield from self.heads(basis, str(model["basis"]))
        self.text = rpt_("Reading the style")
        name = style_library.free_name(self._library, self._name)
        file = self._folder / (name + style_library.SUFFIX)
        read = {
            "motion": str(motion),
            "window": self._window.window,
            "start_frame": self._window.start_frame,
            "heads": heads,
        }
        extra = {
            "description": self._description,
            "source": source,
            "notes": list(tracked.warnings) if tracked is not None else [],
        }
        answer = yield from self.ask("extract_style", {**read, **extra, "output": str(file)})
        plot = None
        if motion.suffix.lower() != ".npy":
            plot = plot_file()
            yield from self.ask("preview_reference", {**read, "output": str(plot)})
        target = self._library / file.name
        move_into(file, target)
        self.result = Extracted(
            target, str(answer["figures"]), tuple(answer["notes"]), plot, tuple(answer["starts"]), tracked
        )


def style_of_animation(
    scene: bpy.types.Scene,
    target: Target,
    frames: tuple[float, float],
    name: str,
    window: ReferenceWindow,
    description: str = "",
) -> ExtractStyle:
    """The job of taking the style of what a head or character shows, which is read now. Raises UserError.

    Args:
        frames: first and last frame of the scene.
        name: as of `ExtractStyle`; the object's when empty.
    """
    motion = scene_motion.scene_motion(scene, target, *frames)
    return ExtractStyle(
        write_motion(session_folder() / f"animation-{os.urandom(4).hex()}.npz", motion),
        name or style_library.name_from(target.mesh.name),
        window,
        description=description,
        source={"kind": "animation", "object": target.mesh.name, "frames": list(frames)},
        basis=target.basis,
        remove_reference=True,
    )


class MixStyles(ReferenceJob):
    """Saving a mixture of two styles; `result` is there when it is done."""

    result: Extracted

    def __init__(self, specs: list[dict[str, Any]], amounts: list[float], name: str) -> None:
        """Start.

        Args:
            specs: presets and style files, as the protocol has them.
            amounts: of each, together 1.

        Raises:
            UserError: the name cannot be, or the library is read-only.
        """
        self._library = library_folder()
        style_library.check_name(name)
        style_library.prepare_folder(self._library)
        super().__init__(rpt_("Mixing the styles"))
        self._specs, self._amounts, self._name = specs, amounts, name
        self._backend()

    def _run(self) -> Steps:
        yield from self.model()
        self.text = rpt_("Mixing the styles")
        name = style_library.free_name(self._library, self._name)
        file = self._folder / (name + style_library.SUFFIX)
        params = {"styles": self._specs, "amounts": self._amounts, "output": str(file)}
        answer = yield from self.ask("mix_styles", params)
        target = self._library / file.name
        move_into(file, target)
        self.result = Extracted(target, str(answer["figures"]), tuple(answer["notes"]))


class PreviewReference(ReferenceJob):
    """Plotting a motion file with the four seconds that would be read; `plot`, `count` and `notes` are there then."""

    plot: Path
    count: int
    notes: tuple[str, ...]

    def __init__(self, reference: Path, window: ReferenceWindow) -> None:
        """Start. Raises UserError where there is no such file."""
        _check_exists(reference, "style's reference")
        super().__init__(rpt_("Reading the reference"))
        self._reference, self._window = reference, window

    def _run(self) -> Steps:
        motion = self._reference
        if motion.suffix.lower() in VIDEO_SUFFIXES:
            motion = (yield from self.track(motion)).motion
        yield from self.model()
        self.text = rpt_("Reading the reference")
        plot = plot_file()
        params = {
            "motion": str(motion),
            "window": self._window.window,
            "start_frame": self._window.start_frame,
            "output": str(plot),
        }
        answer = yield from self.ask("preview_reference", params)
        self.plot, self.count, self.notes = plot, int(answer["count"]), tuple(answer["notes"])


class TrackVideo(ReferenceJob):
    """Tracking a video for its own sake; `tracked` is there when it is done."""

    tracked: TrackedVideo

    def __init__(self, video: Path, person: Person = ANYONE) -> None:
        """Start. Raises UserError where there is no such file."""
        _check_exists(video, "video")
        super().__init__(rpt_("Looking for the face tracker"))
        self._video, self._person = video, person

    def _run(self) -> Steps:
        self.tracked = yield from self.track(self._video, self._person)


@dataclass(frozen=True)
class FoundFace:
    """Someone in a video: where (shares of the picture), how large, and a picture."""

    x: float
    y: float
    size: float
    picture: Path


class FindFaces(ReferenceJob):
    """Looking who is in a video; `faces` are there when it is done, the largest first."""

    faces: tuple[FoundFace, ...]

    def __init__(self, video: Path) -> None:
        """Start. Raises UserError where there is no such file."""
        _check_exists(video, "video")
        super().__init__(rpt_("Looking for the face tracker"))
        self._video = video

    def _run(self) -> Steps:
        yield from self._check_tracking()
        self.text = rpt_("Looking for faces")
        params = {
            "video": str(self._video),
            "output_dir": str(session_folder()),
            "tracker": self.machine.tracker or None,
        }
        answer = yield from self.ask("find_faces", params)
        self.faces = tuple(
            FoundFace(float(f["x"]), float(f["y"]), float(f["size"]), Path(f["picture"]))
            for f in answer["faces"]
        )


class FetchTracker(BackendJob):
    """Fetching the face tracker's model file; `path` is there when it is done."""

    path: str

    def __init__(self) -> None:
        """Start. Raises UserError where Blender may not go online."""
        if not bpy.app.online_access:
            raise UserError(
                "Blender may not go online. Turn on Allow Online Access in Preferences, System, or choose the file "
                "face_landmarker.task yourself."
            )
        super().__init__(rpt_("Fetching the face tracker"))

    def _run(self) -> Steps:
        answer = yield from self.ask("fetch_tracker", {"allow_online": True}, on_notice=self.show_progress)
        self.path = str(answer["path"])


def _check_exists(path: Path, name: str) -> None:
    if not path.is_file():
        raise UserError(f"The {name} “{path}” does not exist. Choose another one.")


def motion_basis(path: Path) -> str | None:
    """The expression basis of a motion file; None where it does not say (the backend tells what is wrong with it)."""
    if path.suffix.lower() in (".csv", ".json"):
        return "arkit"
    if path.suffix.lower() != ".npz":
        return None
    try:
        # Files of the released code and of reconstruction tools name no basis and are FLAME's.
        return str(plain_arrays(path, ("basis",), LONGEST_BASIS).get("basis", "flame"))
    except (OSError, OverflowError, ValueError):
        return None


def move_into(file: Path, target: Path) -> None:
    """Move a finished file into the library, whole or not at all. Raises UserError."""
    part = target.with_name(f".part-{os.getpid()}-{target.name}")
    try:
        shutil.copyfile(file, part)  # the library may be on another disk
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(
            f"“{target.parent}” cannot be written to: {error.strerror}. Nothing was kept."
        ) from error
