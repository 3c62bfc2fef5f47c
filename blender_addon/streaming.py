# SPDX-License-Identifier: GPL-3.0-or-later
"""The finished part of a take on the timeline while the rest is computed.

What is shown meanwhile is taken back before the take itself is keyed, and after an error or cancelling: nothing of it
stays. Data-blocks are looked up by their session ids each time, because undo may replace them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np

from . import audio_strip, keying
from .adjustment import timed
from .errors import UserError
from .motion import Motion, read_motion
from .targets import Target

NAME = "being generated"


@dataclass(frozen=True)
class Before:
    """What a data-block showed before: its Action and slot, and the values that the preview moves."""

    action: int | None  # session id
    slot: str
    blend: str
    values: tuple[tuple[str, int, float], ...]


class Preview:
    """Shows the windows of a take as they come."""

    def __init__(
        self,
        scene: bpy.types.Scene,
        targets: Callable[[], Sequence[Target]],
        start_frame: float,
        head_bone: str,
        strength: float,
        parts: frozenset[str],
    ) -> None:
        """Nothing is shown yet.

        Args:
            targets: finds what is keyed; called for each window.
        """
        self._fps = audio_strip.frames_per_second(scene)
        self._targets, self._start = targets, start_frame
        self._keyed = head_bone, strength, parts
        self._motion: Motion | None = None
        self._before: dict[int, Before] = {}
        self._shown: dict[int, int] = {}  # data-block to preview Action, by session ids

    def add(self, path: str, start: int) -> None:
        """Show a further window; one that does not follow on the last is left out."""
        try:
            window = read_motion(path)
            known = 0 if self._motion is None else len(self._motion.exp)
            if start != known:
                return
            self._motion = window if self._motion is None else _joined(self._motion, window)
            self._show(timed(self._motion, self._fps))
        except UserError:
            self.end()  # an object is gone: the job itself will say so

    def _show(self, motion: Motion) -> None:
        for target in self._targets():
            for block, _, curves in keying.take_curves(target, motion, *self._keyed):
                if block.library is not None:
                    continue
                uid = block.session_uid
                animation = block.animation_data or block.animation_data_create()
                if uid not in self._before:
                    self._before[uid] = _before(block, animation, curves)
                action = keying.write_action(NAME, block, curves, self._start)
                action.use_fake_user = False
                animation.action = action
                if keying.SLOTTED:
                    animation.action_slot = action.slots[0]
                old = self._shown.pop(uid, None)
                self._shown[uid] = action.session_uid
                _remove(old)

    def end(self) -> None:
        """Take back what is shown; again and again does no harm."""
        blocks = {block.session_uid: block for block in _blocks()}
        actions = {action.session_uid: action for action in bpy.data.actions}
        for uid, shown in self._shown.items():
            block = blocks.get(uid)
            if block is None or block.animation_data is None:
                continue
            animation, before = block.animation_data, self._before[uid]
            if animation.action is None or animation.action.session_uid != shown:
                continue  # someone chose another one meanwhile
            animation.action = actions.get(before.action) if before.action is not None else None
            if animation.action is not None and keying.SLOTTED and before.slot:
                animation.action_slot = next(
                    (slot for slot in animation.action.slots if slot.identifier == before.slot), None
                )
            animation.action_blend_type = before.blend
            for path, index, value in before.values:
                _set_value(block, path, index, value)
        for shown in self._shown.values():
            _remove(shown)
        self._shown.clear()


def _joined(first: Motion, second: Motion) -> Motion:
    return replace(
        first,
        exp=np.concatenate([first.exp, second.exp]),
        head=np.concatenate([first.head, second.head]),
        jaw=np.concatenate([first.jaw, second.jaw]),
    )


def _before(block: bpy.types.ID, animation: bpy.types.AnimData, curves: Iterable[Any]) -> Before:
    slot = getattr(animation, "action_slot", None)
    values = []
    for curve in curves:
        value = block.path_resolve(curve.data_path)
        values.append(
            (curve.data_path, curve.index, value if isinstance(value, int | float) else value[curve.index])
        )
    return Before(
        None if animation.action is None else animation.action.session_uid,
        "" if slot is None else slot.identifier,
        animation.action_blend_type,
        tuple(values),
    )


def _set_value(block: bpy.types.ID, path: str, index: int, value: float) -> None:
    """Set what a curve moved back to what it was."""
    owner, dot, name = path.rpartition(".")
    if path.endswith("]"):
        owner, _, name = path.rpartition("[")
        (block.path_resolve(owner) if owner else block)[name.rstrip("]").strip('"')] = value
        return
    holder = block.path_resolve(owner) if dot else block
    if isinstance(getattr(holder, name), int | float):
        setattr(holder, name, value)
    else:
        getattr(holder, name)[index] = value


def _blocks() -> Iterable[bpy.types.ID]:
    yield from bpy.data.shape_keys
    yield from bpy.data.objects


def _remove(uid: int | None) -> None:
    action = next((a for a in bpy.data.actions if a.session_uid == uid), None)
    if action is not None:
        bpy.data.actions.remove(action)
