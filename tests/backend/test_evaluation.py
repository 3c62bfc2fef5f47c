# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from diffposetalk.evaluate.articulation import Articulation, articulation, lag_and_correlation, rounding
from diffposetalk.evaluate.dynamics import blinks_per_minute, power_above, seam_percentile
from diffposetalk.evaluate.phone_probe import frame_phones


def test_closures_and_openings():
    gap = np.full(100, 10.0)
    gap[20:23] = 0.5  # closed at 0.8 to 0.92 s
    phones = [("P", 0.8, 0.9), ("M", 2.0, 2.1), ("AA", 2.5, 2.7), ("B", 0.91, 0.93), ("T", 3.0, 3.1)]
    out = articulation(gap, phones)
    assert out == Articulation(closed=2, bilabials=3, opened=1, open_vowels=1)
    assert out.closure == pytest.approx(2 / 3) and (out + out).bilabials == 6


def test_lag_is_found_with_its_sign():
    rng = np.random.default_rng(0)
    tracked = np.convolve(rng.standard_normal(300), np.ones(5) / 5, "same")
    for shift in (-3, 0, 2):
        lag, correlation = lag_and_correlation([(np.roll(tracked, shift), tracked)])
        assert lag == shift and correlation > 0.95
    assert lag_and_correlation([(rng.standard_normal(300), tracked)])[1] < 0.4


def test_rounding_contrast():
    exp = np.zeros((50, 50))
    exp[10:20, 3] = 0.4
    assert rounding(exp, (3, 4), [("UW", 0.4, 0.8), ("IY", 1.2, 1.6), ("T", 0, 0.1)]) == ([0.4], [0.0])


def test_a_jump_at_a_seam_is_the_fastest():
    rng = np.random.default_rng(0)
    curve = np.cumsum(0.1 * rng.random(300))
    curve[100:] += 5
    first, second = seam_percentile(np.abs(np.diff(curve)), 100)
    assert first == 1.0 and second < 1.0


def test_blinks_are_counted():
    lid = np.zeros(1500)
    lid[100::150] = 1
    lid[101::150] = 0.6
    assert blinks_per_minute(lid) == pytest.approx(10)


def test_power_above_a_frequency():
    time = np.arange(1000) / 25
    slow, fast = np.sin(2 * np.pi * time), np.sin(2 * np.pi * 9 * time)
    assert power_above([slow], 6) < 0.01 and power_above([fast], 6) > 0.99
    assert power_above([slow + fast], 6) == pytest.approx(0.5, abs=0.02)


def test_phone_at_a_frame():
    assert frame_phones([["a", "P", 0.0, 0.06], ["a", "AA", 0.06, 0.2]], 6) == [
        "P",
        "AA",
        "AA",
        "AA",
        "AA",
        "SIL",
    ]
