# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a take is speech: its recordings, where each lies in the take's motion, and how several become one motion.

A take of Generate has one recording; a take of Generate Dialogue has one for each strip of its speaker.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..data import bundled
from ..data.motion import Motion, resample_motion
from ..data.motion_text import motion_from_text, motion_to_text
from . import audio_strip, record, showing
from .record import FPS

FADE_SECONDS = 0.4  # in which a face comes to rest after a line


@dataclass(frozen=True)
class SpokenLine:
    """One recording of a take.

    strip: name of its sound strip; empty where it is the take's only recording.
    at: frames of the take's motion (25 a second) before its first one, in parts of frames.
    frames: how many of its frames the take shows; a line that begins earlier than this one ends cuts it off.
    raw: its motion as it was made.
    source: what it was made from: audio, audio_start, audio_seconds, style and the like.
    """

    strip: str
    at: float
    frames: int
    raw: Motion
    source: dict[str, Any]

    @property
    def first(self) -> int:
        """The frame of the take's motion that shows its beginning first, up to a frame after it."""
        return _first_frame(self.at)


def spoken_lines(action: bpy.types.Action) -> list[SpokenLine]:
    """The recordings of a take, in time; none where it does not say what it was made from. Raises UserError."""
    source = record.source_of(action.diffposetalk)
    if "lines" not in source:
        raw = showing.raw_motion(action)
        return [SpokenLine("", 0.0, len(raw.exp), raw, _found_now(source))] if source.get("audio") else []
    lines: list[SpokenLine] = []
    cut_off = math.inf  # the frame where the line after begins
    for line in reversed(source["lines"]):
        raw, first = motion_from_text(line["raw"]), _first_frame(line["at"])
        frames = int(max(0, min(len(raw.exp), cut_off - first)))
        lines.insert(0, SpokenLine(line["strip"], line["at"], frames, raw, _found_now(line)))
        cut_off = first
    return lines


def _found_now(source: dict[str, Any]) -> dict[str, Any]:
    """What a line was made from, with recording and model where they lie now: scene, user or Blender may be others."""
    current = {**source, "audio": audio_strip.find_recording(source["audio"])}
    if source.get("model"):
        current["model"] = str(bundled.find_model(source["model"]))
    return current


def _first_frame(at: float) -> int:
    """The first whole frame that is not before `at`."""
    return int(np.ceil(at - 1e-6))


def with_motions(action: bpy.types.Action, motions: Mapping[int, Motion]) -> tuple[dict[str, Any], Motion]:
    """A take's source and motion with other motions for some of its lines, by their place in `spoken_lines`."""
    source = record.source_of(action.diffposetalk)
    if "lines" not in source:
        return source, motions.get(0, showing.raw_motion(action))
    lines = [
        {**line, "raw": motion_to_text(motions[number])} if number in motions else line
        for number, line in enumerate(source["lines"])
    ]
    together = joined([(line["at"] / FPS, motion_from_text(line["raw"])) for line in lines])
    return {**source, "lines": lines}, together


def store_source(action: bpy.types.Action, source: dict[str, Any]) -> None:
    action.diffposetalk.source = json.dumps(source, ensure_ascii=False)


def joined(parts: Sequence[tuple[float, Motion]]) -> Motion:
    """Lines at their times as one motion; between them the face comes to rest and the head goes over.

    Args:
        parts: (seconds, motion) in time. A line that begins before the one before has ended cuts it off.

    Returns:
        Motion at 25 frames per second whose first frame is at the first line's time.
    """
    begin, first = parts[0]
    spans: list[tuple[int, Motion]] = []
    for seconds, motion in parts:
        at = (seconds - begin) * FPS
        index = _first_frame(at)
        spans.append((index, resample_motion(motion, FPS, subframe=index - at)))
    count = max(index + len(motion.exp) for index, motion in spans)
    exp = np.zeros((count, first.exp.shape[1]), np.float32)
    head, jaw = np.zeros((count, 3)), np.zeros((count, 3))
    ends = []
    for number, (index, motion) in enumerate(spans):
        end = index + len(motion.exp)
        if number + 1 < len(spans):
            end = min(end, spans[number + 1][0])
        length = max(0, end - index)
        for whole, part in ((exp, motion.exp), (head, motion.head), (jaw, motion.jaw)):
            whole[index:end] = part[:length]
        ends.append(end)
    for end, (following, _) in zip(ends[:-1], spans[1:], strict=True):
        gap = following - end
        if gap <= 0 or end == 0:
            continue
        t = (np.arange(gap) + 1) / (gap + 1)
        fade = min(FADE_SECONDS * FPS, gap / 2 + 0.5)
        down = _smooth(np.clip((np.arange(gap) + 1) / fade, 0, 1))[:, None]
        up = down[::-1]
        for values in (exp, jaw):
            values[end:following] = values[end - 1] * (1 - down) + values[following] * (1 - up)
        over = _smooth(t)[:, None]
        head[end:following] = head[end - 1] * (1 - over) + head[following] * over
    provenance = {**first.provenance, "lines": len(parts)}
    return Motion(exp, head, jaw, FPS, first.basis, first.expression_names, provenance)


def _smooth(t: np.ndarray) -> np.ndarray:
    return t * t * (3 - 2 * t)
