# SPDX-License-Identifier: GPL-3.0-or-later
"""Words and missed lip closures as markers on the timeline, as a job that is polled."""

import shutil
from pathlib import Path
from typing import Any

import bpy

from . import audio_strip, generation_job, take_data, takes
from .backend_job import BackendJob, Steps, private_folder
from .errors import UserError
from .motion import write_motion
from .motion_exchange import take_motion

WORD_SIGN, CLOSURE_SIGN = "“", "✕ "  # what the names of our markers begin with, to take them away again
SECONDS = 600.0


class LipSyncJob(BackendJob):
    """Checking the take that an object shows, and marking what was found.

    words, closures: when done, how many were marked.
    source: what the closures were expected from: "phones", "transcript" or "model".
    """

    def __init__(
        self,
        scene: bpy.types.Scene,
        item: bpy.types.Object,
        transcript: str = "",
        device: str = "auto",
    ) -> None:
        """Check, and start.

        Args:
            transcript: what is said, in English; without it the model's own confidence decides.

        Raises:
            UserError: the object shows no take with a recording.
            BackendError: the backend cannot be started.
        """
        [self._action] = takes.chosen_takes([item])
        self.take_source = take_data.source_of(self._action.diffposetalk)
        if not self.take_source.get("audio"):
            raise UserError(
                "This take does not say what recording it was made from, so there is nothing to check."
            )
        audio_strip.check_audio_path(self.take_source["audio"])
        self._keyed = take_data.read_keyed(self._action.diffposetalk)
        self._motion = take_motion(self._action)
        self._transcript, self._device = transcript.strip(), device
        super().__init__("Checking the lips")
        self.words = self.closures = 0
        self.source = ""
        self._scene = scene.session_uid
        self._folder = private_folder()

    def _tidy_up(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> Steps:
        if not self._transcript:
            directory = Path(self.take_source.get("model") or generation_job.presets.MODEL_DIRECTORY)
            yield from generation_job.load_model(self, directory, self._device)
        params: dict[str, Any] = {
            "audio": self.take_source["audio"],
            "motion": str(write_motion(self._folder / "take.npz", self._motion)),
            "audio_start": self.take_source.get("audio_start", 0.0),
            "audio_seconds": self.take_source.get("audio_seconds"),
            "transcript": self._transcript or None,
            "style": self.take_source.get("style"),
        }
        told = yield from self.ask(
            "check_lip_sync", {k: v for k, v in params.items() if v is not None}, SECONDS
        )
        scene = next((s for s in bpy.data.scenes if s.session_uid == self._scene), None)
        if scene is None:
            raise UserError("The scene was removed while the lips were checked.")
        clear_markers(scene)
        self.source = str(told["source"])

        def frame(seconds: float) -> int:
            return round(self._keyed.start_frame + seconds * self._keyed.stretch * self._keyed.fps)

        for word, start, _ in told.get("words", ()):
            scene.timeline_markers.new(f"{WORD_SIGN}{word}”", frame=frame(start))
            self.words += 1
        for mark in told["marks"]:
            what = mark["phone"] or "closure"
            where = f" in “{mark['word']}”" if mark.get("word") else ""
            name = f"{CLOSURE_SIGN}{what}{where}: {mark['gap_mm']:.1f} mm open"
            scene.timeline_markers.new(name, frame=frame(mark["frame"] / self._motion.fps))
            self.closures += 1


def clear_markers(scene: bpy.types.Scene) -> int:
    """Take our markers away; others stay. Returns how many there were."""
    ours = [m for m in scene.timeline_markers if m.name.startswith((WORD_SIGN, CLOSURE_SIGN))]
    for marker in ours:
        scene.timeline_markers.remove(marker)
    return len(ours)
