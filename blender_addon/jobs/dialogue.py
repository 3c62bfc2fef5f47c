# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole scene's dialogue from the sequencer: every sound strip spoken by its character, at its place.

All lines of a character become one take a seed. A line that was made before, from the same sound with the same
settings and seed, is not made again.
"""

import fnmatch
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..client import BackendError
from ..data.content_digest import content_digest, model_digest
from ..data.errors import UserError
from ..data.motion import resample_motion
from ..data.motion_text import motion_from_text, motion_to_text
from ..engine.job import Steps
from ..faces.rig import SHAPE_MARK
from ..faces.targets import Target
from ..takes import audio_strip, heard, record, showing
from ..takes.audio_strip import AudioSpan
from ..takes.keying import Assignment, Take, key_takes, last_frame
from ..takes.record import FPS
from ..takes.spoken_lines import joined, store_source
from .generation import (
    GenerationJob,
    GenerationSettings,
    Speech,
    check_speeches,
    objects_of,
    remarks,
    scene_of,
)


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
            showing.target_of(speaker)
            span = audio_strip.span_of_strip(strip, scene)
            audio_strip.check_audio_path(span.path)
        except UserError as error:
            left_out.append(f"“{strip.name}”: {str(error).rstrip('.')}")
            continue
        lines.append(DialogueLine(strip.name, span, speaker))
    return lines, left_out


def overlaps(lines: Sequence[DialogueLine], fps: float) -> list[str]:
    """Sentences about lines of one speaker, given in time, that begin before the one before has ended.

    Args:
        fps: frames per second of the lines' scene.
    """
    texts = []
    last: dict[bpy.types.Object, DialogueLine] = {}
    for line in lines:
        owner = showing.target_of(line.speaker).owner
        before = last.get(owner)
        if before is not None and before.span.seconds is not None:
            over = before.span.frame + before.span.seconds * fps - line.span.frame
            if over >= 0.5:
                texts.append(
                    f"“{before.strip}” and “{line.strip}” of “{line.speaker.name}” overlap by {over:.0f} frames: the "
                    "first one is cut off"
                )
        last[owner] = line
    return texts


def _speaker(scene: bpy.types.Scene, strip: Any) -> bpy.types.Object | None:
    """Who speaks a strip: by the first rule that fits; without rules, whoever the strip's name begins with."""
    rules, name = scene.diffposetalk_workflow.speakers, strip.name.lower()
    for rule in rules:
        fits = {
            "CHANNEL": strip.channel == rule.channel,
            "NAME": fnmatch.fnmatchcase(name, rule.pattern.lower()),
            "COLOR": rule.color != "NONE" and strip.color_tag == rule.color,
        }[rule.by]
        if fits and rule.object is not None:
            return rule.object
    if len(rules):
        return None
    meshes = (item for item in scene.objects if item.type == "MESH")
    named = [item for item in meshes if name.startswith(item.name.lower())]
    return max(named, key=lambda item: len(item.name), default=None)


def line_keys(line: DialogueLine, settings: GenerationSettings) -> dict[int, str]:
    """What a line's motion depends on, as a digest for each seed: its sound, who speaks, the model and the options.

    Files count by what they hold, as in the backend's batches.

    Raises:
        UserError: a file cannot be read.
    """
    asked = settings.asked
    target, shape = showing.target_of(line.speaker), line.speaker.get(SHAPE_MARK)
    parts = [
        content_digest(line.span.path),
        round(line.span.start, 6),
        None if line.span.seconds is None else round(line.span.seconds, 6),
        [target.basis, target.head_file, None if shape is None else [float(value) for value in shape]],
        model_digest(settings.model_directory, asked.quality),
    ]
    texts = {seed: json.dumps([*parts, replace(asked, seeds=(seed,)).key()]) for seed in asked.seeds}
    return {seed: hashlib.sha256(text.encode()).hexdigest() for seed, text in texts.items()}


class DialogueJob(GenerationJob):
    """Generating a scene's dialogue.

    takes: when done, the first Actions of each speaker's takes, the shown one first, speaker after speaker.
    made, kept: numbers of lines that were generated, at least for some seeds, and that were as before.
    left_out: strips that were not used, and why.
    warnings: what the user should know about those that were.
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
        self.left_out = list(left_out)
        lines = self._usable(lines, settings)
        self.warnings = overlaps(lines, audio_strip.frames_per_second(scene))
        self.takes: list[bpy.types.Action] = []
        super().__init__(scene, [_speech(line) for line in lines], settings)
        self._lines = [(line.strip, line_keys(line, settings)) for line in lines]
        self._known: list[dict[int, dict[str, Any]]] = [{} for _ in lines]  # by line and seed
        speakers = {line.speaker for line in lines} if only_changed else set()
        before = {speaker: _made_before(speaker) for speaker in speakers}
        for line, (strip, keys), known in zip(lines, self._lines, self._known, strict=True):
            lines_before = before.get(line.speaker, {})
            for seed, key in keys.items():
                line_before = lines_before.get((strip, key)) or lines_before.get(("", key))
                if line_before is not None:
                    known[seed] = line_before
        self.kept = sum(len(known) == len(settings.options.seeds) for known in self._known)
        self.made = len(self._lines) - self.kept

    def _usable(self, lines: Sequence[DialogueLine], settings: GenerationSettings) -> list[DialogueLine]:
        """The lines that can be made; of the others it is told why. Raises UserError where there is none."""
        usable, failure = [], None
        for line in lines:
            try:
                check_speeches([_speech(line)], settings)
                usable.append(line)
            except UserError as error:
                failure = failure or error
                self._leave_out(line.strip, error)
        if failure is not None and not usable:
            raise failure
        return usable

    def _leave_out(self, strip: str, error: Exception) -> None:
        self.left_out.append(f"“{strip}”: {str(error).rstrip('.')}")

    def _run(self) -> Steps:
        if self.made:
            basis = yield from self._load_model()
            failure = None
            for index, known in enumerate(self._known):
                missing = [seed for seed in self.settings.options.seeds if seed not in known]
                if not missing:
                    continue
                try:
                    generated = yield from self._generate(index, basis, missing)
                except BackendError as error:
                    if not error.kind.startswith("audio_"):
                        raise
                    failure = error
                    self._leave_out(self._lines[index][0], error)
                    continue
                for seed, motion in zip(generated.seeds, generated.takes, strict=True):
                    known[seed] = {**generated.source, "seed": seed, "raw": motion_to_text(motion)}
            self._drop_unmade(failure)
        self.text = rpt_("Keying")
        yield
        self._key_lines()

    def _drop_unmade(self, failure: BackendError | None) -> None:
        """Go on without the lines whose recordings cannot be spoken. Raises `failure` where no line is left."""
        seeds = set(self.settings.options.seeds)
        rows = zip(self._speeches, self._lines, self._known, strict=True)
        complete = [row for row in rows if seeds <= row[2].keys()]
        if failure is not None and not complete:
            raise failure
        self.made -= len(self._lines) - len(complete)
        self._speeches, self._lines, self._known = map(list, zip(*complete, strict=True))

    def _key_lines(self) -> None:
        """Write the takes of each speaker, or nothing."""
        scene, settings = scene_of(self._scene), self.settings
        fps = audio_strip.frames_per_second(scene)
        by_speaker: dict[bpy.types.Object, list[tuple[float, dict[int, dict[str, Any]]]]] = {}
        lines_made = zip(self._speeches, self._lines, self._known, strict=True)
        for (speech, uids), (strip, keys), known in lines_made:
            by_seed = {seed: {**line, "strip": strip, "key": keys[seed]} for seed, line in known.items()}
            # A mesh and an armature may be the same character.
            [target] = showing.targets_of(objects_of(uids))
            by_speaker.setdefault(target.owner, []).append((speech.span.frame, by_seed))
        assignments = []
        for owner, lines in by_speaker.items():
            lines.sort(key=lambda line: line[0])
            first = lines[0][0]
            takes = []
            for number, seed in enumerate(settings.options.seeds, 1):
                timed = [{**by_seed[seed], "at": (frame - first) / fps * FPS} for frame, by_seed in lines]
                together = joined([(line["at"] / FPS, motion_from_text(line["raw"])) for line in timed])
                title = f"{scene.name} dialogue, {len(timed)} lines · take {number} (seed {seed})"
                source = {"lines": timed, "seed": seed}
                takes.append(Take(resample_motion(together, fps), title, together, source))
            assignments.append(Assignment((showing.target_of(owner),), tuple(takes), first))
        actions = key_takes(assignments, settings.head_bone, settings.strength, settings.parts)
        self.takes = [by_target[0] for by_take in actions for by_target in by_take]
        for assignment in assignments:
            self.warnings += remarks(assignment.targets, scene)
            end = last_frame(assignment.takes[0].motion, assignment.start_frame)
            scene.frame_end = max(scene.frame_end, end)
        heard.follow_takes()


def _speech(line: DialogueLine) -> Speech:
    return Speech(line.span, (line.speaker,), False)


def _made_before(speaker: bpy.types.Object) -> dict[tuple[str, str], dict[str, Any]]:
    """What is told of the lines of a speaker's takes by strip and key, and by their key alone, with "" for the strip.

    The shown take counts before the others.
    """
    target = showing.target_of(speaker)
    shown = showing.shown_take(target.owner, target)
    by_key: dict[tuple[str, str], dict[str, Any]] = {}
    for action in sorted(record.takes_of(target.owner), key=lambda action: action == shown):
        for line in record.source_of(action.diffposetalk).get("lines", []):
            by_key[(line["strip"], line["key"])] = by_key[("", line["key"])] = line
    return by_key


def line_at(action: bpy.types.Action, frame: float) -> dict[str, Any]:
    """What is told of the line of a dialogue's take that the scene shows at a frame, or has shown last.

    Raises:
        UserError: the take is not of a dialogue.
    """
    lines = record.source_of(action.diffposetalk).get("lines", [])
    if not lines:
        raise UserError("This take is not of a dialogue: it has one recording. Choose among its takes.")
    keyed = record.read_keyed(action.diffposetalk)
    at = (frame - keyed.start_frame) / keyed.fps / keyed.stretch * FPS
    return next((line for line in reversed(lines) if line["at"] <= at + 1e-3), lines[0])


def step_line(action: bpy.types.Action, target: Target, frame: float) -> tuple[bpy.types.Action, str]:
    """Let the line at a frame be that of the next seed it was made with; the other lines stay.

    The takes as they were generated are kept: the first change makes a take of its own, which later ones change.

    Returns:
        The shown take, and what was done.

    Raises:
        UserError: the take is not of a dialogue, or the line was made with one seed only.
    """
    line = line_at(action, frame)
    same = ("strip", "audio", "audio_start", "audio_seconds")
    variants: dict[int, dict[str, Any]] = {}
    for other in record.takes_of(target.owner):
        for candidate in record.source_of(other.diffposetalk).get("lines", []):
            if all(candidate.get(name) == line.get(name) for name in same):
                variants.setdefault(candidate["seed"], candidate)
    if len(variants) < 2:
        raise UserError(
            f"“{line['strip']}” was made with one seed only. Generate the dialogue with more takes."
        )
    seeds = sorted(variants)
    seed = seeds[(seeds.index(line["seed"]) + 1) % len(seeds)]
    source = record.source_of(action.diffposetalk)
    at = source["lines"].index(line)
    source["lines"][at] = {**variants[seed], "at": line["at"]}
    together = joined([(line["at"] / FPS, motion_from_text(line["raw"])) for line in source["lines"]])
    if source.get("chosen"):
        showing.apply(action, raw=together)
    else:
        title = f"{action.name.partition(' · take')[0]} · chosen lines"
        action = showing.duplicate(action, target, title, together)
        showing.show_take(action, target)
    store_source(action, {**source, "chosen": True})
    return action, f"“{line['strip']}” as of seed {seed}"
