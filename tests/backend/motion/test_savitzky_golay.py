# SPDX-License-Identifier: GPL-3.0-or-later
"""The Savitzky-Golay filter against SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import savgol_filter

from diffposetalk.motion.savitzky_golay import savitzky_golay_filter


@pytest.mark.parametrize(("window", "order"), [(3, 2), (5, 2), (9, 2), (11, 3), (25, 4)])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_it_is_scipys(window: int, order: int, kind: Any) -> None:
    rng = np.random.default_rng(0)
    for frames in (window, window + 1, 200):
        values = rng.standard_normal((3, frames, 4)).astype(kind)
        ours = savitzky_golay_filter(values, window, order, axis=1)
        theirs = savgol_filter(values.astype(np.float64), window, order, axis=1)
        assert ours.dtype == values.dtype and ours.shape == values.shape
        assert np.abs(ours - theirs).max() < (1e-6 if kind == "f4" else 1e-12)


def test_a_frame_is_the_same_wherever_the_curve_is_cut() -> None:
    values = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    whole, part = savitzky_golay_filter(values, 9, 2), savitzky_golay_filter(values[137:261], 9, 2)
    assert (whole[141:257] == part[4:-4]).all()


@pytest.mark.parametrize(("window", "frames"), [(4, 10), (2, 10), (11, 10)])
def test_windows_that_cannot_be(window: int, frames: int) -> None:
    with pytest.raises(ValueError):
        savitzky_golay_filter(np.zeros((frames, 2)), window, 2)
