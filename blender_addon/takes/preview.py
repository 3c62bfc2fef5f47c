# SPDX-License-Identifier: GPL-3.0-or-later
"""The finished part of a take on the timeline while the rest is computed.

What is shown meanwhile is taken back before the take itself is keyed, and after an error or cancelling: nothing of it
stays. Data-blocks are looked up by their session ids each time, because undo may replace them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import bpy
import numpy as np

from ..data.errors import UserError
from ..data.motion import Motion, read_motion, resample_motion
from ..faces.targets import Target
from . import audio_strip, keying
from .rollback import Shown, animated_blocks, show_again, shown_by

NAME = "being generated"


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
        self._before: dict[int, Shown] = {}
        self._shown: dict[int, int] = {}  # data-block to preview Action, by session ids

    def add(self, path: str, start: int) -> None:
        """Show a further window; one that does not follow on the last is left out."""
        try:
            window = read_motion(path)
            known = 0 if self._motion is None else len(self._motion.exp)
            if start != known:
                return
            self._motion = window if self._motion is None else _joined(self._motion, window)
            self._show(resample_motion(self._motion, self._fps))
        except UserError:
            self.end()  # an object is gone: the job itself will say so

    def _show(self, motion: Motion) -> None:
        for target in self._targets():
            for block, _, curves in keying.take_curves(target, motion, *self._keyed):
                if block.library is not None:
                    continue
                uid = block.session_uid
                if uid not in self._before:
                    self._before[uid] = shown_by(block, [(curve.data_path, curve.index) for curve in curves])
                animation = block.animation_data or block.animation_data_create()
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
        for block in animated_blocks():
            shown = self._shown.get(block.session_uid)
            animation = block.animation_data
            if shown is None or animation is None or animation.action is None:
                continue
            if animation.action.session_uid == shown:  # else someone chose another one meanwhile
                show_again(block, self._before[block.session_uid])
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


def _remove(uid: int | None) -> None:
    action = next((a for a in bpy.data.actions if a.session_uid == uid), None)
    if action is not None:
        bpy.data.actions.remove(action)
