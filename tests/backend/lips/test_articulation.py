# SPDX-License-Identifier: GPL-3.0-or-later
"""Articulation, timing of lips, seams, jitter, blinks and spectra on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from diffposetalk.evaluate.lip_sync import expected_openness, lag_and_correlation, lip_to_phone_lag
from diffposetalk.lips.articulation import Articulation, articulation, at_phones, rounding
from diffposetalk.motion.dynamics import blinks_per_minute, jitter, power_above, seam_percentile, spectrum


def test_closures_and_openings():
    gap = np.full(100, 10.0)
    gap[20:23] = 0.5  # closed at 0.8 to 0.92 s
    phones = [("P", 0.8, 0.9), ("M", 2.0, 2.1), ("AA", 2.5, 2.7), ("B", 0.91, 0.93), ("T", 3.0, 3.1)]
    out = articulation(gap, phones)
    assert out == Articulation(closed=2, bilabials=3, opened=1, open_vowels=1)
    assert out.closure == pytest.approx(2 / 3) and (out + out).bilabials == 6
    assert np.isnan(Articulation().closure) and np.isnan(Articulation().opening)


def test_lag_is_found_with_its_sign():
    rng = np.random.default_rng(0)
    tracked = np.convolve(rng.standard_normal(300), np.ones(5) / 5, "same")
    for shift in (-3, 0, 2):
        lag, correlation = lag_and_correlation([(np.roll(tracked, shift), tracked)])
        assert lag == shift and correlation > 0.95
    assert lag_and_correlation([(rng.standard_normal(300), tracked)])[1] < 0.4
    assert np.isnan(lag_and_correlation([(np.zeros(300), tracked)])[1])


PHONES = [
    ("SIL", 0.0, 0.4),
    ("B", 0.4, 0.5),
    ("AA", 0.5, 0.75),
    ("P", 0.75, 0.85),
    ("AE", 0.85, 1.1),
    ("M", 1.1, 1.25),
    ("AY", 1.25, 1.6),
    ("S", 1.6, 1.8),
    ("SIL", 1.8, 3.0),
]


def test_openness_asked_for_by_phones():
    wanted = expected_openness(PHONES, 75)
    assert wanted[15] == 1.0 and wanted[11] == 0.0 and wanted[42] == pytest.approx(0.35)
    # frame 20 (0.78 to 0.82 s) is P; frame 19 (0.74 to 0.78 s) a quarter AA; frame 70 is silence
    assert wanted[20] == 0.0 and wanted[19] == pytest.approx(0.25) and wanted[70] == 0.0
    assert expected_openness([], 5).tolist() == [0] * 5


@pytest.mark.parametrize("shift", [-4, 0, 1, 3])
def test_lag_to_phones_of_a_shifted_clip(shift: int):
    opening = np.roll(0.01 * expected_openness(PHONES, 75), shift)
    assert lip_to_phone_lag([(opening, PHONES)]) == pytest.approx(shift, abs=0.05)


def test_lag_to_phones_between_frames():
    shifted = [(phone, start + 0.02, end + 0.02) for phone, start, end in PHONES]
    opening = expected_openness(shifted, 75)
    assert lip_to_phone_lag([(opening, PHONES)]) == pytest.approx(0.5, abs=0.15)
    assert np.isnan(lip_to_phone_lag([(np.zeros(75), PHONES)]))


def test_rounding_contrast():
    curve = np.zeros(50)
    curve[10:20] = 0.4
    assert rounding(curve, [("UW", 0.4, 0.8), ("IY", 1.2, 1.6), ("T", 0, 0.1)]) == ([0.4], [0.0])
    assert at_phones(curve, [("W", 9.0, 9.1)], {"W"}) == [0.0]


def test_a_jump_at_a_seam_is_the_fastest():
    rng = np.random.default_rng(0)
    curve = np.cumsum(0.1 * rng.random(300))
    curve[100:] += 5
    first, second = seam_percentile(np.abs(np.diff(curve)), 100)
    assert first == 1.0 and second < 1.0


def test_jitter_is_the_mean_jerk():
    time = np.arange(50) / 25
    smooth = np.zeros((50, 2, 3))
    smooth[:, :, 1] = (0.5 * time**3)[:, None]  # third derivative 3 m/s³
    assert jitter(smooth) == pytest.approx(3.0)
    smooth[:, :, 0] = (4 * time**2 - time)[:, None]
    assert jitter(smooth) == pytest.approx(3.0)
    noisy = smooth + 1e-4 * np.random.default_rng(0).standard_normal(smooth.shape)
    assert jitter(noisy) > 2 * jitter(smooth) and np.isnan(jitter(smooth[:3]))


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


def test_spectrum_has_its_peak_at_the_frequency_and_its_area_is_the_power():
    time = np.arange(1000) / 25
    frequency, power = spectrum([np.sin(2 * np.pi * 3 * time), np.sin(2 * np.pi * 3 * time[:500])])
    assert frequency[power.argmax()] == pytest.approx(3, abs=0.2)
    assert power.sum() * frequency[1] == pytest.approx(0.5, rel=0.05)
    assert len(spectrum([np.zeros(5)])[0]) == 0
