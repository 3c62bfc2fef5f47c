# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes to files of other systems and back, as jobs that are polled: Live Link Face, ARKit curves, motion clips.

The backend reads and writes the formats; a clip of our own (`.npz`) needs no backend.
"""

from collections.abc import Sequence
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..data.errors import UserError, explained
from ..data.motion import Motion, read_motion, resample_motion, write_motion
from ..engine.job import BackendJob, Steps
from ..takes import audio_strip, heard, record, showing
from ..takes.keying import Assignment, Take, key_takes, last_frame
from .exporting import writable
from .generation import objects_of, scene_of

FORMATS = {".csv": "Live Link Face", ".json": "ARKit curves", ".npz": "motion clip"}
SECONDS = 300.0


def _known_format(path: Path) -> Path:
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"“{path.name}” has no known ending: {', '.join(FORMATS)} are.")
    return path


class ExportMotionJob(BackendJob):
    """Writing a take to a file.

    path: the file.
    """

    def __init__(self, action: bpy.types.Action, path: str | Path, fps: float | None = None) -> None:
        """Check, and start.

        Args:
            fps: frames a second in the file; None is the motion's own.

        Raises:
            UserError: the ending is unknown, the folder cannot be written, or the Action is no take.
            BackendError: the backend cannot be started.
        """
        self.path = writable(_known_format(Path(str(path))))
        stretch = record.read_keyed(action.diffposetalk).stretch
        self._motion, self._fps = showing.changed_motion(action, stretch), fps
        super().__init__(rpt_("Exporting"))

    def _run(self) -> Steps:
        if self.path.suffix.lower() == ".npz":
            motion = self._motion if self._fps is None else resample_motion(self._motion, self._fps)
            with explained(f"“{self.path}” cannot be written"):
                write_motion(self.path, motion)
            return
        given = write_motion(self._folder / "take.npz", self._motion)
        params = {"motion": str(given), "output": str(self.path), "fps": self._fps}
        yield from self.ask("export_motion", params, SECONDS)


class ImportMotionJob(BackendJob):
    """Keying a file's motion as a take.

    results: when done, the take's first Action of each head or character.
    """

    def __init__(
        self,
        scene: bpy.types.Scene,
        objects: Sequence[bpy.types.Object],
        path: str | Path,
        start_frame: float = 1.0,
        head_bone: str = "neck",
    ) -> None:
        """Check, and start.

        Raises:
            UserError: the file is missing or of an unknown kind, or an object cannot be keyed.
            BackendError: the backend cannot be started.
        """
        self.path = _known_format(Path(bpy.path.abspath(str(path))))
        if not self.path.is_file():
            raise UserError(f"The motion file “{self.path}” does not exist. Choose another one.")
        showing.targets_of(objects)
        super().__init__(rpt_("Reading the motion"))
        self.results: list[bpy.types.Action] = []
        self._scene, self._start, self._head_bone = scene.session_uid, start_frame, head_bone
        self._objects = [item.session_uid for item in objects]

    def _run(self) -> Steps:
        path = self.path
        if path.suffix.lower() != ".npz":
            output = self._folder / "motion.npz"
            yield from self.ask("import_motion", {"path": str(path), "output": str(output)}, SECONDS)
            path = output
        motion, scene, objects = read_motion(path), scene_of(self._scene), objects_of(self._objects)
        self.results = key_motion_take(scene, objects, motion, self.path.stem, self._start, self._head_bone)


def key_motion_take(
    scene: bpy.types.Scene,
    objects: Sequence[bpy.types.Object],
    motion: Motion,
    name: str,
    start_frame: float,
    head_bone: str = "neck",
) -> list[bpy.types.Action]:
    """Key motion that was not generated here as a take. Returns the first Action of each target; raises UserError."""
    targets = tuple(showing.targets_of(objects))
    shown = resample_motion(motion, audio_strip.frames_per_second(scene))
    take = Take(shown, f"{name} · motion", motion, {"file": name})
    key_takes([Assignment(targets, (take,), start_frame)], head_bone)
    scene.frame_end = max(scene.frame_end, last_frame(shown, start_frame))
    heard.follow_takes()
    shown_takes = (showing.shown_take(target.owner, target) for target in targets)
    return [action for action in shown_takes if action is not None]
