# SPDX-License-Identifier: GPL-3.0-or-later
"""The bones of other people's characters: which is the head, which way the character faces, how they turn.

A motion's rotations are in FLAME's axes: x to the character's left, y up, z forward. Where these point in an
armature is found from its rest pose, so that neither the bones' rolls nor the importer's axes matter.
"""

import re
from collections.abc import Iterable

import bpy
import numpy as np
from mathutils import Quaternion

from ..data import shape_names
from ..data.mapping import BoneChoice
from ..data.motion import continuous_quaternions

SNAP_COSINE = np.cos(np.radians(40.0))  # a direction nearer than this to an axis of the armature is that axis
NEAR_GIMBAL_LOCK = 0.98  # sine of the middle angle
EYE_PITCH, EYE_YAW = 0.5, 0.6  # radians at eyeLookUp or Down = 1 and at eyeLookIn or Out = 1

_ENDINGS = {
    "head": ("head", "頭"),
    "neck": ("neck", "necktwist", "首"),
    "jaw": ("jawmaster", "jawroot", "jaw", "あご", "顎"),
    "eye": ("eye", "faceeye", "eyeball", "目"),
}
_NOT_HEADS = ("forehead", "overhead")
_HELPERS = ("org", "mch", "def", "vis", "ik", "target", "tweak")  # beside controls of the same name


def pick_bones(rig: bpy.types.Object) -> BoneChoice:
    """Head, neck, jaw and eyes of an armature by their names; empty where there are none."""
    names = [bone.name for bone in rig.data.bones]
    parts = {name: shape_names.core_and_side(re.sub(r"[._ ]?\d+$", "", name)) for name in names}
    # Rigify: the eyes are turned by targets, the head is on its own
    controls = "jaw_master" in rig.data.bones

    def best(kind: str, side: str) -> str:
        candidates = []
        for place, (name, (core, own)) in enumerate(parts.items()):
            core = core.rstrip("0123456789")
            ending = next((n for n, e in enumerate(_ENDINGS[kind]) if core.endswith(e)), None)
            if ending is None or own != side or core.endswith(_NOT_HEADS):
                continue
            candidates.append((ending, core.startswith(_HELPERS), len(core), place, name))
        return min(candidates)[-1] if candidates else ""

    head = best("head", "")
    return BoneChoice(
        head,
        best("neck", ""),
        best("jaw", ""),
        "" if controls else best("eye", shape_names.LEFT),
        "" if controls else best("eye", shape_names.RIGHT),
        neck_share=0.0 if controls else 0.4,
    )


def character_axes(rig: bpy.types.Object, head: str = "", neck: str = "") -> np.ndarray:
    """The character's directions in its armature's space, from the rest pose.

    Args:
        head, neck: bones, from one to the other of which it goes up.

    Returns:
        (3, 3), columns left, up, forward: FLAME's x, y, z.
    """
    bones = rig.data.bones
    left = np.zeros(3)
    sides: dict[str, dict[str, np.ndarray]] = {}
    for bone in bones:
        core, side = shape_names.core_and_side(bone.name)
        if side:
            sides.setdefault(core, {})[side] = np.array(bone.head_local)
    for pair in sides.values():
        if len(pair) == 2:
            left += pair[shape_names.LEFT] - pair[shape_names.RIGHT]
    up = np.zeros(3)
    if head in bones:
        below = bones[neck] if neck in bones and neck != head else bones[head]
        while below.parent is not None:  # from the lowest ancestor: necks lean forward
            below = below.parent
        up = np.array(bones[head].head_local - below.head_local)
        if np.linalg.norm(up) < 1e-6:
            up = np.array(bones[head].vector)
    left = snapped(left, np.array([1.0, 0.0, 0.0]))
    up = snapped(up - left * (left @ up), np.array([0.0, 0.0, 1.0]))
    up -= left * (left @ up)
    if np.linalg.norm(up) < 0.1:  # nothing says where up is but the armature's own axes
        up = np.array([0.0, 1.0, 0.0]) - left * left[1]
    up /= np.linalg.norm(up)
    return np.column_stack([left, up, np.cross(left, up)])


def snapped(direction: np.ndarray, default: np.ndarray) -> np.ndarray:
    """A unit vector, on the nearest axis where one is near; `default` for none."""
    length = np.linalg.norm(direction)
    if length < 1e-9:
        return default
    direction = direction / length
    axis = int(np.argmax(np.abs(direction)))
    if abs(direction[axis]) >= SNAP_COSINE:
        return np.eye(3)[axis] * np.sign(direction[axis])
    return direction


def eye_distance(rig: bpy.types.Object, choice: BoneChoice) -> float:
    """Distance between the eyes, the measure for movements of the face's bones, in the armature's units."""
    bones = rig.data.bones
    pairs = [(choice.eye_left, choice.eye_right), ("master_eye.L", "master_eye.R"), ("eye.L", "eye.R")]
    for left, right in pairs:
        if left in bones and right in bones:
            distance = (bones[left].head_local - bones[right].head_local).length
            if distance > 1e-6:
                return float(distance)
    return float(bones[choice.head].length) * 0.3 if choice.head in bones else 0.065


def local_turns(rig: bpy.types.Object, bone: str, turns: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """(T, 3) axis-angle in the character's directions to the bone's own axes, relative to its rest pose."""
    rest = np.array(rig.data.bones[bone].matrix_local.to_3x3())
    rest /= np.linalg.norm(rest, axis=0)
    local = turns @ (rest.T @ axes).T
    return np.where(np.abs(local) < 1e-9, 0.0, local)


def local_moves(rig: bpy.types.Object, bone: str, moves: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """(T, 3) movements in the character's directions to the bone's location."""
    data = rig.data.bones[bone]
    if not data.use_local_location:
        return moves @ axes.T
    rest = np.array(data.matrix_local.to_3x3())
    return moves @ (rest.T @ axes).T


def rotation_curves(
    pose_bone: bpy.types.PoseBone, rotations: np.ndarray
) -> Iterable[tuple[str, int, np.ndarray]]:
    """Curves of one bone from (T, 3) local axis-angle rotations, in the bone's own rotation mode.

    A hinge (rotation about x alone) is one curve.

    Yields:
        Data path, index, (T,) values.
    """
    if pose_bone.rotation_mode == "AXIS_ANGLE":
        pose_bone.rotation_mode = "XYZ"
    if pose_bone.rotation_mode == "QUATERNION":
        path = pose_bone.path_from_id("rotation_quaternion")
        quaternions = continuous_quaternions(rotations)
        yield from ((path, c, quaternions[:, c]) for c in range(4))
        return
    path = pose_bone.path_from_id("rotation_euler")
    if not rotations[:, 1:].any():
        yield path, 0, rotations[:, 0]
        return
    angles = euler_angles(rotations, pose_bone.rotation_mode)
    yield from ((path, axis, angles[:, axis]) for axis in range(3))


def euler_angles(rotations: np.ndarray, order: str) -> np.ndarray:
    """(T, 3) axis-angle to (T, 3) Euler angles without jumps.

    Blender's order ijk turns about i first: R = R_k R_j R_i.
    """
    quaternions = continuous_quaternions(rotations)
    matrices = _matrices(quaternions)
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    sine = -sign * matrices[:, k, i]
    if np.abs(sine).max() > NEAR_GIMBAL_LOCK:  # two angles trade places there: follow them step by step
        return _euler_angles_in_turn(quaternions, order)
    angles = np.empty((len(rotations), 3))
    angles[:, j] = np.arcsin(np.clip(sine, -1.0, 1.0))
    angles[:, i] = np.unwrap(np.arctan2(sign * matrices[:, k, j], matrices[:, k, k]))
    angles[:, k] = np.unwrap(np.arctan2(sign * matrices[:, j, i], matrices[:, i, i]))
    return angles


def _matrices(quaternions: np.ndarray) -> np.ndarray:
    """(T, 4) unit quaternions (w, x, y, z) to (T, 3, 3)."""
    w, x, y, z = quaternions.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def _euler_angles_in_turn(quaternions: np.ndarray, order: str) -> np.ndarray:
    angles = np.empty((len(quaternions), 3))
    euler = None
    for t, quaternion in enumerate(quaternions.tolist()):
        turned = Quaternion(quaternion)
        euler = turned.to_euler(order) if euler is None else turned.to_euler(order, euler)
        angles[t] = euler
    return angles


def eye_turns(channels: dict[str, np.ndarray], side: str) -> np.ndarray:
    """(T, 3) rotation of an eye in the character's directions from ARKit's gaze channels."""
    count = len(next(iter(channels.values())))
    zero = np.zeros(count)
    down = channels.get(f"eyeLookDown{side}", zero) - channels.get(f"eyeLookUp{side}", zero)
    outward = channels.get(f"eyeLookOut{side}", zero) - channels.get(f"eyeLookIn{side}", zero)
    sign = 1.0 if side == shape_names.LEFT else -1.0  # about up, positive turns to the character's left
    return np.column_stack([EYE_PITCH * down, EYE_YAW * sign * outward, zero])
