# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long a slider of a take takes to be seen in the keys, beside writing the take anew.

Usage: python benchmarks/adjust.py [--seconds 60] [--fps 25] [--zip PACKAGE]

All sliders are moved at once, on the bundled head (54 curves). Processor time is measured, so that other work on the
machine does not count; nothing here uses more than one core.
"""

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

RUNS = 7


def measure(
    part: Callable[[str], Any], head: Any, seconds: float = 60.0, fps: float = 25.0
) -> tuple[float, float, int]:
    """Processor seconds of writing anew and, the median of a few runs, of applying changed sliders; and the curves."""
    keying, motion_module, targets, takes = (
        part(n) for n in ("takes.keying", "data.motion", "faces.targets", "takes.showing")
    )
    adjustment = part("data.adjustment")
    random = np.random.default_rng(0)
    count = int(25 * seconds)
    exp = np.clip(adjustment.smoothed(random.normal(0.2, 0.6, (count, 50)), 3), 0, 1).astype("f4")
    head_turn, jaw = adjustment.smoothed(random.normal(0, 0.3, (count, 3)), 5), np.zeros((count, 3))
    jaw[:, 0] = 0.2 * np.abs(np.sin(np.arange(count) / 4))
    raw = motion_module.Motion(exp, head_turn, jaw, 25.0, "arkit", part("data.arkit").EXPRESSION_NAMES, {})
    target = targets.find_target(head, 0.4)
    began = time.process_time()
    shown = motion_module.resample_motion(raw, fps)
    assignment = keying.Assignment((target,), (keying.Take(shown, "bench · take 1", raw),), 1)
    action = keying.key_takes([assignment])[0][0][0]
    anew = time.process_time() - began
    times = []
    for run in range(RUNS):
        change = adjustment.Adjustment(
            mouth=1 + 0.05 * run, lip_press=0.5, upper=0.8, head_pitch=1.2, head_yaw=0.9, head_roll=1.1,
            blink_strength=0.9, blink_rate=1.2, eyelid_offset=0.05, smooth_lower=0.02, smooth_upper=0.05,
            time_offset=0.04, asymmetry=0.1,
        )  # fmt: skip
        began = time.process_time()
        takes.set_adjustment(action, change)
        times.append(time.process_time() - began)
    curves = sum(1 for one in part("takes.record").take_actions(action) for _ in keying.action_curves(one))
    return anew, float(np.median(times[1:])), curves


def main() -> None:
    """Install the add-on, measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--zip", help="the add-on's package; built when it is not given")
    arguments = parser.parse_args()
    from in_blender import installed_add_on  # `measure` is for tests, too, which have the add-on

    bpy, part, take_back = installed_add_on(arguments.zip)
    diffposetalk: Any = importlib.import_module("diffposetalk")  # what scripts in Blender import
    head, _ = diffposetalk.add_head()
    anew, changed, curves = measure(part, head, arguments.seconds, arguments.fps)
    take_back()
    print(
        f"Blender {bpy.app.version_string}: {curves} curves, {arguments.seconds:g} s at {arguments.fps:g} fps"
    )
    print(f"written anew {anew * 1000:.0f} ms, sliders applied {changed * 1000:.0f} ms (median)")


if __name__ == "__main__":
    main()
