# SPDX-License-Identifier: GPL-3.0-or-later
"""Words and missed lip closures as markers on the timeline, as a job that is polled."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.translations import pgettext_rpt as rpt_

from ..client import BackendError
from ..data import bundled
from ..data.errors import UserError, explained
from ..data.motion import Motion, write_motion
from ..data.text_file import read_text
from ..engine import flame_file
from ..engine.job import BackendJob, Steps
from ..faces.character import lips_of
from ..faces.lips import shown_gap
from ..faces.targets import Target
from ..takes import audio_strip, record, showing
from ..takes.spoken_lines import FPS, SpokenLine, spoken_lines
from .generation import scene_of

WORD_SIGN, CLOSURE_SIGN = "“", "✕ "  # what the names of our markers begin with, to take them away again
CLOSED = 0.15  # of the gap's 95th percentile: lips that are closer count as closed, as the engine counts them
LEVELS = 60  # frames of a line from which that percentile is taken
MAX_TRANSCRIPT_BYTES = 1 << 16
OF_ONE_LINE = ("audio_", "data_")  # kinds of errors that say nothing of the other lines


@dataclass(frozen=True)
class _Check:
    """A line, its take's motion with its changes, how that is keyed, what is said, and who shows it."""

    line: SpokenLine
    motion: Motion
    keyed: record.KeyedAs
    said: str
    target: Target


class LipCheckJob(BackendJob):
    """Checking the takes that objects show, and marking what was found.

    words, closures: when done, how many were marked.
    source: what the closures were expected from: "transcript", "model", or "transcript and model".
    problems: lines that could not be checked, and why; the others were.
    """

    def __init__(
        self,
        scene: bpy.types.Scene,
        items: Sequence[bpy.types.Object],
        transcript: str | Mapping[str, str] = "",
        device: str = "auto",
    ) -> None:
        """Check, and start.

        Args:
            items: heads or characters; each one's shown take is checked.
            transcript: what is said, in English, in takes of one recording; or transcripts by the names of sound
                strips. Other lines have that of `line_transcript`; without any the model's own confidence decides.

        Raises:
            UserError: an object shows no take with a recording.
            BackendError: the backend cannot be started.
        """
        self._lines: list[_Check] = []
        self.problems: list[str] = []
        for action in showing.chosen_takes(items):
            lines = spoken_lines(action)
            if not lines:
                raise UserError(
                    f"The take “{action.name}” does not say what recording it was made from, so there is nothing to "
                    "check."
                )
            target = showing.target_of(showing.owner_of_take(action))
            keyed = record.read_keyed(action.diffposetalk)
            motion = showing.with_hand_edits(action, target, showing.changed_motion(action))
            for line in lines:
                try:
                    audio_strip.check_audio_path(line.source["audio"])
                    said = _given(transcript, line) or line_transcript(scene, line)
                except UserError as error:
                    self.problems.append(_named(line, error))
                    continue
                self._lines.append(_Check(line, motion, keyed, said, target))
        if not self._lines:
            raise UserError(" ".join(self.problems))
        self._device = device
        super().__init__(rpt_("Checking the lips"))
        self.words = self.closures = 0
        self.source = ""
        self._scene = scene.session_uid

    def _run(self) -> Steps:
        markers: list[tuple[str, int]] = []
        sources: dict[str, None] = {}
        for number, check in enumerate(self._lines):
            line, keyed = check.line, check.keyed
            self.progress = number / len(self._lines)
            try:
                answer = yield from self._answer(check)
            except BackendError as error:
                if error.kind == "extra_missing":
                    raise UserError(
                        "Words and phones of a transcript need PocketSphinx: press Install Word Alignment in the "
                        "add-on's preferences, or install it into your Backend Python (pip install pocketsphinx)."
                    ) from error
                if len(self._lines) == 1 or not error.kind.startswith(OF_ONE_LINE):
                    raise
                self.problems.append(_named(line, error))
                continue
            sources[str(answer["source"])] = None

            def frame(seconds: float, line: SpokenLine = line, keyed: record.KeyedAs = keyed) -> int:
                into = line.first / FPS + seconds
                return round(keyed.start_frame + into * keyed.stretch * keyed.fps)

            words = [(word, start) for word, start, _ in answer["words"] if start < line.frames / FPS]
            markers += [(f"{WORD_SIGN}{word}”", frame(max(0.0, start))) for word, start in words]
            self.words += len(words)
            missed = self._missed_on_mesh(check, answer.get("expected", ()), frame)
            if missed is None:  # our own heads are what the engine measured
                missed = [
                    (frame(m["frame"] / FPS), m["phone"], m.get("word"), m["gap_mm"]) for m in answer["marks"]
                ]
            for at, phone, word, gap in missed:
                where = f" in “{word}”" if word else ""
                markers.append((f"{CLOSURE_SIGN}{phone or 'closure'}{where}: {gap:.1f} mm open", at))
            self.closures += len(missed)
        if not sources:
            raise UserError(" ".join(self.problems))
        scene = scene_of(self._scene)
        self.source = " and ".join(sorted(sources, reverse=True))
        clear_markers(scene)
        for name, at in markers:
            scene.timeline_markers.new(name, frame=at)

    def _missed_on_mesh(
        self, check: _Check, expected: Sequence[Sequence[Any]], frame: Callable[[float], int]
    ) -> list[tuple[int, str | None, str | None, float]] | None:
        """Closures that a character's own lips do not reach: frame, phone, word and millimetres; None without lips.

        Args:
            expected: start, stop, phone and word of each, seconds of the line. frame: from these to the scene's.
        """
        who = check.target.character
        lips = lips_of(who, check.target.jaw_open_angle) if who is not None else None
        scene = scene_of(self._scene)
        if who is None or lips is None or scene != bpy.context.scene:
            return None
        present = scene.frame_current, scene.frame_subframe
        millimetres = 1e3 * scene.unit_settings.scale_length

        def gap(at: int) -> float:
            scene.frame_set(at)
            return shown_gap(lips, who.rig, who.bones.head) * millimetres

        try:
            first, last = frame(0.0), frame(check.line.frames / FPS)
            seen = range(first, last + 1, max(1, (last - first) // LEVELS))
            level = np.percentile([gap(at) for at in seen], 95)
            limit = max(CLOSED * level, 0.01 * lips.full * millimetres)
            missed = []
            for start, stop, phone, word in expected:
                gaps = {at: gap(at) for at in range(frame(start), max(frame(stop), frame(start) + 1))}
                closest = min(gaps, key=lambda at: gaps[at])
                if gaps[closest] > limit:
                    missed.append((closest, phone, word, gaps[closest]))
            return missed
        finally:
            scene.frame_set(present[0], subframe=present[1])

    def _answer(self, check: _Check) -> Generator[None, None, dict[str, Any]]:
        """Ask the backend about one line; the generator's value is its answer."""
        line, motion = check.line, check.motion
        if not check.said:
            directory = Path(line.source.get("model") or bundled.MODEL_DIRECTORY)
            yield from self.load_model(directory, self._device)
            self.text = rpt_("Checking the lips")
        head = yield from flame_file.head_file(self, motion.basis, check.target.head_file)
        shown = slice(line.first, line.first + line.frames)
        part = replace(motion, exp=motion.exp[shown], head=motion.head[shown], jaw=motion.jaw[shown])
        later = (line.first - line.at) / FPS  # the first frame that the take shows, after the line's own
        seconds = line.source.get("audio_seconds")
        params = {
            "audio": (yield from self.readable(line.source["audio"])),
            "motion": str(write_motion(self._folder / "take.npz", part)),
            "audio_start": (line.source.get("audio_start") or 0.0) + later,
            "audio_seconds": None if seconds is None else seconds - later,
            "transcript": check.said or None,
            "style": line.source.get("style"),
            "head": str(head),
        }
        given = {name: value for name, value in params.items() if value is not None}
        return (yield from self.ask("check_lip_sync", given))


def _given(transcript: str | Mapping[str, str], line: SpokenLine) -> str:
    if isinstance(transcript, str):
        return "" if line.strip else transcript.strip()
    return transcript.get(line.strip, "").strip()


def line_transcript(scene: bpy.types.Scene, line: SpokenLine) -> str:
    """What is said in a line: what its sound strip says, else the text file beside the recording, else nothing.

    Raises:
        UserError: the text file cannot be read.
    """
    strip = audio_strip.sound_strip(scene, line.strip) if line.strip else None
    if strip is not None and strip.diffposetalk_transcript.strip():
        return str(strip.diffposetalk_transcript.strip())
    path = Path(line.source["audio"]).with_suffix(".txt")
    if not path.is_file():
        return ""
    with explained(f"The transcript “{path}” cannot be read"):
        return read_text(path, MAX_TRANSCRIPT_BYTES).strip()


def _named(line: SpokenLine, error: Exception) -> str:
    return f"“{line.strip or Path(line.source['audio']).name}”: {error}"


def clear_markers(scene: bpy.types.Scene) -> int:
    """Take our markers away; others stay. Returns how many there were."""
    ours = [m for m in scene.timeline_markers if m.name.startswith((WORD_SIGN, CLOSURE_SIGN))]
    for marker in ours:
        scene.timeline_markers.remove(marker)
    return len(ours)
