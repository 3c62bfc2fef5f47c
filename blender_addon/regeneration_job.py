# SPDX-License-Identifier: GPL-3.0-or-later
"""A range of a take generated again, as a job that is polled; the result is a take of its own.

What stands outside the range, the groups of channels that are held and the keys that were made by hand are given
to the model, which joins to them; they come back as they were.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import audio_strip, generation_job, take_data, takes
from .backend_job import BackendJob, Steps, private_folder
from .errors import UserError
from .motion import Motion, read_motion, write_motion
from .motion_text import motion_from_text
from .take_data import KeyedAs
from .targets import Target

GROUPS = ("lips", "brows", "eyes", "head")
SAMPLING = ("speech_guidance", "style_guidance", "sampler", "steps")


@dataclass(frozen=True)
class RangeRequest:
    """What of a take is to be made again.

    first_frame, last_frame: of the scene, both made again.
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


class RegenerationJob(BackendJob):
    """Regenerating a range of the take that an object shows.

    results: when done, the new takes' first Actions.
    """

    def __init__(self, item: bpy.types.Object, request: RangeRequest, device: str = "auto") -> None:
        """Check what can be checked without the backend, and start.

        Raises:
            UserError: the object shows no take, the take was not generated here, its recording is gone, or the range
                lies outside it.
            BackendError: the backend cannot be started.
        """
        target = takes.target_of(item)
        action = takes.shown_take(target.owner, target)
        if action is None:
            raise UserError(f"“{item.name}” shows no take. Choose one under Takes.")
        self.request, self.device = request, device
        self.source = take_data.source_of(action.diffposetalk)
        raw, keyed = takes.raw_motion(action), take_data.read_keyed(action.diffposetalk)
        if not self.source.get("audio") or "conversion_residual_mm" in raw.provenance:
            raise UserError(
                "This take does not say what recording and model it was made with, or was converted to another "
                "basis. Only a take made by Generate in its model's own basis can be made again in part."
            )
        unknown = request.hold - set(GROUPS)
        if unknown:
            raise UserError(f"The groups to hold are {', '.join(GROUPS)}, not “{sorted(unknown)[0]}”.")
        if not request.seeds:
            raise UserError("At least one seed is needed: each makes a take.")
        audio_strip.check_audio_path(self.source["audio"])
        self.start, self.stop = clip_range(raw, keyed, action.diffposetalk.time_offset, request)
        super().__init__("Starting the backend")
        self.results: list[bpy.types.Action] = []
        self._item, self._action = item.session_uid, action.diffposetalk.id
        self._backend()
        self._folder = private_folder()

    def _tidy_up(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _standing(self) -> tuple[bpy.types.Action, Target]:
        """The take and its character, which undo may have replaced. Raises UserError."""
        item = next((o for o in bpy.data.objects if o.session_uid == self._item), None)
        if item is None:
            raise UserError("The object was removed while its motion was made. Nothing was keyed.")
        target = takes.target_of(item)
        for action in take_data.takes_of(target.owner):
            if action.diffposetalk.id == self._action:
                return action, target
        raise UserError("The take was removed while a part of it was made. Nothing was keyed.")

    def _run(self) -> Steps:
        directory = Path(self.source.get("model") or generation_job.presets.MODEL_DIRECTORY)
        told = yield from generation_job.load_model(self, directory, self.device)
        groups: dict[str, list[str]] = told.get("channel_groups", {})
        action, target = self._standing()
        raw, hold = self._given(action, target, groups)
        self.text = "Making the motion"
        params: dict[str, Any] = {
            "audio": self.source["audio"],
            "motion": str(write_motion(self._folder / "standing.npz", raw)),
            "output_dir": str(self._folder / "takes"),
            "start": self.start,
            "stop": self.stop,
            "seeds": list(self.request.seeds),
            "hold": hold,
            "audio_start": self.source.get("audio_start", 0.0),
            "audio_seconds": self.source.get("audio_seconds"),
            "style": self.source.get("style"),
            **{name: self.source[name] for name in SAMPLING if self.source.get(name) is not None},
        }

        def on_notice(method: str, told: dict[str, Any]) -> None:
            if method == "progress" and not self.cancelling:
                self.progress = 0.1 + 0.9 * min(1.0, told["done"] / max(1, told["total"]))

        answer = yield from self.ask("regenerate", params, on_notice=on_notice)
        made = [(int(take["seed"]), read_motion(take["path"])) for take in answer["takes"]]
        self.text = "Keying"
        yield
        action, target = self._standing()
        first = self.request.first_frame
        for seed, motion in made:
            title = f"{action.name.partition(' · from')[0]} · from {first:g} (seed {seed})"
            self.results.append(takes.duplicate(action, target, title, motion))
        takes.show_take(self.results[0], target)

    def _given(
        self, action: bpy.types.Action, target: Target, groups: dict[str, list[str]]
    ) -> tuple[Motion, list[dict[str, Any]]]:
        """The take's motion with what was made by hand in it, and what to hold."""
        raw = motion_from_text(action.diffposetalk.raw)
        hold: list[dict[str, Any]] = []
        if self.request.hold:
            hold.append({"groups": sorted(self.request.hold)})
        if not self.request.hold_hand_made:
            return raw, hold
        keyed = take_data.read_keyed(action.diffposetalk)
        exp = np.array(raw.exp, np.float32)
        names = list(raw.expression_names)
        of_channel = {name: group for group, members in groups.items() for name in members}
        offset = action.diffposetalk.time_offset
        for edit in takes.hand_edits(action, target):
            frame = round(clip_frame(raw, keyed, offset, edit.frame))
            if not 0 <= frame < len(exp):
                continue
            if edit.channel in names:
                column = names.index(edit.channel)
                exp[frame, column] = np.clip(exp[frame, column] + edit.change, 0.0, 1.0)
            group = of_channel.get(edit.channel, "head" if edit.channel == "head" else "lips")
            if self.start <= frame < self.stop and group not in self.request.hold and group in groups:
                hold.append({"groups": [group], "start": frame, "stop": frame + 1})
        return replace(raw, exp=exp), hold


def clip_frame(raw: Motion, keyed: KeyedAs, offset: float, frame: float) -> float:
    """The frame of a take's motion that the scene shows at `frame`."""
    return ((frame - keyed.start_frame) / keyed.fps - offset) / keyed.stretch * raw.fps


def clip_range(raw: Motion, keyed: KeyedAs, offset: float, request: RangeRequest) -> tuple[int, int]:
    """The frames of a take's motion that a range of the scene shows, the last one exclusive. Raises UserError."""
    ends = [clip_frame(raw, keyed, offset, frame) for frame in (request.first_frame, request.last_frame)]
    start, stop = max(0, int(np.floor(ends[0] + 1e-6))), min(len(raw.exp), int(np.ceil(ends[1] - 1e-6)) + 1)
    if stop <= start:
        last = keyed.start_frame + raw.seconds * keyed.stretch * keyed.fps
        raise UserError(
            f"Frames {request.first_frame:g} to {request.last_frame:g} are not part of the take, which goes from "
            f"{keyed.start_frame:g} to {last:g}."
        )
    return start, stop


def groups_held(flags: Sequence[bool]) -> frozenset[str]:
    """Names of the groups whose switches are on, in the order of GROUPS."""
    return frozenset(name for name, on in zip(GROUPS, flags, strict=True) if on)
