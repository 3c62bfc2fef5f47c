# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes over other animation, and with fewer keys."""

import bpy
import numpy as np
import pytest
from support.scene_state import evaluated_vertices


@pytest.fixture
def take(api, part):
    """A head with a take of 120 smooth frames."""
    head, rig = api.add_head()
    random = np.random.default_rng(0)
    smoothed, names = part("data.adjustment").smoothed, part("data.arkit").EXPRESSION_NAMES
    exp = np.clip(smoothed(random.normal(0.2, 0.6, (120, 50)), 3), 0, 1).astype("f4")
    jaw = np.zeros((120, 3))
    jaw[:, 0] = 0.2 * np.abs(np.sin(np.arange(120) / 6))
    motion = part("data.motion").Motion(
        exp, smoothed(random.normal(0, 0.5, (120, 3)), 6), jaw, 25.0, "arkit", names, {"synthetic": True}
    )
    keying = part("takes.keying")
    target = part("faces.targets").find_target(head, 0.4)
    made = keying.Take(motion, "line · take 1", motion, {})
    [[[action, _]]] = keying.key_takes([keying.Assignment((target,), (made,), 1)])
    return head, rig, action


def shown(head, frames=(1, 17, 50, 99, 120)):
    vertices = {}
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        vertices[frame] = evaluated_vertices(head)
    return vertices


def test_a_take_in_the_nla_editor_shows_the_same(api, part, take):
    head, rig, _ = take
    before = shown(head)
    strips = api.push_to_nla(head, "REPLACE")
    assert len(strips) == 2 and rig.animation_data.action is None
    after = shown(head)
    assert max(np.abs(after[f] - before[f]).max() for f in before) < 1e-6
    with pytest.raises(api.UserError, match="shows no take"):
        api.push_to_nla(head)


def test_a_take_adds_to_the_animation_below(api, part, take):
    head, rig, _ = take
    bpy.context.scene.frame_set(50)
    alone = rig.pose.bones["neck"].rotation_euler.copy()
    api.push_to_nla(head, "ADD")
    rig.pose.bones["neck"].rotation_euler = (0, 0, 0.3)
    rig.pose.bones["neck"].keyframe_insert("rotation_euler", frame=1)
    tracks = rig.animation_data.nla_tracks
    body = rig.animation_data.action
    rig.animation_data.action = None
    below = tracks.new(prev=None)
    strip = below.strips.new("body", 1, body)
    if hasattr(strip, "action_slot"):
        strip.action_slot = body.slots[0]
    order = [track.name for track in tracks]
    bpy.context.scene.frame_set(50)
    neck = rig.pose.bones["neck"].rotation_euler
    if order[0] == below.name:  # below the take: added to
        assert neck.z == pytest.approx(alone.z + 0.3, abs=1e-4) and neck.x == pytest.approx(alone.x, abs=1e-4)
    else:
        assert neck.z == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize("bound", [0.05, 0.5])
def test_fewer_keys_within_the_bound(api, part, take, bound, record_property):
    head, _, action = take
    frames = tuple(range(1, 121, 3))
    before = shown(head, frames)
    count, left = api.reduce_keys(head, bound)
    after = shown(head, frames)
    error = max(np.linalg.norm(after[f] - before[f], axis=1).max() for f in frames) * 1000
    record_property("left", left / count)
    record_property("error_mm", float(error))
    assert error <= bound and left < 0.9 * count
    curve = next(part("takes.keying").action_curves(action))
    assert all(key.interpolation == "BEZIER" for key in curve.keyframe_points)
    api.adjust(head, mouth=0.99)  # writes every frame's key again
    assert all(len(c.keyframe_points) == 120 for c in part("takes.keying").action_curves(action))


def test_a_curve_is_reduced_to_what_it_needs(part):
    bezier = part("takes.layers").bezier_keys
    frames = np.arange(200.0)
    line = np.column_stack([frames, 0.01 * frames])
    assert len(bezier(line, 1e-6)[0]) == 2
    assert list(bezier(line, 1e-6, [50])[0]) == [0, 50, 199]
    wave = np.column_stack([frames, np.sin(frames / 15)])
    for allowed in (1e-4, 1e-3, 1e-2):
        kept, slopes = bezier(wave, allowed)
        shown = np.empty(200)
        for a, b, sa, sb in zip(kept[:-1], kept[1:], slopes[:-1], slopes[1:], strict=True):
            t, length = (frames[a : b + 1] - a) / (b - a), b - a
            shown[a : b + 1] = ((1 + 2 * t) * (1 - t) ** 2 * wave[a, 1] + t * (1 - t) ** 2 * length * sa
                                + t**2 * (3 - 2 * t) * wave[b, 1] + t**2 * (t - 1) * length * sb)  # fmt: skip
        assert np.abs(shown - wave[:, 1]).max() <= allowed + 1e-12 and len(kept) < 100


def test_bad_bounds_and_blends(api, take):
    head, _, _ = take
    with pytest.raises(api.UserError, match="greater than zero"):
        api.reduce_keys(head, 0)
    with pytest.raises(api.UserError, match="blend is one of"):
        api.push_to_nla(head, "MULTIPLY")
