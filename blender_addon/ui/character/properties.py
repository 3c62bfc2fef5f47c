# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""A character's mapping, as it is stored on an object and shown in the panel."""

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

OVERRIDABLE = {"LIBRARY_OVERRIDABLE"}
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

    source: StringProperty(
        name="Source",
        description="Channel of the motion: an ARKit name (eyeBlinkLeft, jawOpen), headPitch, headYaw, headRoll or "
        "jawPitch in radians, a viseme (oculus:PP, vrm:A, preston_blair:MBP) or a FLAME expression (Exp000)",
        override=OVERRIDABLE,
    )
    object: StringProperty(
        name="Object",
        description="Object that has the target; * stands for any mesh of the character that has it",
        default="*",
        override=OVERRIDABLE,
    )
    kind: EnumProperty(name="Kind", description="What is moved", items=KINDS, override=OVERRIDABLE)
    target: StringProperty(
        name="Target",
        description="Name of the shape key or bone, or data path of the property",
        override=OVERRIDABLE,
    )
    channel: EnumProperty(
        name="Channel", description="What the bone does", items=CHANNELS, override=OVERRIDABLE
    )
    gain: FloatProperty(
        name="Gain",
        description="What the channel's value is multiplied by",
        default=1.0,
        soft_min=-2.0,
        soft_max=2.0,
        override=OVERRIDABLE,
    )
    offset: FloatProperty(
        name="Offset",
        description="What is then added to it",
        default=0.0,
        soft_min=-1.0,
        soft_max=1.0,
        override=OVERRIDABLE,
    )
    low: FloatProperty(
        name="Minimum", description="Lowest value that is keyed", default=0.0, override=OVERRIDABLE
    )
    high: FloatProperty(
        name="Maximum", description="Highest value that is keyed", default=1.0, override=OVERRIDABLE
    )


class DiffPoseTalkCharacter(bpy.types.PropertyGroup):
    """The mapping of a character, on its armature, its meshes' parent or its only mesh."""

    stored: BoolProperty(
        name="Stored",
        description="Use the mapping below; otherwise it is guessed from the names each time",
        override=OVERRIDABLE,
    )
    preset: StringProperty(
        name="Known Rigs", description="Which known rig the mapping was filled from", override=OVERRIDABLE
    )
    rows: CollectionProperty(type=DiffPoseTalkRow, override={"LIBRARY_OVERRIDABLE", "USE_INSERTION"})
    active_row: IntProperty(name="Row", description="The row shown below the list", override=OVERRIDABLE)
    head: StringProperty(
        name="Head", description="Bone that turns the head; none when empty", override=OVERRIDABLE
    )
    neck: StringProperty(
        name="Neck", description="Bone that takes its share of the head's rotation", override=OVERRIDABLE
    )
    jaw: StringProperty(
        name="Jaw", description="Bone that opens the mouth; none when empty", override=OVERRIDABLE
    )
    eye_left: StringProperty(
        name="Left Eye",
        description="Bone of the character's left eye; none where shape keys turn the eyes",
        override=OVERRIDABLE,
    )
    eye_right: StringProperty(
        name="Right Eye",
        description="Bone of the character's right eye; none where shape keys turn the eyes",
        override=OVERRIDABLE,
    )
    neck_share: FloatProperty(
        name="Neck Share",
        description="Share of the head's rotation that the neck takes; the head takes the rest",
        min=0.0,
        max=1.0,
        default=0.4,
        subtype="FACTOR",
        override=OVERRIDABLE,
    )
    jaw_by: EnumProperty(
        name="Jaw By",
        description="What opens the mouth",
        items=[
            ("KEY", "Shape Key", "The jawOpen shape key"),
            ("BONE", "Bone", "The jaw bone"),
            ("BOTH", "Both", "The shape key and the bone: where one moves the skin and the other the teeth"),
            ("NONE", "Nothing", "The mouth is not opened"),
        ],
        override=OVERRIDABLE,
    )
    layered: BoolProperty(
        name="On Top of the Body's Animation",
        description="Push the armature's Action into the NLA editor, and turn head, jaw and eyes on top "
        "of it. Otherwise they turn from the rest pose, and the Action is put aside",
        default=True,
        override=OVERRIDABLE,
    )


CLASSES = (DiffPoseTalkRow, DiffPoseTalkCharacter)
PROPERTIES = (
    (
        bpy.types.Object,
        "diffposetalk",
        PointerProperty(type=DiffPoseTalkCharacter, override={"LIBRARY_OVERRIDABLE"}),
    ),
)
