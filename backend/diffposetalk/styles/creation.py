# SPDX-License-Identifier: GPL-3.0-or-later
"""From a reference motion to a style that is described and illustrated; what server and command line have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import ModelError
from ..files.png import png_bytes
from ..head.head_model import HeadModel, load_head
from ..motion.clip import MotionClip
from ..motion.smoothing import runs
from ..networks.model import DiffPoseTalk
from .description import measure_style
from .pictures import thumbnail_strip
from .reading import MIN_REFERENCE_FRAMES, StyleReading, Window, read_style, seen_frames
from .style_file import Style, reference_clips, style_of_reading


def style_from_motion(
    model: DiffPoseTalk,
    clip: MotionClip,
    name: str,
    *,
    window: Window = "auto",
    source: dict[str, Any] | None = None,
    head: HeadModel | None = None,
    description: str = "",
) -> tuple[Style, StyleReading]:
    """Read, measure and illustrate the style of a reference.

    Args:
        clip: in the model's basis.
        window: which four seconds, as of `read_style`.
        source: where the motion comes from, for the record (no folders: they are private).
        head: of the model's basis, for figures and thumbnail; None is the bundled head where it is of that basis.

    Raises:
        StyleError: as `read_style`.
    """
    reading = read_style(model, clip, window)
    style = style_of_reading(model, name, reading, source or {"kind": "motion"})
    lacks = "The reference has no head rotation: the style keeps the head still."
    notes = (lacks,) if clip.provenance.get("head_rotation") is False else ()
    style = replace(style, description=description, notes=(*style.notes, *notes))
    return described(style, head, unbroken(clip), "reference"), reading


def described(style: Style, head: HeadModel | None, clips: Sequence[MotionClip], measured: str) -> Style:
    """The style with figures and thumbnail of motion in its manner, where a head of its basis is at hand.

    Args:
        clips: to be measured; the thumbnail shows the windows that the style was read from, if it holds them.
        measured: as of `Style`.
    """
    head = head or head_of_basis(style.basis)
    if head is None or head.basis != style.basis:
        return style
    try:
        measures = measure_style(clips, head)
    except ModelError:  # a head whose lips are not marked
        measures = None
    picture = thumbnail_strip(reference_clips(style) or clips, head)
    return replace(
        style, measures=measures, measured=measured if measures else "", thumbnail=png_bytes(picture)
    )


def head_of_basis(basis: str) -> HeadModel | None:
    """The bundled head, where there is one and it shows the basis."""
    try:
        head = load_head()
    except ModelError:
        return None
    return head if head.basis == basis else None


def unbroken(clip: MotionClip) -> list[MotionClip]:
    """The pieces of a clip in which the face was seen, those of a second or more; the whole where there are none."""
    seen = seen_frames(clip, len(clip), clip.fps)
    if seen.all():
        return [clip]
    pieces = [
        replace(clip, exp=clip.exp[a:b], pose=clip.pose[a:b], translation=None)
        for a, b in runs(seen)
        if b - a >= MIN_REFERENCE_FRAMES
    ]
    return pieces or [clip]
