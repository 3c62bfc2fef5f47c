# SPDX-License-Identifier: GPL-3.0-or-later
"""The ARKit expression basis: names in Apple's documented order, and which face regions they move."""

from __future__ import annotations

_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")


def _sides(*names: str) -> list[str]:
    return [name + side for name in names for side in ("Left", "Right")]


APPLE_ORDER = [
    *(f"eye{name}Left" for name in _EYE),
    *(f"eye{name}Right" for name in _EYE),
    *("jawForward", "jawLeft", "jawRight", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight"),
    *_sides("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *_sides("mouthPress", "mouthLowerDown", "mouthUpperUp", "browDown"),
    "browInnerUp",
    *_sides("browOuterUp"),
    "cheekPuff",
    *_sides("cheekSquint", "noseSneer"),
    "tongueOut",
]

EXPRESSIONS: tuple[str, ...] = tuple(n for n in APPLE_ORDER if n not in ("jawOpen", "tongueOut"))
"""The 50 expression coefficients: jawOpen is the jaw's pitch, tongueOut is not animated."""

INDEX = {name: i for i, name in enumerate(EXPRESSIONS)}
MOUTH = tuple(i for i, n in enumerate(EXPRESSIONS) if n.startswith(("mouth", "jaw")))


def both(name: str) -> list[int]:
    """Indices of the left and right coefficient of a name given without its side."""
    return [INDEX[sided] for sided in _sides(name)]
