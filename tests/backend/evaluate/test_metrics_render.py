# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser on triangles whose pixels are known, and on the bundled head."""

from __future__ import annotations

import numpy as np
import pytest
from support.paths import BUNDLED_HEAD

from diffposetalk.head.head_model import HeadModel, load_head
from diffposetalk.head.render import ASPECT, rasterise, render_frames, render_strip


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head(BUNDLED_HEAD)


def test_a_triangle_covers_the_pixel_centres_inside_it():
    points = np.array([[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 4.0, 1.0]])
    hit, weights = rasterise(points, np.array([[0, 1, 2]]), 5, 6)
    rows, columns = np.indices((5, 6))
    assert (hit >= 0).tolist() == ((columns + 0.5) + (rows + 0.5) <= 4.0).tolist()
    assert weights[0, 0] == pytest.approx([0.75, 0.125, 0.125]) and (weights[hit < 0] == 0).all()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_triangle_is_seen_whatever_the_order(order: tuple[int, int]):
    far = [[-1.0, -1.0, 0.0], [40.0, -1.0, 0.0], [-1.0, 40.0, 0.0]]
    near = [[-1.0, -1.0, 2.0], [5.0, -1.0, 2.0], [-1.0, 5.0, 2.0]]
    points = np.array(far + near)
    triangles = np.array([[0, 1, 2], [3, 4, 5]])[list(order)]
    hit, _ = rasterise(points, triangles, 8, 8)
    assert hit[0, 0] == order.index(1) and hit[7, 7] == order.index(0)


def test_triangles_through_one_another_meet_where_they_cross():
    wall = [[-1.0, -50.0, 4.0], [-1.0, 50.0, 4.0], [60.0, 0.0, 4.0]]
    slope = [[0.0, -50.0, 0.0], [0.0, 50.0, 0.0], [60.0, 0.0, 60.0]]  # depth grows as x
    hit, _ = rasterise(np.array(wall + slope), np.array([[0, 1, 2], [3, 4, 5]]), 1, 10)
    assert hit[0].tolist() == [0] * 4 + [1] * 6


def test_what_is_outside_the_picture_or_has_no_area_is_left_out():
    points = np.array(
        [[100.0, 100.0, 0], [104.0, 100.0, 0], [100.0, 104.0, 0], [-9.0, 2.0, 0], [2.0, 2.0, 0]]
    )
    hit, _ = rasterise(points, np.array([[0, 1, 2], [3, 3, 4]]), 8, 8)
    assert (hit == -1).all()


def test_the_open_mouth_shows_and_nothing_above_the_lids_changes(head: HeadModel):
    exp, pose = np.zeros((2, 50), np.float32), np.zeros((2, 6), np.float32)
    pose[1, 3] = head.jaw_open_angle
    rest, opened = render_frames(head, exp, pose, [0, 1], size=80).astype(int)
    changed = np.abs(rest - opened).sum(axis=2) > 30
    assert changed[50:].mean() > 0.05 and not changed[:25].any()


def test_a_strip_is_the_frames_side_by_side(head: HeadModel):
    exp, pose = np.zeros((3, 50), np.float32), np.zeros((3, 6), np.float32)
    pose[2, 1] = 0.5
    strip = render_strip(head, exp, pose, [2, 0], size=40)
    assert strip.shape == (40, 2 * round(40 * ASPECT), 3) and strip.dtype == np.uint8
    first, second = strip[:, : round(40 * ASPECT)], strip[:, round(40 * ASPECT) :]
    assert (first == render_frames(head, exp, pose, [2], size=40)[0]).all() and (first != second).any()


def test_a_head_without_materials_is_clay(head: HeadModel):
    arrays = {k: v for k, v in head.arrays.items() if not k.startswith(("material", "polygon"))}
    bare = HeadModel(arrays)
    picture = render_frames(bare, np.zeros((1, 50), np.float32), np.zeros((1, 6), np.float32), [0], size=60)[
        0
    ]
    middle = picture[20:40, 16:32].reshape(-1, 3).astype(int)
    assert (middle[:, 0] >= middle[:, 1]).all() and (middle[:, 1] >= middle[:, 2]).all()
