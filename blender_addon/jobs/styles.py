# SPDX-License-Identifier: GPL-3.0-or-later
"""Styles from references, and performances from video, as jobs that are polled; they know nothing of windows.

A job's files are made in a private folder and moved into the library when all is well: cancelled or failed, it
leaves nothing. A video that has been tracked is not tracked again while Blender runs.
"""

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..data import style_library
from ..data.array_file import plain_arrays
from ..data.errors import UserError, explained
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

    def of(self, motion: Path) -> dict[str, Any]:
        """A motion with these seconds, as the protocol has it."""
        return {"motion": str(motion), "window": self.window, "start_frame": self.start_frame}


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
    tracked: TrackedVideo | None = None


_tracked: dict[tuple[Any, ...], TrackedVideo] = {}


def plot_file() -> Path:
    return session_folder() / f"plot-{os.urandom(4).hex()}.png"


class ReferenceJob(BackendJob):
    """A job that reads a reference: motion, or a video that is tracked first."""

    def __init__(self, text: str, reference: Path | None = None) -> None:
        """Start. Raises UserError where there is no such file."""
        if reference is not None and not reference.is_file():
            raise UserError(f"The file “{reference}” does not exist. Choose another one.")
        super().__init__(text)
        chosen = addon_preferences()
        self._model, self._device = chosen_model_directory(), chosen.device
        # The tracker's model file; None is the backend's own.
        self._tracker = bpy.path.abspath(chosen.tracker_model) if chosen.tracker_model else None

    def model(self) -> Generator[None, None, dict[str, Any]]:
        """Load the model of the preferences; the generator's value is what the backend says of it."""
        return self.load_model(self._model, self._device)

    def track(self, video: Path, person: Person = ANYONE) -> Generator[None, None, TrackedVideo]:
        """Track a video, or find that it has been; the generator's value is what came of it.

        Raises:
            UserError: packages or the tracker's model are missing. BackendError: it cannot be tracked.
        """
        with explained(f"The video “{video}” cannot be read"):
            state = video.stat()
        if person.neutral is not None and not person.neutral.is_file():
            raise UserError(f"The picture of the neutral face “{person.neutral}” does not exist.")
        key = (str(video), state.st_mtime_ns, state.st_size, person, self._tracker)
        if key in _tracked and _tracked[key].motion.is_file():
            return _tracked[key]
        yield from self._check_tracking()
        self.text = rpt_("Tracking {name}").format(name=video.name)
        whose = {
            "face": None if person.face is None else list(person.face),
            "neutral": None if person.neutral is None else str(person.neutral),
        }
        params = {**self._video_params(video), **whose}
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

    def _video_params(self, video: Path) -> dict[str, Any]:
        return {"video": str(video), "output_dir": str(session_folder()), "tracker": self._tracker}

    def _check_tracking(self) -> Steps:
        self.text = rpt_("Looking for the face tracker")
        status = yield from self.ask("tracking_status", {"tracker": self._tracker}, STATUS_SECONDS)
        if status["missing_packages"]:
            raise UserError(
                "The backend lacks the packages that track faces in video. Press Install Video Tracking in the "
                "add-on's preferences."
            )
        if status["tracker"] is None:
            problem = status["problem"] if self._tracker else ""
            raise UserError(
                "The face tracker's model is missing. In the add-on's preferences press Fetch Face Tracker, or "
                f"choose the file face_landmarker.task there. {problem}".strip()
            )
        if status["problem"]:
            raise UserError(status["problem"])


class NewStyle(ReferenceJob):
    """A job that adds a style to the library; `result` is there when it is done."""

    result: Extracted

    def __init__(self, name: str, text: str, reference: Path | None = None) -> None:
        """Start.

        Args:
            name: that the style gets, with a number where it is taken.

        Raises:
            UserError: there is no such reference, the name cannot be, or the library is read-only.
        """
        super().__init__(text, reference)
        style_library.check_name(name)
        self._name, self._library = name, style_library.prepare_folder(library_folder())
        self._backend()

    def make(self, method: str, params: dict[str, Any]) -> Steps:
        """Have the backend write the style's file, and put it into the library."""
        file = self._folder / (style_library.free_name(self._library, self._name) + style_library.SUFFIX)
        answer = yield from self.ask(method, {**params, "output": str(file)})
        target = style_library.copy_style(file, self._library / file.name)  # which may be on another disk
        self.result = Extracted(target, str(answer["figures"]), tuple(answer["notes"]))


class ExtractStyle(NewStyle):
    """Taking the style of a reference."""

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
        super().__init__(name or style_library.name_from(reference), rpt_("Reading the style"), reference)
        self._reference = reference
        self._window = window or ReferenceWindow()
        self._person, self._description, self._basis = person, description, basis
        self._source = source or {"kind": "motion", "file": reference.name}
        self._remove = remove_reference

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
        heads: dict[str, str] | None = None
        if basis != model["basis"]:
            head = yield from flame_file.head_file(self, basis)
            shown = yield from flame_file.head_file(self, str(model["basis"]))
            heads = {"motion": str(head), "model": str(shown)}
        self.text = rpt_("Reading the style")
        read = {**self._window.of(motion), "heads": heads}
        plot = None
        if motion.suffix.lower() != ".npy":
            plot = plot_file()
            yield from self.ask("preview_reference", {**read, "output": str(plot)})
        notes = list(tracked.warnings) if tracked is not None else []
        extra = {"description": self._description, "source": source, "notes": notes}
        yield from self.make("extract_style", {**read, **extra})
        self.result.plot, self.result.tracked = plot, tracked


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


class MixStyles(NewStyle):
    """Saving a mixture of two styles."""

    def __init__(self, specs: list[dict[str, Any]], amounts: list[float], name: str) -> None:
        """Start.

        Args:
            specs: presets and style files, as the protocol has them.
            amounts: of each, together 1.

        Raises:
            UserError: the name cannot be, or the library is read-only.
        """
        super().__init__(name, rpt_("Mixing the styles"))
        self._params = {"styles": specs, "amounts": amounts}

    def _run(self) -> Steps:
        yield from self.model()
        self.text = rpt_("Mixing the styles")
        yield from self.make("mix_styles", self._params)


class PreviewReference(ReferenceJob):
    """Plotting a motion file with the four seconds that would be read; `plot`, `count` and `notes` are there then."""

    plot: Path
    count: int
    notes: tuple[str, ...]

    def __init__(self, reference: Path, window: ReferenceWindow) -> None:
        super().__init__(rpt_("Reading the reference"), reference)
        self._reference, self._window = reference, window

    def _run(self) -> Steps:
        motion = self._reference
        if motion.suffix.lower() in VIDEO_SUFFIXES:
            motion = (yield from self.track(motion)).motion
        yield from self.model()
        self.text = rpt_("Reading the reference")
        self.plot = plot_file()
        params = {**self._window.of(motion), "output": str(self.plot)}
        answer = yield from self.ask("preview_reference", params)
        self.count, self.notes = int(answer["count"]), tuple(answer["notes"])


class TrackVideo(ReferenceJob):
    """Tracking a video for its own sake; `tracked` is there when it is done."""

    tracked: TrackedVideo

    def __init__(self, video: Path, person: Person = ANYONE) -> None:
        super().__init__(rpt_("Looking for the face tracker"), video)
        self._video, self._person = video, person

    def _run(self) -> Steps:
        self.tracked = yield from self.track(self._video, self._person)


@dataclass(frozen=True)
class FoundFace:
    """Someone in a video: where (shares of the picture), and a picture."""

    x: float
    y: float
    picture: Path


class FindFaces(ReferenceJob):
    """Looking who is in a video; `faces` are there when it is done, the largest first."""

    faces: tuple[FoundFace, ...]

    def __init__(self, video: Path) -> None:
        super().__init__(rpt_("Looking for the face tracker"), video)
        self._video = video

    def _run(self) -> Steps:
        yield from self._check_tracking()
        self.text = rpt_("Looking for faces")
        answer = yield from self.ask("find_faces", self._video_params(self._video))
        self.faces = tuple(
            FoundFace(float(f["x"]), float(f["y"]), Path(f["picture"])) for f in answer["faces"]
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
