# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads and motion files, for scripts."""

from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np

from ..data import bundled
from ..data.head_asset import load_head
from ..data.motion import read_motion, resample_motion
from ..engine import flame_file
from ..engine.flame_file import FlameHead
from ..faces import rig
from ..takes import audio_strip, heard, showing
from ..takes.keying import Assignment, Take, key_takes, last_frame
from .calls import Objects, listed, push_undo


def add_head(
    name: str | None = None,
    shape: Sequence[float] | np.ndarray | None = None,
    asset: str | Path | None = None,
    flame: bool | str | Path = False,
) -> tuple[bpy.types.Object, bpy.types.Object]:
    """Add a head at the 3D cursor.

    Args:
        name: of the mesh object.
        shape: up to 100 identity coefficients.
        asset: head file (.npz); the bundled head when None.
        flame: your FLAME file (.pkl or .npz as downloaded), or True for the one in the preferences. It is
            converted once, which needs the backend.

    Returns:
        The mesh object and the armature object.

    Raises:
        UserError: the head file or the shape cannot be used.
        BackendError: FLAME could not be converted.
    """
    if flame:
        path = flame_file.chosen_flame_file() if flame is True else Path(bpy.path.abspath(str(flame)))
        job = FlameHead(path)
        job.complete()
        head = job.head
    else:
        head = bundled.bundled_head() if asset is None else load_head(asset)
    coefficients = None if shape is None else np.asarray(shape, np.float32)
    head_and_rig = rig.add_head(bpy.context, head, name, coefficients)
    push_undo("Add Head")
    return head_and_rig


def key_motion(
    objects: Objects,
    motion: str | Path,
    *,
    start_frame: float = 1,
    head_strength: float = 1.0,
    head_bone: str = "neck",
    scene: bpy.types.Scene | None = None,
) -> list[bpy.types.Action]:
    """Key the motion of a file.

    Args:
        objects: heads, or meshes with ARKit shape keys; all move alike.
        motion: motion clip (.npz). The paper's own files, which name no expression basis, are FLAME's.
        start_frame: frame of its first key.
        head_strength: factor of the head rotation; 0 keys none.
        head_bone: the bone that turns the head, "neck" or "root".
        scene: whose frame rate and range count; the current one when None.

    Returns:
        The new Actions.

    Raises:
        UserError: the file or an object cannot be used, or they differ in their expression basis. The scene is
            as it was.
    """
    scene = scene or bpy.context.scene
    path = Path(bpy.path.abspath(str(motion)))
    clip = resample_motion(read_motion(path), audio_strip.frames_per_second(scene))
    targets = tuple(showing.targets_of(listed(objects)))
    assignment = Assignment(targets, (Take(clip, f"{path.stem} · motion"),), start_frame)
    [[actions]] = key_takes([assignment], head_bone, head_strength)
    scene.frame_end = max(scene.frame_end, last_frame(clip, start_frame))
    heard.follow_takes()
    push_undo("Key Motion")
    return actions
