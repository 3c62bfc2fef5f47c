# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's settings of what comes after the first take: ranges, layers, dialogue, exports."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

COLORS = [
    ("NONE", "None", "No colour"),
    *((f"COLOR_0{n}", f"Colour {n}", "Colour tag of the strip") for n in range(1, 10)),
]


def _is_face(settings: bpy.types.PropertyGroup, item: bpy.types.Object) -> bool:
    return item.type in ("MESH", "ARMATURE", "EMPTY")


SOUND_STRIP = (
    bpy.types.SoundStrip if hasattr(bpy.types, "SoundStrip") else bpy.types.SoundSequence
)  # until 4.3


class DiffPoseTalkSpeaker(bpy.types.PropertyGroup):
    """Who speaks which of the sequencer's sound strips."""

    by: EnumProperty(
        name="Recognised By",
        description="How this speaker's strips are recognised",
        items=[
            ("CHANNEL", "Channel", "All sound strips of a channel"),
            ("NAME", "Name", "Strips whose name matches a pattern, e.g. Ann*"),
            ("COLOR", "Colour", "Strips with a colour tag"),
        ],
    )
    channel: IntProperty(name="Channel", description="Channel of the sequencer", min=1, max=128, default=1)
    pattern: StringProperty(
        name="Name", description="Pattern of strip names; * is anything, case does not count", default="*"
    )
    color: EnumProperty(name="Colour", description="Colour tag of the strips", items=COLORS)
    object: PointerProperty(
        name="Speaker", description="Head or character that speaks them", type=bpy.types.Object, poll=_is_face
    )


class DiffPoseTalkWorkflow(bpy.types.PropertyGroup):
    """Settings beside those of Generate."""

    key_lips: BoolProperty(name="Lips", description="Key mouth and jaw", default=True)
    key_upper: BoolProperty(name="Upper Face", description="Key eyes, lids and brows", default=True)
    key_head: BoolProperty(name="Head", description="Key the head's rotation", default=True)

    stream: BoolProperty(
        name="Show While Generating",
        description="Put what is finished on the timeline while the rest is made, so that it can be played already",
        default=True,
    )

    range_first: IntProperty(name="First", description="First frame that is generated again", default=1)
    range_last: IntProperty(name="Last", description="Last frame that is generated again", default=50)
    range_seed: IntProperty(
        name="Seed",
        description="Random seed of the new motion: another one gives another variation",
        min=0,
        max=2**31 - 1,
        default=1,
    )
    hold_lips: BoolProperty(name="Lips", description="Leave mouth and jaw as they are in the range")
    hold_brows: BoolProperty(name="Brows", description="Leave the brows as they are in the range")
    hold_eyes: BoolProperty(name="Eyes", description="Leave lids and gaze as they are in the range")
    hold_head: BoolProperty(name="Head", description="Leave the head's rotation as it is in the range")
    hold_hand_made: BoolProperty(
        name="Follow Hand-Made Keys",
        description="Let the new motion pass through keys that were made by hand. They stay as they are anyway",
        default=True,
    )

    reduce_bound: FloatProperty(
        name="Largest Error (mm)",
        description="How far a point of the face may be from where every frame's key puts it, in millimetres",
        min=0.001,
        max=10.0,
        soft_max=2.0,
        default=0.1,
        precision=3,
    )
    nla_blend: EnumProperty(
        name="Blend",
        description="How the strip combines with the tracks below it",
        items=[
            ("COMBINE", "Combine", "Rotations are applied on top of those below, values are added"),
            ("ADD", "Add", "Values are added"),
            ("REPLACE", "Replace", "What lies below is replaced"),
        ],
    )

    speakers: CollectionProperty(type=DiffPoseTalkSpeaker)
    active_speaker: IntProperty(name="Speaker", description="The speaker shown below the list")
    only_changed: BoolProperty(
        name="Only What Changed",
        description="Generate only strips whose sound, trimming or settings have changed since the last time",
        default=True,
    )
    transcript: StringProperty(
        name="Transcript",
        description="What is said in the recording of the take, in English: words are marked on the timeline and lips "
        "are checked against them. Empty: the text file (.txt) of the recording's name beside it, or else the model's "
        "own judgement. Each strip of a dialogue has a transcript of its own",
    )


PROPERTIES = (
    (bpy.types.Scene, "diffposetalk_workflow", PointerProperty(type=DiffPoseTalkWorkflow)),
    (
        SOUND_STRIP,
        "diffposetalk_transcript",
        StringProperty(
            name="Transcript",
            description="What is said in this strip, in English, for the lip-sync check. Empty: the text file (.txt) "
            "of the recording's name beside it, if there is one",
        ),
    ),
)
