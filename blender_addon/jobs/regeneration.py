# SPDX-License-Identifier: GPL-3.0-or-later
"""A range of a take generated again, as a job that is polled; the result is a take of its own.

What stands outside the range, the groups of channels that are held and the keys that were made by hand are given
to the model, which joins to them; they come back as they were. Of a dialogue's take each line in the range is made
again from its own recording; a pause that follows a line whose end is made again goes over from its new end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.translations import pgettext_rpt as rpt_

from ..data import bundled
from ..data.errors import UserError
from ..data.generation_options import GenerationOptions
from ..data.motion import Motion, read_motion, write_motion
from ..engine.job import BackendJob, Steps
from ..faces.targets import Target
from ..takes import audio_strip, record, showing
from ..takes.record import KeyedAs
from ..takes.spoken_lines import SpokenLine, spoken_lines, store_source, with_motions
from . import generation

GROUPS = ("lips", "brows", "eyes", "head")
FACE = frozenset(GROUPS) - {"head"}


@dataclass(frozen=True)
class RangeRequest:
    """What of a take is to be made again.

    first_frame, last_frame: of the scene, both made again. Where the scene's frames are not the motion's, up to two
        frames on either side lie between one that stands and one that is new.
    seeds: one take each.
    hold: those of GROUPS that stay as they are.
    hold_hand_made: whether keys made by hand are given to the model, so that it joins to them; they stay as they
        are in any case.
    """

    first_frame: float
    last_frame: float
    seeds: tuple[int, ...] = (0,)
    hold: frozenset[str] = frozenset()
    hold_hand_made: bool = True


@dataclass(frozen=True)
class LinePart:
    """Frames `start` to `stop` (exclusive) of a line's own motion, and the line's place in the take."""

    number: int
    line: SpokenLine
    start: int
    stop: int


class RegenerationJob(BackendJob):
    """Regenerating a range of the take that an object shows.

    results: when done, the new takes' first Actions.
    """

    def __init__(self, item: bpy.types.Object, request: RangeRequest, device: str = "auto") -> None:
        """Check what can be checked without the backend, and start.

        Raises:
            UserError: the object shows no take, the take was not generated here, its recording is gone, or no speech
                of it is in the range.
            BackendError: the backend cannot be started.
        """
        target = showing.target_of(item)
        action = showing.shown_take(target.owner, target)
        if action is None:
            raise UserError(f"“{item.name}” shows no take. Choose one under Takes.")
        self.request, self.device = request, device
        lines = spoken_lines(action)
        if not lines:
            raise UserError(
                "This take was not made from a recording: it was imported or captured, and there is no speech to make "
                "a part of it from. Only takes of Generate and Generate Dialogue can be made again in part."
            )
        unknown = request.hold - set(GROUPS)
        if unknown:
            raise UserError(f"The groups to hold are {', '.join(GROUPS)}, not “{sorted(unknown)[0]}”.")
        if not request.seeds:
            raise UserError("At least one seed is needed: each makes a take.")
        raw, keyed = showing.raw_motion(action), record.read_keyed(action.diffposetalk)
        held_groups(request.hold, raw.basis)
        self.start, self.stop = clip_range(raw, keyed, action.diffposetalk.time_offset, request)
        self.parts = parts_of_range(lines, self.start, self.stop)
        if not self.parts:
            raise UserError(
                f"Nobody speaks from frame {request.first_frame:g} to {request.last_frame:g}: the motion between lines "
                "goes over from one to the next. Choose a range that reaches into a line."
            )
        for part in self.parts:
            audio_strip.check_audio_path(part.line.source["audio"])
        super().__init__(rpt_("Starting the backend"))
        self.results: list[bpy.types.Action] = []
        self._item, self._action = item.session_uid, action.diffposetalk.id
        self._backend()

    def _standing(self) -> tuple[bpy.types.Action, Target]:
        """The take and its character, which undo may have replaced. Raises UserError."""
        [item] = generation.objects_of([self._item])
        target = showing.target_of(item)
        for action in record.takes_of(target.owner):
            if action.diffposetalk.id == self._action:
                return action, target
        raise UserError("The take was removed while a part of it was made. Nothing was keyed.")

    def _run(self) -> Steps:
        by_line: dict[int, list[Motion]] = {}  # in the order of the seeds
        for done, part in enumerate(self.parts):
            source = part.line.source
            directory = Path(source.get("model") or bundled.MODEL_DIRECTORY)
            loaded = yield from self.load_model(directory, self.device)
            action, target = self._standing()
            heads = yield from generation.heads_between(self, [target], loaded["basis"])
            raw, hold = self._given(action, target, part, loaded.get("channel_groups", {}))
            of = f" ({done + 1}/{len(self.parts)})" if len(self.parts) > 1 else ""
            self.text = rpt_("Making the motion") + of
            shape = generation.shape_file(target.mesh, self._folder) if heads is None else None
            options = GenerationOptions.from_params({**source, "quality": "final"})
            options = replace(options, seeds=self.request.seeds, shape=shape)
            params: dict[str, Any] = {
                "audio": (yield from self.readable(source["audio"])),
                "motion": str(write_motion(self._folder / f"standing-{done}.npz", raw)),
                "output_dir": str(self._folder / f"takes-{done}"),
                "start": part.start,
                "stop": part.stop,
                "hold": hold,
                "audio_start": source.get("audio_start", 0.0),
                "audio_seconds": source.get("audio_seconds"),
                **options.to_params(),
                **({"heads": heads} if heads is not None else {}),
            }
            low, high = (0.1 + 0.9 * number / len(self.parts) for number in (done, done + 1))
            on_notice = partial(self.show_progress, low=low, high=high)
            answer = yield from self.ask("regenerate", params, on_notice=on_notice)
            motions = [read_motion(take["path"]) for take in answer["takes"]]
            by_line[part.number] = [spliced(part.line.raw, new, part.start, part.stop) for new in motions]
        self.text = rpt_("Keying")
        yield
        action, target = self._standing()
        before, first = showing.raw_motion(action), self.request.first_frame
        for number, seed in enumerate(self.request.seeds):
            source, together = with_motions(action, {line: again[number] for line, again in by_line.items()})
            title = f"{action.name.partition(' · from')[0]} · from {first:g} (seed {seed})"
            motion = spliced(before, together, self.start, self._last_change(spoken_lines(action)))
            take = showing.duplicate(action, target, title, motion)
            store_source(take, source)
            self.results.append(take)
        showing.show_take(self.results[0], target)

    def _last_change(self, lines: Sequence[SpokenLine]) -> int:
        """The frame of the take's motion before which it changes: after the pause where a line's end was made again."""
        last = self.parts[-1]
        following = lines[last.number + 1 :] if last.stop == last.line.frames else ()
        return max([self.stop, *(line.first for line in following[:1])])

    def _given(
        self, action: bpy.types.Action, target: Target, part: LinePart, groups: dict[str, list[str]]
    ) -> tuple[Motion, list[dict[str, Any]]]:
        """A line's motion with what was made by hand in it, and what to hold."""
        raw = part.line.raw
        held = held_groups(self.request.hold, raw.basis)  # in the whole range
        hold: list[dict[str, Any]] = [{"groups": held}] if held else []
        if not self.request.hold_hand_made:
            return raw, hold
        keyed = record.read_keyed(action.diffposetalk)
        exp = np.array(raw.exp, np.float32)
        names = list(raw.expression_names)
        of_channel = {name: group for group, members in groups.items() for name in members}
        others = "lips" if raw.basis == "arkit" else "expression"
        offset = action.diffposetalk.time_offset
        for edit in showing.hand_edits(action, target):
            frame = round(clip_frame(raw, keyed, offset, edit.frame) - part.line.at)
            if not 0 <= frame < len(exp):
                continue
            if edit.channel in names:
                column = names.index(edit.channel)
                changed = exp[frame, column] + edit.change
                exp[frame, column] = np.clip(changed, 0.0, 1.0) if raw.basis == "arkit" else changed
            group = "head" if edit.channel == "head" else of_channel.get(edit.channel, others)
            if raw.basis != "arkit" and group in FACE:  # a converted take of a model with other groups
                group = others
            if part.start <= frame < part.stop and group not in held:
                hold.append({"groups": [group], "start": frame, "stop": frame + 1})
        return replace(raw, exp=exp), hold


def held_groups(hold: frozenset[str], basis: str) -> list[str]:
    """Some of GROUPS as the backend calls them in an expression basis.

    Raises:
        UserError: a part of the face is to be held in FLAME's basis, whose components each move all of it.
    """
    if basis == "arkit":
        return sorted(hold)
    face = hold & FACE
    if face and face != FACE:
        raise UserError(
            "This take is in FLAME's basis, whose expressions each move the whole face: hold Lips, Brows and Eyes "
            "together, or only the Head."
        )
    return (["expression", "jaw"] if face else []) + (["head"] if "head" in hold else [])


def parts_of_range(lines: Sequence[SpokenLine], start: int, stop: int) -> list[LinePart]:
    """What of lines lies in frames `start` to `stop` (exclusive) of their take's motion, in the lines' own frames."""
    parts = []
    for number, line in enumerate(lines):
        first, last = max(0, start - line.first), min(line.frames, stop - line.first)
        if first < last:
            parts.append(LinePart(number, line, first, last))
    return parts


def spliced(before: Motion, new: Motion, start: int, stop: int) -> Motion:
    """A motion that is `new` in frames `start` to `stop` (exclusive), and `before` in the others."""

    def of(name: str) -> np.ndarray:
        values = np.array(getattr(before, name))
        values[start:stop] = getattr(new, name)[start:stop]
        return values

    return replace(before, exp=of("exp"), head=of("head"), jaw=of("jaw"), provenance=new.provenance)


def clip_frame(raw: Motion, keyed: KeyedAs, offset: float, frame: float) -> float:
    """The frame of a take's motion that the scene shows at `frame`."""
    return ((frame - keyed.start_frame) / keyed.fps - offset) / keyed.stretch * raw.fps


def clip_range(raw: Motion, keyed: KeyedAs, offset: float, request: RangeRequest) -> tuple[int, int]:
    """The frames of a take's motion that a range of the scene shows, the last one exclusive. Raises UserError."""
    ends = [clip_frame(raw, keyed, offset, frame) for frame in (request.first_frame, request.last_frame)]
    start, stop = max(0, round(ends[0])), min(len(raw.exp), round(ends[1]) + 1)
    if stop <= start:
        last = keyed.start_frame + raw.seconds * keyed.stretch * keyed.fps
        raise UserError(
            f"Frames {request.first_frame:g} to {request.last_frame:g} are not part of the take, which goes from "
            f"{keyed.start_frame:g} to {last:g}."
        )
    return start, stop
