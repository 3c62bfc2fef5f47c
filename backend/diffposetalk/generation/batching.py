# SPDX-License-Identifier: GPL-3.0-or-later
"""From recordings to motion clips, many side by side (paper sections 3.2 and 3.3.3).

A recording's windows follow one another, each from the end of the one before. To keep the device full, takes
and recordings run side by side: every round samples the next window of each line under way, and a line that
has ended makes room for the next. Speech is heard and motion written window by window, so that an hour takes
no more memory than a minute.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch

from ..errors import memory_ran_out
from ..motion.clip import MotionClip
from ..networks.device import device_errors, empty_cache, give_memory_back
from ..networks.model import DiffPoseTalk
from ..sound.audio import SpeechAudio
from .course import Course
from .line import Line
from .options import GenerationOptions
from .window import WindowSampler

OnProgress = Callable[[str, int, int], None]
"""(stage, done, total); stages are `speech` and `motion`."""
OnWindow = Callable[[int, int, MotionClip], None]
"""(take, first frame, clip) of frames that are final, as soon as they are: a window's, or those of it that a filter
over its end will not change any more; the others come with the next window."""

log = logging.getLogger(__name__)


def generate(
    model: DiffPoseTalk,
    audio: SpeechAudio,
    options: GenerationOptions | None = None,
    *,
    style: torch.Tensor | None = None,
    style_name: str = "",
    shape: torch.Tensor | None = None,
    on_progress: OnProgress | None = None,
    on_window: OnWindow | None = None,
    cancelled: Callable[[], bool] | None = None,
    **changes: Any,
) -> list[MotionClip]:
    """Generate one motion clip per seed.

    A take depends only on its seed and the settings, not on the other takes beside it.

    Args:
        options: how; `changes` are fields of it, as `steps=10`.
        style, style_name, shape: as of `Line`.
        cancelled: asked between network evaluations; True raises `Cancelled`.

    Raises:
        Cancelled: `cancelled` said so.
        DiffPoseTalkError: a setting is out of range, the motion is not finite, or the device has failed.
    """
    options = replace(options or GenerationOptions(), **changes)
    results = generate_lines(
        model,
        [Line(audio, options, style, style_name, shape)],
        on_progress=None if on_progress is None else lambda _, *progress: on_progress(*progress),
        on_window=None if on_window is None else lambda _, *window: on_window(*window),
        cancelled=cancelled,
    )
    [(_, clips)] = results
    return clips


def generate_lines(
    model: DiffPoseTalk,
    lines: Iterable[Line],
    *,
    on_progress: Callable[[int, str, int, int], None] | None = None,
    on_window: Callable[[int, int, int, MotionClip], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, list[MotionClip]]]:
    """Generate many lines together, `model.compute.rows` windows at a time.

    Args:
        lines: taken from the iterable as there is room for them, so it may be long or read from disk. Those that are
            sampled alike go through the network together.
        on_progress, on_window: as of `generate`, with the line's index first.
        cancelled: asked between network evaluations; True raises `Cancelled`.

    Yields:
        (index of the line, one clip per seed), each line as soon as it is finished.

    Raises:
        as `generate` does. When memory runs out, smaller batches are tried before that is an error.
    """
    sampler = WindowSampler(model, on_progress, on_window, cancelled)
    try:
        yield from _side_by_side(model, lines, sampler)
    finally:
        sampler.thread.shutdown(wait=False, cancel_futures=True)


def _side_by_side(
    model: DiffPoseTalk, lines: Iterable[Line], sampler: WindowSampler
) -> Iterator[tuple[int, list[MotionClip]]]:
    waiting = _courses(model, lines, sampler)
    active: list[Course] = []
    held: deque[Course] = deque()  # admitted already, put back because memory ran out
    limit = model.compute.rows
    collected: dict[int, dict[int, MotionClip]] = {}
    following = next(waiting, None)
    while active or held or following is not None:
        while True:
            course = held[0] if held else following
            if course is None:
                break
            if active and (
                course.solver != active[0].solver or sum(c.rows for c in [*active, course]) > limit
            ):
                break
            active.append(course)
            if held:
                held.popleft()
            else:
                following = next(waiting, None)
        try:
            sampler.sample_window(active)
        except (RuntimeError, MemoryError) as error:
            if not memory_ran_out(error) or sum(c.rows for c in active) == 1:
                with device_errors(model.device):
                    raise
            limit = max(1, sum(c.rows for c in active) // 2)
            log.warning("memory ran out: batches of at most %d windows from here on", limit)
            # Split and divided so that those active need at most so many rows.
            pieces = [piece for course in active for piece in course.split(limit)]
            active = []
            while pieces and sum(c.rows for c in active) + pieces[0].rows <= limit:
                active.append(pieces.pop(0))
            held = deque([*pieces, *held])
            empty_cache(model.device)
            continue
        for course in [c for c in active if c.finished]:
            active.remove(course)
            done = collected.setdefault(course.index, {})
            done.update(zip(course.takes, course.clips(), strict=True))
            if len(done) == len(course.line.options.seeds):
                yield course.index, [done[take] for take in range(len(done))]
                del collected[course.index]
                give_memory_back()


def _courses(model: DiffPoseTalk, lines: Iterable[Line], sampler: WindowSampler) -> Iterator[Course]:
    """The lines, those of more takes than fit into a batch in several courses."""
    for index, line in enumerate(lines):
        takes = list(range(len(line.options.seeds)))
        courses = [
            Course(model, index, line, takes[first : first + model.compute.rows])
            for first in range(0, len(takes), model.compute.rows)
        ]
        for course in courses:
            sampler.expect(course)
        yield from courses
