# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the lips open: the table of channels against the bundled head, and what a face without mouthClose gets."""

import numpy as np
import pytest
from support.paths import BUNDLED_HEAD


@pytest.fixture(scope="module")
def head():
    return dict(np.load(BUNDLED_HEAD))


def opened(head, vertices):
    """Gap of the inner lips in millimetres, y up."""
    return 1e3 * float((vertices[head["lip_inner_upper"], 1] - vertices[head["lip_inner_lower"], 1]).mean())


def jaw_down(head, share):
    """The head's vertices with the jaw at a share of jawOpen = 1: skinning, and the correctives of its rotation."""
    angle = share * float(head["jaw_open_angle"])
    sine, cosine = np.sin(angle), np.cos(angle)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    joint = head["J_regressor"][2] @ head["v_template"]
    corrected = head["v_template"] + head["posedirs"][:, :, 9:18] @ (turn - np.eye(3)).ravel()
    return corrected + head["weights"][:, 2:3] * ((corrected - joint) @ turn.T + joint - corrected)


def test_the_table_is_the_bundled_heads(part, head):
    lips, arkit = part("data.lips"), part("data.arkit")
    names = [str(name) for name in head["expression_names"]]
    unit = (opened(head, jaw_down(head, 0.25)) - opened(head, head["v_template"])) / 0.25
    assert 25 < unit < 31
    for name in arkit.EXPRESSION_NAMES:
        measured = opened(head, head["shapedirs"][:, :, 100 + names.index(name)]) / unit
        assert lips.OPENING.get(name, 0.0) == pytest.approx(measured, abs=0.03), name


def test_a_closure_needs_no_jaw_where_nothing_takes_it_back(part):
    lips = part("data.lips")
    channels = {"jawOpen": np.array([0.27, 0.5, 0.0]), "mouthClose": np.array([0.26, 0.0, 0.0])}
    assert lips.opening(channels) == pytest.approx([0.0, 0.5, 0.0], abs=0.01)
    assert lips.jaw_without(channels, ("jawOpen",)) == pytest.approx([0.0, 0.5, 0.0], abs=0.01)
    assert lips.jaw_without(channels, ("jawOpen", "mouthClose")) == pytest.approx(channels["jawOpen"])


def test_a_faces_own_lips_are_closed_and_kept_from_crossing(part):
    lips = part("data.lips")
    jaw, close = np.array([0.3, 0.3, 0.6]), np.array([0.3, 0.3, 0.0])
    opened = np.array([0.0, 0.0, 0.6])
    weak = jaw - 0.7 * close  # mouthClose closes too little: the jaw goes up
    lifted, same = lips.corrected(jaw, close, opened, weak, -0.7)
    assert lifted - 0.7 * same == pytest.approx([0.0, 0.0, 0.6], abs=1e-6)
    strong = jaw - 1.5 * close  # too much: it is taken back, and no jaw
    same, less = lips.corrected(jaw, close, opened, strong, -1.5)
    assert same == pytest.approx(jaw) and (same - 1.5 * less).min() >= -lips.PRESSED - 1e-6
