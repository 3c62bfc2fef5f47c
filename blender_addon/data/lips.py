# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the lips are open in ARKit's channels, and the same opening with the channels that a face has. No bpy here.

Motion closes the lips while the jaw stays down: jawOpen 0.27 with mouthClose 0.25 is a B. A face that has no mouthClose
must not be given that jaw; what counts is how far the lips are apart.
"""

from collections.abc import Container, Mapping

import numpy as np

from . import arkit

# How far each channel at 1 opens the inner lips of the bundled head near the closed mouth, as a share of jawOpen's 28
# mm. `tests/addon/data/test_lip_opening.py` holds them against the head.
OPENING = {
    arkit.JAW_OPEN: 1.0, "mouthClose": -1.04, "mouthFunnel": 0.17, "mouthShrugLower": -0.115,
    "mouthShrugUpper": 0.108, "mouthUpperUpLeft": 0.084, "mouthUpperUpRight": 0.084, "mouthLowerDownLeft": 0.07,
    "mouthLowerDownRight": 0.07, "mouthRollUpper": -0.066, "mouthRollLower": -0.062, "mouthLeft": -0.04,
    "mouthRight": -0.04, "jawForward": 0.039, "mouthSmileLeft": -0.038, "mouthSmileRight": -0.038,
    "mouthPucker": -0.032, "mouthPressLeft": -0.025, "mouthPressRight": -0.025, "cheekPuff": -0.022,
}  # fmt: skip
CLOSING = 0.1  # openings under this are about to close: there the gap counts more than anything else

PRESSED = 0.03  # below 0: lips that are pressed, not through each other


def signed_opening(channels: Mapping[str, np.ndarray]) -> np.ndarray:
    """(T,) opening of the lips as a share of that of jawOpen = 1; below 0 they are pressed into each other."""
    known = [factor * channels[name] for name, factor in OPENING.items() if name in channels]
    return np.sum(known, axis=0) if known else np.zeros(len(next(iter(channels.values()))))


def opening(channels: Mapping[str, np.ndarray]) -> np.ndarray:
    """(T,) opening of the lips as a share of that of jawOpen = 1, 0 where they touch."""
    return np.maximum(signed_opening(channels), 0.0)


def closing(opened: np.ndarray) -> np.ndarray:
    """(T,) 0 to 1: how near the lips are to touching."""
    return np.clip(1.0 - opened / CLOSING, 0.0, 1.0)


def jaw_without(channels: Mapping[str, np.ndarray], shown: Container[str]) -> np.ndarray:
    """(T,) jawOpen that opens the lips as far on a face that shows only some of the channels.

    Args:
        channels: values by ARKit name, jawOpen among them.
        shown: the channels that the face has.
    """
    jaw = np.asarray(channels[arkit.JAW_OPEN], np.float64)
    if "mouthClose" in shown:
        return jaw
    missing = {
        name: value for name, value in channels.items() if name not in shown and name != arkit.JAW_OPEN
    }
    return np.clip(jaw + signed_opening({"jaw": np.zeros(len(jaw)), **missing}), 0.0, 1.0)


def corrected(
    jaw: np.ndarray, close: np.ndarray, opened: np.ndarray, predicted: np.ndarray, close_response: float
) -> tuple[np.ndarray, np.ndarray]:
    """Jaw and mouthClose under which a face's own lips close where the motion's do, and never cross.

    Args:
        jaw, close: (T,) values of both channels; jaw's 1 opens the face's lips by 1.
        opened: (T,) opening of the motion's lips. predicted: (T,) what the face's own lips will do, signed.
        close_response: by how much mouthClose = 1 opens the face's lips; below 0, or 0 where it has none.
    """
    jaw, close = np.array(jaw, np.float64), np.array(close, np.float64)
    too_far = closing(opened) * np.maximum(predicted - opened, 0.0)
    crossed = np.maximum(-PRESSED - predicted, 0.0)
    lowered = np.minimum(too_far, np.maximum(jaw, 0.0))
    if close_response < 0:
        close += (too_far - lowered) / -close_response
        given = np.minimum(close, crossed / -close_response)
        close = np.clip(close - given, 0.0, 1.0)
        crossed = crossed + given * close_response
    return jaw - lowered + crossed, close
