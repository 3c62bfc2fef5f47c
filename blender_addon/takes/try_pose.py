# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses that show for a moment whether a face moves, and leave nothing behind."""

from collections.abc import Callable

import bpy
import numpy as np
from bpy.app.translations import pgettext_n as n_

from ..data import arkit
from ..data.motion import Motion
from ..faces.targets import Target, check_basis
from .keying import take_curves
from .rollback import Value, set_values, values_at

POSES: dict[str, dict[str, float]] = {
    "OPEN": {arkit.JAW_OPEN: 0.7, "mouthLowerDownLeft": 0.2, "mouthLowerDownRight": 0.2},
    "CLOSE": {arkit.JAW_OPEN: 0.25, "mouthClose": 0.25, "mouthPressLeft": 0.4, "mouthPressRight": 0.4},
    "SMILE": {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4},
    "PUCKER": {arkit.JAW_OPEN: 0.05, "mouthPucker": 0.9},
    "BLINK": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "LOOK": {"eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8},
    "NOD": {"headPitch": 0.3},
}
CHOICES = [
    ("OPEN", n_("Open"), n_("The jaw opens")),
    ("CLOSE", n_("Close"), n_("The lips close above a jaw that stays down, as on P, B and M")),
    ("SMILE", n_("Smile"), n_("The corners of the mouth go up")),
    ("PUCKER", n_("Pucker"), n_("The lips are rounded")),
    ("BLINK", n_("Blink"), n_("Both lids close")),
    ("LOOK", n_("Look"), n_("The eyes look to the character's left")),
    ("NOD", n_("Nod"), n_("The head bends forward")),
]


def pose_motion(pose: str, jaw_open_angle: float) -> Motion:
    """One frame of motion that shows one of POSES."""
    values = POSES[pose]
    exp = np.array([[values.get(name, 0.0) for name in arkit.EXPRESSION_NAMES]], np.float32)
    head, jaw = np.zeros((1, 3)), np.zeros((1, 3))
    head[0, 0], jaw[0, 0] = values.get("headPitch", 0.0), jaw_open_angle * values.get(arkit.JAW_OPEN, 0.0)
    return Motion(exp, head, jaw, 25.0, "arkit", (), {})


def show_pose(target: Target, pose: str) -> Callable[[], None]:
    """Move a face into one of POSES. Returns the function that puts everything back.

    Raises:
        UserError: it shows FLAME's expressions, each of which moves the whole face.
    """
    check_basis(target, "arkit", "press Generate to see it move")
    before: list[tuple[bpy.types.ID, tuple[Value, ...]]] = []

    def put_back() -> None:
        for block, values in reversed(before):
            set_values(block, values)
        bpy.context.view_layer.update()

    try:
        for block, _, curves in take_curves(target, pose_motion(pose, target.jaw_open_angle), "neck", 1.0):
            before.append((block, values_at(block, [(curve.data_path, curve.index) for curve in curves])))
            set_values(block, [(curve.data_path, curve.index, float(curve.values[0])) for curve in curves])
    except BaseException:
        put_back()
        raise
    bpy.context.view_layer.update()
    return put_back
