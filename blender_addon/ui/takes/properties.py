# SPDX-License-Identifier: GPL-3.0-or-later
"""A take's data as it is stored on its first Action, and what the animator changes of it."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ...data.errors import UserError
from ...takes import showing
from ..common import job_status


def _changed(take: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Show a change at once; what goes wrong is said in the panel."""
    try:
        showing.apply_unless_quiet(take.id_data)
    except UserError as error:
        job_status.show(context, running=False, error=str(error))


def _factor(name: str, description: str, most: float = 2.0) -> FloatProperty:
    return FloatProperty(
        name=name,
        description=description,
        min=0.0,
        max=most,
        default=1.0,
        subtype="FACTOR",
        update=_changed,
        options=set(),
    )


def _addition(name: str, description: str, low: float, high: float, unit: str = "NONE") -> FloatProperty:
    return FloatProperty(
        name=name,
        description=description,
        min=low,
        max=high,
        step=1,
        precision=3 if unit == "TIME_ABSOLUTE" else 2,
        unit=unit,
        subtype="NONE",
        update=_changed,
        options=set(),
    )


class DiffPoseTalkTakePart(bpy.types.PropertyGroup):
    """One data-block that a take animates."""

    action: PointerProperty(type=bpy.types.Action)
    object: StringProperty()
    mark: StringProperty()
    is_keys: BoolProperty()


class DiffPoseTalkTake(bpy.types.PropertyGroup):
    """A take: motion as it was made, how it became keys, and changes of it."""

    id: StringProperty()
    part_of: StringProperty()
    title: StringProperty()
    owner: StringProperty()
    owner_mark: StringProperty()
    raw: StringProperty()
    source: StringProperty()
    applied: StringProperty()
    reduced: BoolProperty()
    parts: CollectionProperty(type=DiffPoseTalkTakePart)
    start_frame: FloatProperty()
    fps: FloatProperty(default=25.0)
    head_bone: StringProperty(default="neck")
    strength: FloatProperty(default=1.0)
    keyed_parts: StringProperty(default="HEAD,LIPS,UPPER")
    keyed_stretch: FloatProperty(default=1.0)

    rating: IntProperty(
        name="Rating", description="How good the take is, from 0 to 5", min=0, max=5, default=0, options=set()
    )
    mouth: _factor("Mouth", "How far lips, cheeks and jaw move; 1 is as generated")
    lip_press: _addition("Lip Press", "How firmly lips are pressed together where they close", 0.0, 1.0)
    upper: _factor("Upper Face", "How far the brows and the muscles around the eyes move; 1 is as generated")
    head_pitch: _factor("Head Pitch", "How far the head nods; 1 is as generated", 3.0)
    head_yaw: _factor("Head Yaw", "How far the head turns aside; 1 is as generated", 3.0)
    head_roll: _factor("Head Roll", "How far the head tilts; 1 is as generated", 3.0)
    blink_strength: _factor("Blink Strength", "How far blinks close the lids; 1 is as generated", 1.5)
    blink_rate: _factor("Blink Rate", "How many blinks there are; 1 is as generated, 2 twice as many", 3.0)
    eyelid_offset: _addition(
        "Eyelids", "Close the eyelids a little (positive), or open them (negative)", -0.5, 0.5
    )
    smooth_lower: _addition(
        "Smooth Lower Face", "Smoothing of mouth and jaw, in seconds", 0.0, 0.3, "TIME_ABSOLUTE"
    )
    smooth_upper: _addition(
        "Smooth Upper Face",
        "Smoothing of brows and lids between blinks, in seconds",
        0.0,
        0.5,
        "TIME_ABSOLUTE",
    )
    time_offset: _addition(
        "Time Offset", "Seconds by which face and head come later than the sound", -0.5, 0.5, "TIME_ABSOLUTE"
    )
    asymmetry: _addition(
        "Asymmetry", "Move the character's left side more (positive), or its right side (negative)", -1.0, 1.0
    )


SLIDERS = (
    ("mouth", "lip_press", "smooth_lower"),
    ("upper", "blink_strength", "blink_rate", "eyelid_offset", "smooth_upper"),
    ("head_pitch", "head_yaw", "head_roll"),
    ("time_offset", "asymmetry"),
)
"""Adjust Take's sliders in the panel, by group."""

PROPERTIES = ((bpy.types.Action, "diffposetalk", PointerProperty(type=DiffPoseTalkTake)),)
