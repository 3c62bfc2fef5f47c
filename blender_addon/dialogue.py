# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole scene's dialogue from the sequencer: every sound strip spoken by its character, at its place.

All lines of a character become one take. A line that was made before, from the same sound with the same settings,
is not made again.
"""

import fnmatch
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np

from . import audio_strip, take_data, takes
from .adjustment import timed
from .audio_strip import AudioSpan
from .backend_job import Steps
from .errors import UserError
from .generation_job import Generated, GenerationJob, GenerationSettings, Speech, objects_of, targets_of
from .keying import Performance, Take, key_performances, last_frame
from .motion import Motion
from .motion_text import motion_from_text, motion_to_text

FADE_SECONDS = 0.4  # in which a face comes to rest after a line
FPS = 25.0


@dataclass(frozen=True)
class DialogueLine:
    """One sound strip and who speaks it."""

    strip: str
    span: AudioSpan
    speaker: bpy.types.Object


def dialogue_lines(scene: bpy.types.Scene) -> tuple[list[DialogueLine], list[str]]:
    """The lines of a scene's sequencer by its speakers' rules, in time, and what was left out and why."""
    editor = scene.sequence_editor
    if editor is None:
        return [], ["The scene has no sound strips."]
    lines, left_out = [], []
    strips = [strip for strip in audio_strip.sequencer_strips(scene) if strip.type == "SOUND"]
    for strip in sorted(strips, key=lambda strip: strip.frame_final_start):
        channel = editor.channels[strip.channel] if strip.channel < len(editor.channels) else None
        if strip.mute or (channel is not None and channel.mute):
            left_out.append(f"“{strip.name}” is muted")
            continue
        speaker = _speaker(scene, strip)
        if speaker is None:
            left_out.append(f"“{strip.name}” has no speaker: add one under Dialogue")
            continue
        if scene not in speaker.users_scene:
            left_out.append(f"“{speaker.name}”, who speaks “{strip.name}”, is not in this scene")
            continue
        try:
            span = audio_strip.span_of_strip(strip, scene)
            audio_strip.check_audio_path(span.path)
        except UserError as error:
            left_out.append(str(error).rstrip("."))
            continue
        lines.append(DialogueLine(strip.name, span, speaker))
    return lines, left_out


def _speaker(scene: bpy.types.Scene, strip: Any) -> bpy.types.Object | None:
    """Who speaks a strip: by the first rule that fits; without rules, whoever the strip's name begins with."""
    rules = scene.diffposetalk_workflow.speakers
    for rule in rules:
        fits = {
            "CHANNEL": strip.channel == rule.channel,
            "NAME": fnmatch.fnmatchcase(strip.name.lower(), rule.pattern.lower()),
            "COLOR": rule.color != "NONE" and strip.color_tag == rule.color,
        }[rule.by]
        if fits and rule.object is not None:
            return rule.object
    if len(rules):
        return None
    named = [
        item
        for item in scene.objects
        if item.type == "MESH" and strip.name.lower().startswith(item.name.lower())
    ]
    return max(named, key=lambda item: len(item.name)) if named else None


def audio_digest(path: str) -> str:
    """SHA-256 of a sound file. Raises UserError."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"The audio file “{path}” cannot be read: {error}.") from error
    return digest.hexdigest()


def line_key(line: DialogueLine, settings: GenerationSettings, seed: int) -> str:
    """What a line's motion depends on, as a digest: its sound, the part of it, and the settings."""
    content = {
        "audio": audio_digest(line.span.path),
        "start": round(line.span.start, 6),
        "seconds": None if line.span.seconds is None else round(line.span.seconds, 6),
        "seed": seed,
        "style": settings.style,
        "sampling": [
            settings.quality,
            settings.speech_guidance,
            settings.style_guidance,
            settings.sampler,
            settings.steps,
        ],
        "head": settings.head_motion and settings.head_strength > 0,
        "model": str(settings.model_directory),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


class DialogueJob(GenerationJob):
    """Generating a scene's dialogue.

    takes: when done, the takes' first Actions by speaker.
    made, kept: numbers of lines that were generated and that were as before.
    left_out: strips that were not used, and why.
    """

    one_recording_each = False

    def __init__(
        self,
        scene: bpy.types.Scene,
        lines: Sequence[DialogueLine],
        settings: GenerationSettings,
        only_changed: bool = True,
        left_out: Sequence[str] = (),
    ) -> None:
        """Check, find what was made before, and start.

        Raises:
            UserError: there are no lines, or a speaker cannot be keyed.
            BackendError: the backend cannot be started.
        """
        if not lines:
            reasons = f": {'; '.join(left_out)}" if left_out else ""
            raise UserError(f"There is no line to speak{reasons}.")
        if len(settings.seeds) != 1:
            settings = replace(settings, seeds=settings.seeds[:1])
        self.left_out = list(left_out)
        self.takes: list[bpy.types.Action] = []
        speeches = [Speech(line.span, (line.speaker,), False) for line in lines]
        super().__init__(scene, speeches, settings)
        self._lines = [(line.strip, line_key(line, settings, settings.seeds[0])) for line in lines]
        self._known: dict[str, Motion] = {}
        if only_changed:
            for speaker in {line.speaker for line in lines}:
                self._known.update(_made_before(speaker))
        wanted = {key for _, key in self._lines}
        self._known = {key: motion for key, motion in self._known.items() if key in wanted}
        self.kept = sum(key in self._known for _, key in self._lines)
        self.made = len(self._lines) - self.kept

    def _run(self) -> Steps:
        fresh = [index for index, (_, key) in enumerate(self._lines) if key not in self._known]
        generated: dict[int, Generated] = {}
        if fresh:
            yield from self._wait_for(self._backend().greeting)
            basis = yield from self._load_model()
            for index in fresh:
                generated[index] = yield from self._generate(index, basis)
        self.text = "Keying"
        yield
        self._key_lines(generated)

    def _key_lines(self, generated: dict[int, Generated]) -> None:
        """Write one take for each speaker, or nothing."""
        scene = next((s for s in bpy.data.scenes if s.session_uid == self._scene), None)
        if scene is None:
            raise UserError("The scene was removed while its motion was made.")
        fps = audio_strip.frames_per_second(scene)
        by_speaker: dict[tuple[int, ...], list[tuple[float, Motion, dict[str, Any]]]] = {}
        for index, ((speech, uids), (strip, key)) in enumerate(zip(self._speeches, self._lines, strict=True)):
            motion = generated[index].takes[0] if index in generated else self._known[key]
            told = {
                "strip": strip,
                "key": key,
                "frame": speech.span.frame,
                "audio": speech.span.path,
                "raw": motion_to_text(motion),
            }
            by_speaker.setdefault(uids, []).append((speech.span.frame / fps, motion, told))
        performances, first_frames = [], []
        for uids, parts in by_speaker.items():
            parts.sort(key=lambda part: part[0])
            together = joined([(at, motion) for at, motion, _ in parts])
            source = {"lines": [told for _, _, told in parts], "seed": self.settings.seeds[0]}
            found = tuple(targets_of(objects_of(uids)))
            first = parts[0][0] * fps
            title = f"{scene.name} dialogue · {len(parts)} lines (seed {self.settings.seeds[0]})"
            performances.append(
                Performance(found, (Take(timed(together, fps), title, together, source),), first)
            )
            first_frames.append(first)
        strength = self.settings.head_strength if self.settings.head_motion else 0.0
        actions = key_performances(performances, self.settings.head_bone, strength, self.settings.parts)
        self.takes = [by_take[0] for (by_take,) in actions]
        for performance in performances:
            end = last_frame(performance.takes[0].motion, performance.start_frame)
            scene.frame_end = max(scene.frame_end, end)


def _made_before(speaker: bpy.types.Object) -> dict[str, Motion]:
    """The lines of a speaker's takes by their keys."""
    found: dict[str, Motion] = {}
    owner = takes.target_of(speaker).owner
    for action in take_data.takes_of(owner):
        for line in take_data.source_of(action.diffposetalk).get("lines", []):
            found[line["key"]] = motion_from_text(line["raw"])
    return found


def joined(parts: Sequence[tuple[float, Motion]]) -> Motion:
    """Lines at their times as one motion; between them the face comes to rest and the head goes over.

    Args:
        parts: (seconds, motion) in time. A line that begins before the one before has ended cuts it off.

    Returns:
        Motion at 25 frames per second whose first frame is at the first line's time.
    """
    begin = parts[0][0]
    first = parts[0][1]
    spans: list[tuple[int, Motion]] = []
    for seconds, motion in parts:
        at = (seconds - begin) * FPS
        index = int(np.ceil(at - 1e-6))
        spans.append((index, timed(motion, FPS, subframe=index - at)))
    count = max(index + len(motion.exp) for index, motion in spans)
    exp = np.zeros((count, first.exp.shape[1]), np.float32)
    head, jaw = np.zeros((count, 3)), np.zeros((count, 3))
    ends = []
    for number, (index, motion) in enumerate(spans):
        end = index + len(motion.exp)
        if number + 1 < len(spans):
            end = min(end, spans[number + 1][0])
        length = max(0, end - index)
        exp[index:end], head[index:end], jaw[index:end] = (
            motion.exp[:length],
            motion.head[:length],
            motion.jaw[:length],
        )
        ends.append(end)
    for end, (following, _) in zip(ends[:-1], spans[1:], strict=True):
        gap = following - end
        if gap <= 0 or end == 0:
            continue
        t = (np.arange(gap) + 1) / (gap + 1)
        fade = FADE_SECONDS * FPS
        down = _smooth(np.clip((np.arange(gap) + 1) / min(fade, gap / 2 + 0.5), 0, 1))[:, None]
        up = _smooth(np.clip((gap - np.arange(gap)) / min(fade, gap / 2 + 0.5), 0, 1))[:, None]
        for values in (exp, jaw):
            values[end:following] = values[end - 1] * (1 - down) + values[following] * (1 - up)
        over = _smooth(t)[:, None]
        head[end:following] = head[end - 1] * (1 - over) + head[following] * over
    provenance = {**first.provenance, "lines": len(parts)}
    return Motion(exp, head, jaw, FPS, first.basis, first.expression_names, provenance)


def _smooth(t: np.ndarray) -> np.ndarray:
    return t * t * (3 - 2 * t)
