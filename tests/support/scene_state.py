# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file holds, as plain data to compare before and after."""

import hashlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import bpy
import numpy as np


def scene_state() -> dict[str, Any]:
    """Names of all data-blocks, and of what animates, moves, marks and sounds."""
    state: dict[str, Any] = {
        name: sorted(block.name for block in getattr(bpy.data, name))
        for name in dir(bpy.data)
        if isinstance(getattr(bpy.data, name), bpy.types.bpy_prop_collection)
    }
    for scene in bpy.data.scenes:
        editor = scene.sequence_editor
        state[f"scene {scene.name}"] = (
            scene.frame_start,
            scene.frame_end,
            scene.frame_current,
            scene.sync_mode,
            scene.use_audio_scrub,
            sorted((s.name, s.frame_final_start, s.mute) for s in editor.strips_all)
            if editor is not None
            else [],
        )
    for item in bpy.data.objects:
        state[f"object {item.name}"] = (
            [list(row) for row in item.matrix_world],
            sorted(item.keys()),
            _animation(item),
            item.select_get(),
        )
        if item.type == "ARMATURE":
            state[f"pose {item.name}"] = [
                (b.name, b.rotation_mode, list(b.rotation_euler), list(b.rotation_quaternion))
                for b in item.pose.bones
            ]
    for keys in bpy.data.shape_keys:
        state[f"keys {keys.name}"] = ([(k.name, k.value) for k in keys.key_blocks], _animation(keys))
    for action in bpy.data.actions:
        state[f"action {action.name}"] = (action.use_fake_user, action.users, tuple(action.frame_range))
    return state


def _animation(block: bpy.types.ID) -> str | None:
    if block.animation_data is None or block.animation_data.action is None:
        return None
    return block.animation_data.action.name


def evaluated_vertices(item: bpy.types.Object) -> np.ndarray:
    """(V, 3) vertices in the world, as Blender shows them now."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    shown = item.evaluated_get(depsgraph)
    flat = np.empty(3 * len(shown.data.vertices), np.float32)
    shown.data.vertices.foreach_get("co", flat)
    matrix = np.array(shown.matrix_world)
    return flat.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def take_points(
    part: Callable[[str], ModuleType], action: bpy.types.Action
) -> dict[tuple[int, str, int], np.ndarray]:
    """Keys of all of a take's curves: Action's number, path and index to (K, 2)."""
    found = {}
    for number, one in enumerate(part("takes.record").take_actions(action)):
        for curve in part("takes.keying").action_curves(one):
            flat = np.empty(2 * len(curve.keyframe_points), np.float32)
            curve.keyframe_points.foreach_get("co", flat)
            found[(number, curve.data_path, curve.array_index)] = flat.reshape(-1, 2)
    return found


def curves_digest(curves: Iterable[bpy.types.FCurve]) -> str:
    """SHA-256 of what F-curves animate and of all their keys, bit for bit."""
    digest = hashlib.sha256()
    for curve in sorted(curves, key=lambda c: (c.data_path, c.array_index)):
        keys = np.empty(2 * len(curve.keyframe_points), np.float32)
        curve.keyframe_points.foreach_get("co", keys)
        digest.update(f"{curve.data_path} {curve.array_index}\0".encode() + keys.astype("<f4").tobytes())
    return digest.hexdigest()
