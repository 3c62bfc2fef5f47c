# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure bulk keying against `keyframe_insert`, in one run on the same data.

Usage: python benchmarks/keying.py [--frames 1500] [--zip PACKAGE]

Both write 50 shape keys, 3 neck angles and 1 jaw angle. Both times are of the whole amount; nothing is
extrapolated.
"""

import argparse
import importlib
import time
from typing import Any

import numpy as np

FRAMES, SHAPE_KEYS = 1500, 50
BULK_RUNS = 3  # the best counts: a twentieth of a second is easily disturbed


def measure(
    keying: Any, motion_module: Any, targets_module: Any, mesh: Any, rig: Any, frames: int = FRAMES
) -> tuple[float, float, int]:
    """Seconds of (keyframe_insert, bulk), and the number of curves."""
    random = np.random.default_rng(0)
    pose = np.zeros((frames, 6), np.float32)
    pose[:, :4] = random.uniform(0, 0.3, (frames, 4))
    exp = random.uniform(0, 1, (frames, SHAPE_KEYS)).astype(np.float32)
    motion = motion_module.Motion(exp, pose[:, :3], pose[:, 3:], 25.0, "arkit", (), {})
    target = targets_module.find_target(mesh, 0.4)

    take = keying.Take(motion, "bulk · take 1 (seed 0)")
    assignment = keying.Assignment((target,), (take,), 1)
    bulk = float("inf")
    for _ in range(BULK_RUNS):
        began = time.perf_counter()
        actions = keying.key_takes([assignment])[0][0]
        bulk = min(bulk, time.perf_counter() - began)
    curves = [curve for action in actions for curve in keying.action_curves(action)]
    assert all(len(curve.keyframe_points) == frames for curve in curves)

    for block in (mesh.data.shape_keys, rig):
        block.animation_data.action = None
    keys = [mesh.data.shape_keys.key_blocks[name] for name in target.keys]
    neck, jaw = rig.pose.bones["neck"], rig.pose.bones["jaw"]
    began = time.perf_counter()
    for frame in range(frames):
        for key, value in zip(keys, exp[frame], strict=True):
            key.value = value
            key.keyframe_insert("value", frame=frame + 1)
        neck.rotation_euler = pose[frame, :3]
        neck.keyframe_insert("rotation_euler", frame=frame + 1)
        jaw.rotation_euler[0] = pose[frame, 3]
        jaw.keyframe_insert("rotation_euler", index=0, frame=frame + 1)
    one_by_one = time.perf_counter() - began
    return one_by_one, bulk, len(curves)


def main() -> None:
    """Install the add-on, measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--zip", help="the add-on's package; built when it is not given")
    arguments = parser.parse_args()
    from in_blender import installed_add_on  # `measure` is for tests, too, which have the add-on

    bpy, part, take_back = installed_add_on(arguments.zip)
    diffposetalk: Any = importlib.import_module("diffposetalk")  # what scripts in Blender import
    mesh, rig = diffposetalk.add_head()
    keying, motion, targets = (part(name) for name in ("takes.keying", "data.motion", "faces.targets"))
    one_by_one, bulk, curves = measure(keying, motion, targets, mesh, rig, arguments.frames)
    take_back()
    print(f"Blender {bpy.app.version_string}: {curves} curves x {arguments.frames} frames")
    print(f"keyframe_insert {one_by_one:.2f} s, bulk {bulk:.4f} s: {one_by_one / bulk:.0f} times faster")


if __name__ == "__main__":
    main()
