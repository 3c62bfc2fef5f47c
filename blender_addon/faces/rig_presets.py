# SPDX-License-Identifier: GPL-3.0-or-later
"""Mappings of known rigs: tables of shape keys by the tools' naming schemes, and the bones of Rigify's face."""

import bpy

from ..data import arkit
from ..data.mapping import ANY_OBJECT, BoneChoice, MappingTable, Row

_CHARACTER_CREATOR = {
    "eyeLookDownLeft": "Eye_L_Look_Down", "eyeLookInLeft": "Eye_L_Look_R", "eyeLookOutLeft": "Eye_L_Look_L",
    "eyeLookUpLeft": "Eye_L_Look_Up", "eyeLookDownRight": "Eye_R_Look_Down", "eyeLookInRight": "Eye_R_Look_L",
    "eyeLookOutRight": "Eye_R_Look_R", "eyeLookUpRight": "Eye_R_Look_Up", "mouthLowerDownLeft": "Mouth_Down_Lower_L",
    "mouthLowerDownRight": "Mouth_Down_Lower_R", "mouthUpperUpLeft": "Mouth_Up_Upper_L",
    "mouthUpperUpRight": "Mouth_Up_Upper_R", "browDownLeft": "Brow_Drop_L", "browDownRight": "Brow_Drop_R",
    "browInnerUp": "Brow_Raise_Inner_L Brow_Raise_Inner_R", "browOuterUpLeft": "Brow_Raise_Outer_L",
    "browOuterUpRight": "Brow_Raise_Outer_R", "cheekPuff": "Cheek_Puff_L Cheek_Puff_R",
    "cheekSquintLeft": "Cheek_Raise_L", "cheekSquintRight": "Cheek_Raise_R",
    "mouthRollLower": "Mouth_Roll_In_Lower Mouth_Roll_In_Lower_L Mouth_Roll_In_Lower_R",
    "mouthRollUpper": "Mouth_Roll_In_Upper Mouth_Roll_In_Upper_L Mouth_Roll_In_Upper_R",
    "mouthFunnel": "Mouth_Funnel Mouth_Funnel_Up_L Mouth_Funnel_Up_R Mouth_Funnel_Down_L Mouth_Funnel_Down_R",
    "mouthPucker": "Mouth_Pucker Mouth_Pucker_Up_L Mouth_Pucker_Up_R Mouth_Pucker_Down_L Mouth_Pucker_Down_R",
}  # fmt: skip
_METAHUMAN = {
    "eyeLookInLeft": "eyeLookRightL", "eyeLookOutLeft": "eyeLookLeftL", "eyeLookInRight": "eyeLookLeftR",
    "eyeLookOutRight": "eyeLookRightR", "eyeLookUpLeft": "eyeLookUpL", "eyeLookUpRight": "eyeLookUpR",
    "eyeSquintLeft": "eyeSquintInnerL", "eyeSquintRight": "eyeSquintInnerR", "eyeWideLeft": "eyeWidenL",
    "eyeWideRight": "eyeWidenR", "jawForward": "jawFwd", "mouthClose": "mouthLipsTogetherUL mouthLipsTogetherUR "
    "mouthLipsTogetherDL mouthLipsTogetherDR", "mouthFunnel": "mouthFunnelUL mouthFunnelUR mouthFunnelDL mouthFunnelDR",
    "mouthPucker": "mouthLipsPurseUL mouthLipsPurseUR mouthLipsPurseDL mouthLipsPurseDR",
    "mouthSmileLeft": "mouthCornerPullL", "mouthSmileRight": "mouthCornerPullR",
    "mouthFrownLeft": "mouthCornerDepressL", "mouthFrownRight": "mouthCornerDepressR",
    "mouthRollLower": "mouthLowerLipRollInL mouthLowerLipRollInR",
    "mouthRollUpper": "mouthUpperLipRollInL mouthUpperLipRollInR",
    "mouthShrugLower": "jawChinRaiseDL jawChinRaiseDR", "mouthShrugUpper": "jawChinRaiseUL jawChinRaiseUR",
    "mouthPressLeft": "mouthPressUL mouthPressDL", "mouthPressRight": "mouthPressUR mouthPressDR",
    "mouthLowerDownLeft": "mouthLowerLipDepressL", "mouthLowerDownRight": "mouthLowerLipDepressR",
    "mouthUpperUpLeft": "mouthUpperLipRaiseL", "mouthUpperUpRight": "mouthUpperLipRaiseR",
    "browInnerUp": "browRaiseInL browRaiseInR", "browOuterUpLeft": "browRaiseOuterL",
    "browOuterUpRight": "browRaiseOuterR", "cheekPuff": "mouthCheekBlowL mouthCheekBlowR",
    "cheekSquintLeft": "eyeCheekRaiseL", "cheekSquintRight": "eyeCheekRaiseR", "noseSneerLeft": "noseWrinkleL",
    "noseSneerRight": "noseWrinkleR",
}  # fmt: skip

# source, bone ("?" is the side), channel, gain. Movements are in distances between the eyes.
_RIGIFY = (
    ("jawLeft", "jaw_master", "TURN_YAW", 0.12), ("jawRight", "jaw_master", "TURN_YAW", -0.12),
    ("jawForward", "jaw_master", "MOVE_FORWARD", 0.08),
    ("mouthClose", "lip.B", "MOVE_UP", 0.25), ("mouthClose", "lip.T", "MOVE_UP", -0.1),
    ("mouthFunnel", "lip.T", "MOVE_FORWARD", 0.1), ("mouthFunnel", "lip.B", "MOVE_FORWARD", 0.1),
    ("mouthFunnel", "lip.T", "MOVE_UP", 0.05), ("mouthFunnel", "lip.B", "MOVE_UP", -0.06),
    ("mouthFunnel", "lips.L", "MOVE_LEFT", -0.12), ("mouthFunnel", "lips.R", "MOVE_LEFT", 0.12),
    ("mouthPucker", "lip.T", "MOVE_FORWARD", 0.1), ("mouthPucker", "lip.B", "MOVE_FORWARD", 0.1),
    ("mouthPucker", "lips.L", "MOVE_LEFT", -0.18), ("mouthPucker", "lips.R", "MOVE_LEFT", 0.18),
    ("mouthLeft", "lips.?", "MOVE_LEFT", 0.1), ("mouthRight", "lips.?", "MOVE_LEFT", -0.1),
    ("mouthRollLower", "lip.B", "MOVE_FORWARD", -0.06), ("mouthRollLower", "lip.B", "MOVE_UP", 0.05),
    ("mouthRollUpper", "lip.T", "MOVE_FORWARD", -0.06), ("mouthRollUpper", "lip.T", "MOVE_UP", -0.05),
    ("mouthShrugLower", "lip.B", "MOVE_UP", 0.1), ("mouthShrugUpper", "lip.T", "MOVE_UP", 0.08),
    ("browInnerUp", "brow.T.?.003", "MOVE_UP", 0.15), ("browInnerUp", "brow.T.?.002", "MOVE_UP", 0.07),
    ("cheekPuff", "cheek.B.?.001", "MOVE_FORWARD", 0.1),
    ("mouthSmile?", "lips.?", "MOVE_UP", 0.14), ("mouthSmile?", "lips.?", "SIDEWAYS", 0.12),
    ("mouthFrown?", "lips.?", "MOVE_UP", -0.12), ("mouthDimple?", "lips.?", "SIDEWAYS", 0.06),
    ("mouthDimple?", "lips.?", "MOVE_FORWARD", -0.05), ("mouthStretch?", "lips.?", "SIDEWAYS", 0.12),
    ("mouthPress?", "lip.B.?.001", "MOVE_UP", 0.03), ("mouthPress?", "lip.T.?.001", "MOVE_UP", -0.03),
    ("mouthLowerDown?", "lip.B.?.001", "MOVE_UP", -0.12), ("mouthLowerDown?", "lip.B", "MOVE_UP", -0.06),
    ("mouthUpperUp?", "lip.T.?.001", "MOVE_UP", 0.1), ("mouthUpperUp?", "lip.T", "MOVE_UP", 0.05),
    ("eyeBlink?", "lid.T.?.002", "MOVE_UP", -0.16), ("eyeBlink?", "lid.B.?.002", "MOVE_UP", 0.04),
    ("eyeSquint?", "lid.B.?.002", "MOVE_UP", 0.05), ("eyeWide?", "lid.T.?.002", "MOVE_UP", 0.05),
    ("eyeLookDown?", "eye.?", "MOVE_UP", -1.4), ("eyeLookUp?", "eye.?", "MOVE_UP", 1.2),
    ("eyeLookOut?", "eye.?", "SIDEWAYS", 1.6), ("eyeLookIn?", "eye.?", "SIDEWAYS", -1.6),
    ("browDown?", "brow.T.?.002", "MOVE_UP", -0.1), ("browDown?", "brow.T.?.003", "MOVE_UP", -0.12),
    ("browOuterUp?", "brow.T.?.001", "MOVE_UP", 0.15), ("browOuterUp?", "brow.T.?.002", "MOVE_UP", 0.07),
    ("cheekSquint?", "cheek.T.?.001", "MOVE_UP", 0.06), ("noseSneer?", "nose.?", "MOVE_UP", 0.06),
)  # fmt: skip
_RIGIFY_MARKS = ("jaw_master", "lip.T", "lip.B")
_MODULAR = {
    "lips.L": "lip_end.L.001",
    "lips.R": "lip_end.R.001",
}  # the corners of the mouth in the modular face

_METAHUMAN_AFFIX = "CTRL_expressions_"


def _short(name: str) -> str:
    """`eyeBlinkLeft` to `eyeBlinkL`."""
    return name.removesuffix("eft") if name.endswith("Left") else name.removesuffix("ight")


def _title(name: str) -> str:
    """`eyeBlinkLeft` to `Eye_Blink_L`, as Character Creator writes it."""
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in _short(name)).split("_")
    return "_".join(word[:1].upper() + word[1:] for word in words)


def rig_preset(name: str, rig: bpy.types.Object | None = None) -> MappingTable:
    """A mapping by the name of one of PRESETS; its bones are left to be picked.

    Args:
        rig: the armature, for Rigify.
    """
    channels = (*arkit.EXPRESSION_NAMES, arkit.JAW_OPEN)
    if name == "RIGIFY":
        return MappingTable(tuple(rigify_rows(rig)) if rig is not None else (), BoneChoice(), name)
    spelled = {
        "ARKIT": {channel: channel for channel in channels},
        "ARKIT_PASCAL": {channel: channel[0].upper() + channel[1:] for channel in channels},
        "CHARACTER_CREATOR": {c: _CHARACTER_CREATOR.get(c, _title(c)) for c in channels},
        "METAHUMAN": {c: _METAHUMAN.get(c, _short(c)) for c in channels},
    }[name]
    if name == "METAHUMAN":
        for channel in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
            spelled[channel] = channel
        spelled = {c: " ".join(_METAHUMAN_AFFIX + key for key in keys.split()) for c, keys in spelled.items()}
    rows = [Row(c, ANY_OBJECT, "KEY", key) for c, keys in spelled.items() for key in keys.split()]
    return MappingTable(tuple(rows), BoneChoice(), name)


PRESETS = [
    ("ARKIT", "ARKit", "Apple's names: Ready Player Me, Faceit, VRoid's perfect sync, our own head"),
    (
        "ARKIT_PASCAL",
        "ARKit, Capitalised",
        "Apple's names with a capital: VRM perfect sync clips, Unreal, MetaHuman's ARKit curves",
    ),
    ("CHARACTER_CREATOR", "Character Creator", "Reallusion's ExPlus and extended facial profiles"),
    ("METAHUMAN", "MetaHuman Controls", "The control curves CTRL_expressions_..."),
    ("RIGIFY", "Rigify Face", "The bones of a generated Rigify rig with the classic or the modular face"),
]


def rigify_rows(rig: bpy.types.Object) -> list[Row]:
    """Rows for the bones of a generated Rigify face; none where the armature is something else."""
    bones = rig.data.bones
    if any(name not in bones for name in _RIGIFY_MARKS):
        return []
    corners = _MODULAR if "lips.L" not in bones else {}
    rows = []
    for source, bone, channel, gain in _RIGIFY:
        for side, long, sign in (("L", "Left", 1.0), ("R", "Right", -1.0)):
            name = bone.replace("?", side)
            name = corners.get(name, name)
            sided = "?" in source or "?" in bone
            if name in bones and (sided or side == "L"):
                move, factor = ("MOVE_LEFT", gain * sign) if channel == "SIDEWAYS" else (channel, gain)
                rows.append(
                    Row(source.replace("?", long), rig.name, "BONE", name, move, factor, 0.0, -3.0, 3.0)
                )
    return list(dict.fromkeys(rows))
