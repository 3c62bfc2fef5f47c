# SPDX-License-Identifier: GPL-3.0-or-later
"""The ARKit expression basis: names in Apple's documented order, and which face regions they move."""

from __future__ import annotations

APPLE_ORDER = [
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawRight",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthLeft",
    "mouthRight",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
]

EXPRESSIONS: tuple[str, ...] = tuple(n for n in APPLE_ORDER if n not in ("jawOpen", "tongueOut"))
"""The 50 expression coefficients: jawOpen is the jaw's pitch, tongueOut is not animated."""

INDEX = {name: i for i, name in enumerate(EXPRESSIONS)}
MOUTH = tuple(i for i, n in enumerate(EXPRESSIONS) if n.startswith(("mouth", "jaw")))


def both(name: str) -> list[int]:
    """Indices of the left and right coefficient of a name given without its side."""
    return [INDEX[name + "Left"], INDEX[name + "Right"]]
