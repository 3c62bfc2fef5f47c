# SPDX-License-Identifier: GPL-3.0-or-later
"""A working day of eight hours on one timeline, by many short clips: places, rounding, storage."""

import bpy
import numpy as np
import pytest
from support.scene_state import scene_state

HOURS = 8
EVERY_SECONDS = 120
FRAMES = 12  # of a clip, at 25 a second

pytestmark = pytest.mark.each_blender


def clip(part, number):
    """A short motion that is told from every other by the value of its first channel."""
    names = part("data.arkit").EXPRESSION_NAMES
    exp = np.zeros((FRAMES, len(names)), np.float32)
    exp[:, 0] = number / 1000
    exp[:, 1] = np.linspace(0, 1, FRAMES)
    head = np.full((FRAMES, 3), 0.1, np.float32)
    return part("data.motion").Motion(
        exp, head, head / 2, 25.0, "arkit", names, {"synthetic": True, "seed": number}
    )


@pytest.mark.parametrize(("fps", "base"), [(25, 1.0), (30, 1.001)])
def test_eight_hours(api, part, head, tmp_path, fps, base):
    keying, motion = part("takes.keying"), part("data.motion")
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = fps, base
    rate = part("takes.audio_strip").frames_per_second(scene)
    starts = np.arange(0, HOURS * 3600, EVERY_SECONDS)
    [target] = part("faces.targets").find_targets([head], 0.3)
    assignments = []
    for number, second in enumerate(starts):
        raw = clip(part, number)
        take = keying.Take(
            motion.resample_motion(raw, rate), f"line {number} · take 1", raw, {"audio": "day.wav"}
        )
        assignments.append(keying.Assignment((target,), (take,), round(1 + second * rate)))
    actions = [keying.key_takes([one])[0][0][0] for one in assignments]
    assert len(actions) == len(starts) == 240

    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "day.blend"), check_existing=False)
    size = (tmp_path / "day.blend").stat().st_size
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "day.blend"))
    found = {action["seed"]: action for action in bpy.data.actions if part("takes.record").is_take(action)}
    assert sorted(found) == list(range(len(starts)))
    count = int((FRAMES - 1) / 25 * rate + 1e-6) + 1
    for number, second in enumerate(starts):
        curves = list(keying.action_curves(found[number]))
        keys = np.empty((len(curves[0].keyframe_points), 2), np.float32)
        curves[0].keyframe_points.foreach_get("co", keys.ravel())
        assert len(keys) == count
        frames = keys[:, 0].astype(np.float64)
        assert np.array_equal(frames, frames[0] + np.arange(count))  # no two keys on a frame, none in between
        assert (
            abs((frames[0] - 1) / rate - second) <= 0.5 / rate + 1e-9
        )  # of a frame, after eight hours as well
        values = {curve.data_path: curve.keyframe_points[0].co[1] for curve in curves}
        assert min(abs(value - number / 1000) for value in values.values()) < 1e-6
        kept = part("data.motion_text").motion_from_text(found[number].diffposetalk.raw)
        assert np.abs(kept.exp - clip(part, number).exp).max() < 1e-3
        assert part("takes.record").read_keyed(found[number].diffposetalk).start_frame == frames[0]
    assert frames[-1] <= keying.LAST_FRAME
    assert size / len(starts) < 150_000  # bytes a clip


def test_a_time_late_on_the_timeline_shows_its_own_clip(api, part, head):
    """Blender's own evaluation at the end of its longest timeline, by frames and parts of frames."""
    keying, scene = part("takes.keying"), bpy.context.scene
    [target] = part("faces.targets").find_targets([head], 0.3)
    raw = clip(part, 7)
    start = keying.LAST_FRAME - FRAMES + 1
    take = keying.Take(raw, "late · take 1", raw)
    keying.key_takes([keying.Assignment((target,), (take,), start)])
    key = head.data.shape_keys.key_blocks[target.keys[part("data.arkit").EXPRESSION_NAMES[1]]]
    seen = []
    for step in range(FRAMES - 1):
        scene.frame_set(start + step, subframe=0.5)
        seen.append(key.value)
    assert np.all(np.diff(seen) > 0)  # the ramp of the clip, without a jump back or a standstill


def test_what_would_lie_beyond_the_longest_timeline_is_refused(api, part, head, recordings):
    """Blender's frames end somewhere: after 4.9 hours at 60 a second."""
    bpy.context.scene.render.fps = 60
    before = scene_state()
    with pytest.raises(api.UserError, match="1048574"):
        api.generate(head, recordings / "speech.wav", start_frame=8 * 3600 * 60)
    assert scene_state() == before
