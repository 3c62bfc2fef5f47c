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
    before: list[tuple[bpy.types.bpy_struct, str, int, float]] = []

    def put_back() -> None:
        for owner, name, index, value in reversed(before):
            _write(owner, name, index, value)
        bpy.context.view_layer.update()

    try:
        for block, _, curves in take_curves(target, pose_motion(pose, target.jaw_open_angle), "neck", 1.0):
            for curve in curves:
                owner, name = _place(block, curve.data_path)
                before.append((owner, name, curve.index, _read(owner, name, curve.index)))
                _write(owner, name, curve.index, float(curve.values[0]))
    except BaseException:
        put_back()
        raise
    bpy.context.view_layer.update()
    return put_back


def _place(block: bpy.types.ID, path: str) -> tuple[bpy.types.bpy_struct, str]:
    """The owner of a property at a data path, and the property's name, or its key where it is a custom one."""
    if path.endswith(('"]', "']")):
        stem, _, key = path.rpartition("[")
        return (block.path_resolve(stem) if stem else block), f"[{key}"
    stem, _, name = path.rpartition(".")
    return (block.path_resolve(stem) if stem else block), name


def _read(owner: bpy.types.bpy_struct, name: str, index: int) -> float:
    value = owner[name[2:-2]] if name.startswith("[") else getattr(owner, name)
    return float(value[index] if hasattr(value, "__len__") else value)


def _write(owner: bpy.types.bpy_struct, name: str, index: int, value: float) -> None:
    if name.startswith("["):
        owner[name[2:-2]] = value
    elif hasattr(getattr(owner, name), "__len__"):
        getattr(owner, name)[index] = value
    else:
        setattr(owner, name, value)
