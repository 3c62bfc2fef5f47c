# SPDX-License-Identifier: GPL-3.0-or-later
"""The finished part of a take on the timeline while the rest is computed.

What is shown meanwhile is taken back before the take itself is keyed, and after an error or cancelling: nothing of it
stays. Data-blocks are looked up by their session ids each time, because undo may replace them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import bpy
import numpy as np

from ..data.errors import UserError
from ..data.motion import Motion, read_motion, resample_motion
from ..faces.character import Curve
from ..faces.targets import Target
from . import audio_strip, keying
from .rollback import Place, Shown, animated_blocks, show_again, shown_by

NAME = "being generated"
TICK_SECONDS = 0.004  # of work at a time; a curve that was begun is finished
CONTEXT = 4  # frames before a window that its curves between frames depend on


class Preview:
    """Shows the windows of a take as they come.

    Every key is written once, by `advance`: a little at a time, however long the take has grown.
    """

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
        self._windows: list[tuple[str, int]] = []  # that wait: file and first frame
        self._frames = 0  # of the motion that were read
        self._next = 0  # frame of the scene, from the start on, up to which curves are known
        self._tail: Motion | None = None
        self._waiting: dict[tuple[int, str, int], list[tuple[int, Curve]]] = {}  # by data-block and place
        self._before: dict[int, Shown] = {}
        self._shown: dict[int, int] = {}  # data-block to preview Action, by session ids

    def add(self, path: str, start: int) -> None:
        """Have a further window shown; one that does not follow on the last is left out."""
        self._windows.append((path, start))

    def advance(self) -> None:
        """Show more of the windows that wait, for `TICK_SECONDS`."""
        deadline = time.monotonic() + TICK_SECONDS
        try:
            while (self._waiting or self._windows) and time.monotonic() < deadline:
                if self._waiting:
                    self._write(deadline)
                else:
                    self._read(*self._windows.pop(0))
        except UserError:
            self.end()  # an object is gone: the job itself will say so

    def _read(self, path: str, start: int) -> None:
        window = read_motion(path)
        if start != self._frames:
            return
        piece = window if self._tail is None else _joined(self._tail, window)
        first = start - (len(piece.exp) - len(window.exp))  # the piece's own first frame
        self._frames += len(window.exp)
        self._tail = _last(piece, CONTEXT)
        rate = self._fps / piece.fps
        frame = int(np.ceil(first * rate - 1e-6))
        motion = resample_motion(piece, self._fps, subframe=frame - first * rate)
        end = int((self._frames - 1) * rate + 1e-6) + 1
        new = slice(self._next - frame, end - frame)
        for target in self._targets():
            for block, _, curves in keying.take_curves(target, motion, *self._keyed):
                if block.library is None:
                    self._show(block, [(curve.data_path, curve.index) for curve in curves])
                    for curve in curves:
                        place = block.session_uid, curve.data_path, curve.index
                        part = replace(curve, values=curve.values[new])
                        self._waiting.setdefault(place, []).append((self._next, part))
        self._next = end

    def _show(self, block: bpy.types.ID, places: Sequence[Place]) -> None:
        """Let a data-block show an Action that is still empty, if it does not yet."""
        uid = block.session_uid
        if uid in self._shown:
            return
        self._before[uid] = shown_by(block, places)
        animation = block.animation_data or block.animation_data_create()
        action = keying.write_action(NAME, block, (), self._start)
        action.use_fake_user = False
        animation.action = action
        if keying.SLOTTED:
            animation.action_slot = action.slots[0]
        self._shown[uid] = action.session_uid

    def _write(self, deadline: float) -> None:
        containers: dict[int, Any] = {}
        for action in bpy.data.actions:
            if action.session_uid in self._shown.values():
                containers[action.session_uid] = next(keying.curve_containers(action))
        while self._waiting and time.monotonic() < deadline:
            place = next(iter(self._waiting))
            parts = self._waiting.pop(place)
            container = containers.get(self._shown[place[0]])
            if container is None:  # it was undone, or removed
                continue
            for frame, curve in parts:
                keying.append_keys(container, curve, self._start + frame)

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
        self._waiting.clear()
        self._windows.clear()


def _joined(first: Motion, second: Motion) -> Motion:
    return replace(
        first,
        exp=np.concatenate([first.exp, second.exp]),
        head=np.concatenate([first.head, second.head]),
        jaw=np.concatenate([first.jaw, second.jaw]),
    )


def _last(motion: Motion, count: int) -> Motion:
    return replace(motion, exp=motion.exp[-count:], head=motion.head[-count:], jaw=motion.jaw[-count:])


def _remove(uid: int | None) -> None:
    action = next((a for a in bpy.data.actions if a.session_uid == uid), None)
    if action is not None:
        bpy.data.actions.remove(action)
