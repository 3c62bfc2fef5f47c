# SPDX-License-Identifier: GPL-3.0-or-later
"""The paper's metrics on cases whose answers are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from diffposetalk.evaluate.confidence import estimate
from diffposetalk.evaluate.lip_sync import opening_variance_ratio
from diffposetalk.evaluate.paper_metrics import (
    angular_speed,
    beat_alignment,
    expression_diversity,
    head_beats,
    head_pose_diversity,
    lip_vertex_error,
    mouth_opening_difference,
    shuffled_control,
    upper_face_dynamics,
    upper_face_dynamics_deviation,
)
from diffposetalk.evaluate.style_following import cosine_similarity, rank_correlation, top_1

RNG = np.random.default_rng(0)


def test_interval_is_students():
    values = [8.9, 9.1, 9.0, 8.7, 9.4, 9.2, 8.8, 9.0, 9.1, 8.9]
    result = estimate(values)
    low, high = stats.t.interval(0.95, 9, np.mean(values), stats.sem(values))
    assert result.mean == pytest.approx(np.mean(values)) and result.runs == 10
    assert result.mean - result.half_width == pytest.approx(low)
    assert result.mean + result.half_width == pytest.approx(high)
    # by the table: t(0.975, 9) = 2.262
    assert result.half_width == pytest.approx(2.262 * np.std(values, ddof=1) / np.sqrt(10), rel=1e-3)


def test_a_single_run_has_no_interval_and_missing_runs_do_not_count():
    assert estimate([3.0]).half_width is None
    assert estimate([float("nan"), 1.0, 3.0]).mean == 2.0 and estimate([float("nan"), 1.0, 3.0]).runs == 2
    assert np.isnan(estimate([]).mean) and estimate([]).runs == 0


def test_lve_is_the_largest_distance_of_a_frame_in_millimetres():
    actual = RNG.normal(size=(4, 6, 3))
    predicted = actual.copy()
    predicted[1, 2] += [0.003, 0.004, 0.0]  # 5 mm
    predicted[1, 5] += [0.0, 0.0, 0.001]
    predicted[3] += [0.0, 0.002, 0.0]
    assert lip_vertex_error(predicted, actual) == pytest.approx([0, 5, 0, 2], abs=1e-9)
    with pytest.raises(ValueError):
        lip_vertex_error(predicted[:3], actual)


def test_fdd_is_zero_for_the_same_and_known_for_scaled_motion():
    neutral = RNG.normal(size=(5, 3))
    direction = RNG.normal(size=(5, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    amount = np.abs(np.sin(np.arange(100) / 7)) * 2e-3
    actual = neutral + amount[:, None, None] * direction
    assert upper_face_dynamics(actual, neutral) == pytest.approx([amount.std()] * 5)
    assert upper_face_dynamics_deviation(actual, actual, neutral) == 0
    half = neutral + 0.5 * amount[:, None, None] * direction
    expected = 1e5 * 0.5 * amount.std()
    assert upper_face_dynamics_deviation(half, actual, neutral) == pytest.approx(expected)
    assert upper_face_dynamics_deviation(actual, half, neutral) == pytest.approx(-expected)
    still = np.broadcast_to(neutral, actual.shape)
    assert upper_face_dynamics_deviation(still, actual, neutral) == pytest.approx(2 * expected)


def test_fdd_does_not_ask_when_things_move():
    neutral = np.zeros((3, 3))
    moved = np.abs(RNG.normal(size=(60, 3, 3))) * 1e-3
    assert upper_face_dynamics_deviation(moved[::-1], moved, neutral) == pytest.approx(0, abs=1e-9)


def test_mod_is_the_mean_difference_of_openings():
    actual = np.array([0.0, 0.010, 0.004])
    assert mouth_opening_difference(np.array([0.001, 0.007, 0.004]), actual) == pytest.approx([1, 3, 0])
    assert opening_variance_ratio(0.5 * actual, actual) == pytest.approx(0.25)
    assert np.isnan(opening_variance_ratio(actual, np.zeros(3)))


def nodding(pauses: list[int], frames: int = 200) -> np.ndarray:
    """A head whose speed dips at the given frames."""
    frame = np.arange(frames - 1)
    speed = np.full(frames - 1, 1.0)
    for pause in pauses:
        speed -= 0.9 * np.exp(-0.5 * ((frame - pause) / 6) ** 2)
    angle = np.concatenate([[0], np.cumsum(speed)]) * 0.01
    return angle[:, None] * np.array([[1.0, 0, 0]])


def test_beats_are_where_the_head_pauses():
    assert head_beats(nodding([40, 90, 150])).tolist() == [40, 90, 150]
    assert len(head_beats(np.zeros((100, 3)))) == 0 and len(head_beats(np.zeros((3, 3)))) == 0


def test_angular_speed_is_that_of_the_rotation_not_of_its_vector():
    axis = np.array([0.0, 1.0, 0.0])
    turning = Rotation.from_rotvec(np.radians(3.0) * np.arange(150)[:, None] * axis).as_rotvec()
    assert np.abs(np.diff(turning, axis=0)).max() > 6  # the vector jumps at half a turn
    assert angular_speed(turning) == pytest.approx(np.full(149, np.radians(3.0)))


def test_ba_of_the_same_head_is_one_and_of_shifted_beats_as_the_formula_says():
    actual = head_beats(nodding([40, 90, 150]))
    assert beat_alignment(actual, actual) == 1.0
    shifted = head_beats(nodding([42, 92, 152]))
    assert beat_alignment(shifted, actual) == pytest.approx(np.exp(-4 / 18))
    # one beat met, one missed by 3 frames, one by 30
    assert beat_alignment(np.array([10, 63]), np.array([10, 60, 93])) == pytest.approx(
        (1 + np.exp(-0.5) + np.exp(-50)) / 3
    )
    assert beat_alignment(np.zeros(0), actual) == 0.0 and np.isnan(beat_alignment(actual, np.zeros(0)))


def test_control_compares_with_other_clips_only():
    beats = [np.array([10, 40]), np.array([25, 55]), np.array([12, 70])]
    expected = np.mean(
        [
            beat_alignment(beats[i][beats[i] < 60], beats[j][beats[j] < 60])
            for i in range(3)
            for j in range(3)
            if i != j
        ]
    )
    assert shuffled_control(beats, beats, [60, 60, 60])[0] == pytest.approx(expected)
    assert np.isnan(shuffled_control(beats[:1], beats[:1], [60])).all()
    still = [np.zeros(0, int), *beats]  # a head that never moves has no beats that others could meet
    assert shuffled_control([beats[0], *beats], still, [60] * 4) == pytest.approx(
        shuffled_control(beats, beats, [60] * 3)
    )


def test_aligned_heads_score_above_the_control_and_random_ones_do_not():
    rng = np.random.default_rng(1)

    def beats() -> np.ndarray:
        return np.cumsum(rng.integers(15, 40, 40))

    actual = [beats() for _ in range(12)]
    frames = [1200] * 12
    followed = [a + rng.integers(-1, 2, len(a)) for a in actual]
    random = [beats() for _ in range(12)]
    control, above = shuffled_control(random, actual, frames)
    assert abs(above) < 3 and shuffled_control(followed, actual, frames)[1] > 4
    assert np.mean([beat_alignment(p, a) for p, a in zip(followed, actual, strict=True)]) > control + 0.5
    assert np.mean([beat_alignment(p, a) for p, a in zip(random, actual, strict=True)]) == pytest.approx(
        control, abs=0.05
    )


def test_diversity_of_gaussian_faces():
    spread = 1e-3
    samples = spread * np.random.default_rng(2).normal(size=(6, 40, 200, 3))
    # |x - y| of two such points is chi-distributed: mean 4 spread / sqrt(pi)
    assert expression_diversity(list(samples)) == pytest.approx(1e4 * 4 * spread / np.sqrt(np.pi), rel=0.01)
    assert expression_diversity([samples[0], samples[0]]) == 0 and np.isnan(
        expression_diversity([samples[0]])
    )


def test_diversity_of_heads_is_the_mean_angle_between_pairs():
    def pitched(degrees: float) -> np.ndarray:
        return np.tile(np.radians([degrees, 0, 0]), (30, 1))

    assert head_pose_diversity([pitched(0), pitched(3), pitched(-6)]) == pytest.approx((3 + 6 + 9) / 3)
    assert np.isnan(head_pose_diversity([pitched(1)]))


def test_retrieval_finds_synthetic_styles_among_twenty():
    rng = np.random.default_rng(3)
    references = rng.normal(size=(20, 64))
    assert top_1(3 * references + 0.3 * rng.normal(size=(20, 64)), references) == 1.0
    swapped = references.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert top_1(swapped, references) == pytest.approx(0.9)
    chance = np.mean([top_1(rng.normal(size=(20, 64)), references) for _ in range(200)])
    assert chance == pytest.approx(0.05, abs=0.015)
    with pytest.raises(ValueError):
        top_1(references[:5], references)


def test_similarity_and_rank_correlation():
    assert cosine_similarity(np.array([[2.0, 0]]), np.array([[1.0, 0], [0, 3.0], [-1, 0]])) == pytest.approx(
        np.array([[1, 0, -1]])
    )
    assert rank_correlation([1, 2, 30], [0.1, 0.2, 0.3]) == pytest.approx(1)
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
