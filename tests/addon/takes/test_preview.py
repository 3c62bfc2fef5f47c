# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown of a take while it is made: each key is written once, a little at a time."""

from dataclasses import replace

import bpy
import numpy as np
import pytest

WINDOW = 50


@pytest.fixture
def preview(api, part, tmp_path, monkeypatch):
    """A preview of a new head from frame 11 on, a function that writes windows, and what was written."""
    head, _ = api.add_head()
    keying, showing = part("takes.keying"), part("takes.showing")
    written = []
    append = keying.append_keys

    def counted(container, curve, start_frame):
        written.append((curve.data_path, curve.index, start_frame, len(curve.values)))
        append(container, curve, start_frame)

    monkeypatch.setattr(keying, "append_keys", counted)
    made = part("takes.preview").Preview(
        bpy.context.scene,
        lambda: [showing.target_of(head)],
        11.0,
        "neck",
        1.0,
        frozenset(("LIPS", "UPPER", "HEAD")),
    )
    names, times = part("data.arkit").EXPRESSION_NAMES, np.arange(8 * WINDOW)[:, None] / 25.0
    speeds = 1.0 + np.arange(len(names)) / 20.0
    turns = 0.2 * np.sin(times * [1.1, 0.9, 0.7])
    whole = part("data.motion").Motion(
        0.5 + 0.5 * np.sin(times * speeds), turns, np.abs(turns) * [1, 0, 0], 25.0, "arkit", names, {}
    )

    def add(number):
        rows = slice(number * WINDOW, (number + 1) * WINDOW)
        window = replace(whole, exp=whole.exp[rows], head=whole.head[rows], jaw=whole.jaw[rows])
        path = part("data.motion").write_motion(tmp_path / f"{number}.npz", window)
        made.add(str(path), number * WINDOW)

    yield made, add, written, whole, head
    made.end()


def advance(made):
    while made._windows or made._waiting:
        made.advance()


@pytest.mark.parametrize("fps", [25, 24, 60])
def test_every_key_is_written_once(api, part, preview, fps):
    """And together they are the keys of the whole motion, at any frame rate."""
    bpy.context.scene.render.fps = fps
    made, add, written, whole, head = preview
    made._fps = float(fps)
    for number in range(8):
        add(number)
        advance(made)
    keying = part("takes.keying")
    resampled = part("data.motion").resample_motion(whole, float(fps))
    target = part("takes.showing").target_of(head)
    expected = {
        (block.session_uid, curve.data_path, curve.index): curve.values
        for block, _, curves in keying.take_curves(target, resampled, "neck", 1.0)
        for curve in curves
    }
    assert sum(count for *_, count in written) == sum(len(values) for values in expected.values())
    for block in (head.data.shape_keys, head.parent):
        for curve in keying.action_curves(block.animation_data.action):
            points = np.empty((len(curve.keyframe_points), 2), np.float32)
            curve.keyframe_points.foreach_get("co", points.ravel())
            values = expected.pop((block.session_uid, curve.data_path, curve.array_index))
            np.testing.assert_array_equal(points[:, 0], 11 + np.arange(len(values)))
            np.testing.assert_allclose(points[:, 1], values, atol=2e-3)
    assert not expected


def test_a_tick_ends_in_time(part, preview, monkeypatch):
    """However many windows wait: one curve more than the time allows at most."""
    made, add, written, *_ = preview
    module = part("takes.preview")
    for number in range(8):
        add(number)
    now = [0.0]

    def clock():
        now[0] += module.TICK_SECONDS / 3
        return now[0]

    monkeypatch.setattr(module.time, "monotonic", clock)
    ticks = most = 0
    while made._windows or made._waiting:
        before = len(written)
        made.advance()
        most, ticks = max(most, len(written) - before), ticks + 1
    assert most <= 3 and ticks > 100
