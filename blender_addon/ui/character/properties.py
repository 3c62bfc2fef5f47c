# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""A character's mapping, as it is stored on an object and shown in the panel."""

import functools

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

_Bool, _Enum, _Float, _Int, _String = (
    functools.partial(kind, override={"LIBRARY_OVERRIDABLE"})
    for kind in (BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty)
)
KINDS = [
    ("KEY", "Shape Key", "A shape key of one of the character's meshes", "SHAPEKEY_DATA", 0),
    ("PROPERTY", "Property", "A property of an object by its data path, e.g. [\"smile\"]", "RNA", 1),
    ("BONE", "Bone", "A bone of the character's armature", "BONE_DATA", 2),
]  # fmt: skip
CHANNELS = [
    ("MOVE_LEFT", "Move Left", "To the character's left, in distances between the eyes"),
    ("MOVE_UP", "Move Up", "Up, in distances between the eyes"),
    ("MOVE_FORWARD", "Move Forward", "Where the character looks, in distances between the eyes"),
    ("TURN_PITCH", "Turn Down", "Nodding, in radians"),
    ("TURN_YAW", "Turn Left", "To the character's left, in radians"),
    ("TURN_ROLL", "Roll", "About the direction the character looks in, in radians"),
]


class DiffPoseTalkRow(bpy.types.PropertyGroup):
    """One line of a mapping."""

    source: _String(
        name="Source",
        description="Channel of the motion: an ARKit name (eyeBlinkLeft, jawOpen), headPitch, headYaw, headRoll or "
        "jawPitch in radians, a viseme (oculus:PP, vrm:A, preston_blair:MBP) or a FLAME expression (Exp000)",
    )
    object: _String(
        name="Object",
        description="Object that has the target; * stands for any mesh of the character that has it",
        default="*",
    )
    kind: _Enum(name="Kind", description="What is moved", items=KINDS)
    target: _String(name="Target", description="Name of the shape key or bone, or data path of the property")
    channel: _Enum(name="Channel", description="What the bone does", items=CHANNELS)
    gain: _Float(
        name="Gain",
        description="What the channel's value is multiplied by",
        default=1.0,
        soft_min=-2.0,
        soft_max=2.0,
    )
    offset: _Float(
        name="Offset", description="What is then added to it", default=0.0, soft_min=-1.0, soft_max=1.0
    )
    low: _Float(name="Minimum", description="Lowest value that is keyed", default=0.0)
    high: _Float(name="Maximum", description="Highest value that is keyed", default=1.0)


class DiffPoseTalkCharacter(bpy.types.PropertyGroup):
    """The mapping of a character, on its armature, its meshes' parent or its only mesh."""

    stored: _Bool(
        name="Stored", description="Use the mapping below; otherwise it is guessed from the names each time"
    )
    preset: _String(name="Known Rigs", description="Which known rig the mapping was filled from")
    rows: CollectionProperty(type=DiffPoseTalkRow, override={"LIBRARY_OVERRIDABLE", "USE_INSERTION"})
    active_row: _Int(name="Row", description="The row shown below the list")
    head: _String(name="Head", description="Bone that turns the head; none when empty")
    neck: _String(name="Neck", description="Bone that takes its share of the head's rotation")
    jaw: _String(name="Jaw", description="Bone that opens the mouth; none when empty")
    eye_left: _String(
        name="Left Eye", description="Bone of the character's left eye; none where shape keys turn the eyes"
    )
    eye_right: _String(
        name="Right Eye", description="Bone of the character's right eye; none where shape keys turn the eyes"
    )
    neck_share: _Float(
        name="Neck Share",
        description="Share of the head's rotation that the neck takes; the head takes the rest",
        min=0.0,
        max=1.0,
        default=0.4,
        subtype="FACTOR",
    )
    jaw_by: _Enum(
        name="Jaw By",
        description="What opens the mouth",
        items=[
            ("KEY", "Shape Key", "The jawOpen shape key"),
            ("BONE", "Bone", "The jaw bone"),
            ("BOTH", "Both", "The shape key and the bone: where one moves the skin and the other the teeth"),
            ("NONE", "Nothing", "The mouth is not opened"),
        ],
    )
    layered: _Bool(
        name="On Top of the Body's Animation",
        description="Push the armature's Action into the NLA editor, and turn head, jaw and eyes on top "
        "of it. Otherwise they turn from the rest pose, and the Action is put aside",
        default=True,
    )


PROPERTIES = (
    (
        bpy.types.Object,
        "diffposetalk",
        PointerProperty(type=DiffPoseTalkCharacter, override={"LIBRARY_OVERRIDABLE"}),
    ),
)
