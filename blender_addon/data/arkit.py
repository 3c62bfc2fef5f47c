# SPDX-License-Identifier: GPL-3.0-or-later
"""Apple's ARKit blendshape names, in Apple's documented order, without the jaw's opening and the tongue.

https://developer.apple.com/documentation/arkit/arfaceanchor/blendshapelocation
"""

import re

EXPRESSION_NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft",
    "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
JAW_OPEN = "jawOpen"  # the jaw pitch of a motion clip, where there is no jaw bone


def canonical_name(name: str) -> str:
    """Spell a shape key's name so that the usual variants of an ARKit name agree.

    Case and separators do not count, and a final L or R behind a separator is Left or Right:
    `eyeBlink_L`, `EyeBlinkLeft` and `eye_blink_left` are one.
    """
    name = re.sub(r"[_.\- ]L$", "Left", name)
    name = re.sub(r"[_.\- ]R$", "Right", name)
    return re.sub(r"[^a-z0-9]", "", name.lower())
