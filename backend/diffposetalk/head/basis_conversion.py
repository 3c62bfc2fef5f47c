# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion of one head's expression basis said in another's: FLAME to ARKit and back, between any two head assets.

Both faces are moved from rest; per frame the target's expression coefficients and jaw pitch are those whose
displacement of the face points that the heads share is closest to the source's. The displacement is linear in a few
features of the unknowns (`jaw_fields`), so all frames are solved together through the products of the features'
fields: Gauss-Newton, each step a box-constrained, ridge-regularised least squares problem of 51 unknowns a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from ..config import EXPRESSION_DIM
from ..errors import MotionError
from ..motion.clip import MotionClip
from .bounded_least_squares import bounded_least_squares
from .correspondence import Correspondence, correspond, head_hash
from .head_model import HeadModel, inner_lips
from .jaw_fields import jaw_features, jaw_fields, jaw_slope

__all__ = ["Conversion", "Correspondence", "Residual", "convert", "correspond"]

RIDGE = 0.05e-3
"""Metres of misfit that one unit of an ARKit coefficient, or one standard deviation of FLAME's, must be worth."""
LIP_WEIGHT = 0.3
"""Of the parting of the lips, beside a total of 1 of all face points: a mouth must close when it closes."""
FLAME_RANGE = 4.0
"""FLAME coefficients stay within this many standard deviations."""
JAW_RANGE = (-0.1, 1.5)
"""Jaw pitch: radians below rest, and multiples of the head's jaw_open_angle."""
GAZE_RADIUS = 0.012
"""Metres on the eyeball that a radian of gaze counts as, where both heads can turn their eyes."""
STEPS = 4  # of Gauss and Newton
CHUNK = 500  # frames at a time, so that an hour needs no more memory than twenty seconds
BIN = 0.005  # millimetres; width of the histogram that gives the residual's percentile


@dataclass(frozen=True)
class Residual:
    """How far the converted face is from the original, over frames and face points, in millimetres of the target.

    mean, p95, maximum: of the distance between the displacements at corresponding points.
    moved: mean displacement of the original, for comparison.
    lost: what the target cannot show at all, as sentences; empty if nothing.
    """

    mean: float
    p95: float
    maximum: float
    moved: float
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"residual {self.mean:.2f} mm mean, {self.p95:.2f} mm 95th percentile, {self.maximum:.2f} mm maximum "
            f"(the face moves {self.moved:.2f} mm on average)"
        )

    def to_dict(self) -> dict[str, Any]:
        """For a clip's provenance."""
        return {"mean": round(self.mean, 4), "p95": round(self.p95, 4), "max": round(self.maximum, 4)}


def convert(
    clip: MotionClip, source: HeadModel, target: HeadModel, correspondence: Correspondence | None = None
) -> tuple[MotionClip, Residual]:
    """The clip in the target head's basis, and what that leaves unsaid; see `Conversion`.

    Args:
        correspondence: of these two heads; None finds it (`correspond`).
    """
    return Conversion(source, target, correspondence)(clip)


class Conversion:
    """From one head's basis to another's, with everything worked out that does not depend on the motion."""

    def __init__(
        self, source: HeadModel, target: HeadModel, correspondence: Correspondence | None = None
    ) -> None:
        self.source, self.target = source, target
        self.same = head_hash(source) == head_hash(target)
        if self.same:
            return
        match = correspondence or correspond(source, target)
        lips = _matching_lips(source, target)
        self.points = len(match.points)
        self.reading = _Reading(source, match, lips)
        parting = jaw_fields(target, lips.target[0]) - jaw_fields(target, lips.target[1])
        fields = np.concatenate([jaw_fields(target, match.points), parting])
        self.fields = fields.reshape(-1, fields.shape[2])
        weights = np.concatenate([match.weights, np.full(lips.count, LIP_WEIGHT / max(lips.count, 1))])
        self.weighted = self.fields * np.repeat(weights, 3)[:, None]
        self.gram = self.fields.T @ self.weighted
        self.low, self.high = _bounds(source, target)

    def __call__(
        self, clip: MotionClip, on_progress: Callable[[int, int], None] | None = None
    ) -> tuple[MotionClip, Residual]:
        """The clip in the target head's basis, and what that leaves unsaid.

        The head rotation is copied. The identity stays behind: the motion is read off the source's template.
        Turned eyes are kept where both heads' expressions turn them, and reported as lost where the target's do
        not. A frame does not depend on those beside it. Between a head and itself the clip is returned as it is.

        Args:
            on_progress: told the frames that are done, and their number; what it raises ends the conversion.

        Raises:
            MotionError: kind motion_basis; the clip is not in the source head's basis.
        """
        if clip.basis != self.source.basis:
            raise MotionError(
                f"The motion is in the {clip.basis} basis, but the head it is to be converted from speaks "
                f"{self.source.basis}. Name the head it was made for: diffposetalk convert motion --from-head.",
                "motion_basis",
            )
        if self.same:
            return clip, Residual(0.0, 0.0, 0.0, 0.0)
        look = self.source.eye_look_angles.numpy().astype(np.float64)
        gaze = np.einsum(
            "te,esk->tsk", clip.exp.astype(np.float64), look
        )  # pitch and yaw of both eyes, radians
        exp, jaw = np.empty((len(clip), EXPRESSION_DIM)), np.empty(len(clip))
        misses = _Misses()
        for first in range(0, len(clip), CHUNK):
            part = slice(first, first + CHUNK)
            wanted = self.reading.displacements(clip.exp[part], clip.pose[part])
            exp[part], jaw[part] = self._solved(wanted @ self.weighted, gaze[part])
            shown = jaw_features(exp[part], jaw[part]) @ self.fields.T
            # The partings of the lips behind the points count for the solution, not in the report.
            misses.add(*(d.reshape(len(d), -1, 3)[:, : self.points] for d in (wanted, shown)))
            if on_progress is not None:
                on_progress(min(first + CHUNK, len(clip)), len(clip))
        residual = misses.residual(_lost(clip, gaze, self.target))
        pose = np.zeros((len(clip), 6), np.float32)
        pose[:, :3] = clip.pose[:, :3]
        pose[:, 3] = jaw
        provenance = {
            **clip.provenance,
            "converted_from": clip.basis,
            "conversion_residual_mm": residual.to_dict(),
        }
        if residual.lost:
            provenance["conversion_lost"] = list(residual.lost)
        names = tuple(str(n) for n in self.target.arrays.get("expression_names", ()))
        exp = exp.astype(np.float32)
        return MotionClip(exp, pose, clip.fps, self.target.basis, None, names, provenance), residual

    def _solved(self, aim: np.ndarray, gaze: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (T, 50) and jaw pitch (T,) for the products of displacements and fields, (T, FEATURES)."""
        count = EXPRESSION_DIM
        # Gaze is linear in the coefficients: four more rows, the same in every frame.
        look = self.target.eye_look_angles.numpy().astype(np.float64).reshape(count, 4) * GAZE_RADIUS
        look_gram, look_aim = look @ look.T, gaze.reshape(len(gaze), 4) * GAZE_RADIUS @ look.T
        ridge = np.diag(np.append(np.full(count, RIDGE**2), 0.0))
        x = np.zeros((len(aim), count + 1))
        for _ in range(STEPS):
            a, g = self._normal_equations(aim, x[:, :count], x[:, count])
            a[:, :count, :count] += look_gram
            g[:, :count] += look_aim - x[:, :count] @ look_gram
            g += np.einsum("tij,tj->ti", a, x)
            x = bounded_least_squares(a + ridge, g, self.low, self.high, x)
        return x[:, :count], x[:, count]

    def _normal_equations(
        self, aim: np.ndarray, exp: np.ndarray, jaw: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """JᵀWJ (T, 51, 51) and JᵀW(what is missing) (T, 51), the displacement linearised at (exp, jaw).

        On the features the Jacobian by the coefficients is [I, s I, k I], and `jaw_slope` by the jaw.
        """
        count, frames = EXPRESSION_DIM, len(aim)
        s, k = np.sin(jaw)[:, None, None], 1 - np.cos(jaw)[:, None, None]
        factors = (np.ones_like(s), s, k)
        part = [slice(i * count, (i + 1) * count) for i in range(3)]
        slope = jaw_slope(exp, jaw)
        missing = aim - jaw_features(exp, jaw) @ self.gram
        a, g = np.zeros((frames, count + 1, count + 1)), np.zeros((frames, count + 1))
        for i in range(3):
            for j in range(3):
                a[:, :count, :count] += factors[i] * factors[j] * self.gram[part[i], part[j]]
            a[:, :count, count] += factors[i][:, :, 0] * (slope @ self.gram[part[i]].T)
            g[:, :count] += factors[i][:, :, 0] * missing[:, part[i]]
        a[:, count, :count] = a[:, :count, count]
        a[:, count, count] = ((slope @ self.gram) * slope).sum(axis=1)
        g[:, count] = (missing * slope).sum(axis=1)
        return a, g


class _Misses:
    """Distances between two sets of displacements, (T, N, 3) metres each, gathered part by part."""

    def __init__(self) -> None:
        self.histogram = np.zeros(0, np.int64)
        self.sum = self.moved = self.maximum = 0.0

    def add(self, wanted: np.ndarray, shown: np.ndarray) -> None:
        miss = 1e3 * np.linalg.norm(shown - wanted, axis=2).ravel()
        counts = np.bincount((miss / BIN).astype(np.int64), minlength=len(self.histogram))
        counts[: len(self.histogram)] += self.histogram
        self.histogram = counts
        self.sum += float(miss.sum())
        self.maximum = max(self.maximum, float(miss.max()))
        self.moved += float(1e3 * np.linalg.norm(wanted, axis=2).sum())

    def residual(self, lost: tuple[str, ...]) -> Residual:
        count = int(self.histogram.sum())
        p95 = float(np.searchsorted(self.histogram.cumsum(), 0.95 * count) + 0.5) * BIN
        return Residual(self.sum / count, p95, self.maximum, self.moved / count, lost)


@dataclass(frozen=True)
class _Lips:
    """Pairs of inner-lip vertices, and for each of the target's the mixture of the source's at its place.

    source, target: (2, K_s) and (2, K_t) vertices, upper and lower. mixture: (K_t, K_s) rows summing to 1.
    """

    source: np.ndarray
    target: np.ndarray
    mixture: np.ndarray

    @property
    def count(self) -> int:
        return self.target.shape[1]


def _matching_lips(source: HeadModel, target: HeadModel) -> _Lips:
    """Matched by their place across the mouth; no pairs if one of the heads does not say where its lips meet."""
    pairs, places = [], []
    for head in (source, target):
        lips = inner_lips(head)
        if lips is None:
            return _Lips(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.int64), np.zeros((0, 0)))
        across = head.v_template.numpy()[:, 0].astype(np.float64)
        left, right = np.sort(across[lips[2]])
        both = np.stack(lips[:2]).astype(np.int64)
        both = both[:, np.argsort(across[both].mean(axis=0))]
        pairs.append(both)
        places.append((across[both].mean(axis=0) - left) / (right - left))
    unit = np.eye(pairs[0].shape[1])
    mixture = np.stack([np.interp(places[1], places[0], row) for row in unit], axis=1)
    return _Lips(pairs[0], pairs[1], mixture)


class _Reading:
    """How motion displaces the shared points of a head and parts its lips, in the other head's axes and size."""

    def __init__(self, head: HeadModel, match: Correspondence, lips: _Lips) -> None:
        points, count = len(match.points), len(match.points) + lips.count
        used, place = np.unique(
            np.concatenate([match.triangles.ravel(), lips.source.ravel()]), return_inverse=True
        )
        corners, upper, lower = np.split(place, [3 * points, 3 * points + lips.source.shape[1]])
        pair = points + np.repeat(np.arange(lips.count), lips.source.shape[1])
        shares = np.concatenate([match.barycentric.ravel(), lips.mixture.ravel(), -lips.mixture.ravel()])
        rows = np.concatenate([np.repeat(np.arange(points), 3), pair, pair])
        columns = np.concatenate([corners, np.tile(upper, lips.count), np.tile(lower, lips.count)])
        self.between = scipy.sparse.csr_matrix((shares, (rows, columns)), (count, len(used)))
        self.head = head.restricted_to(used)
        self.rest = head.v_template.numpy()[used]
        self.turn = float(match.scale) * match.rotation.T

    def displacements(self, exp: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """(T, 3(N + K)) metres: the points', then the upper lip's less the lower one's."""
        still = np.concatenate([np.zeros_like(pose[:, :3]), pose[:, 3:]], axis=1)
        moved = (self.head.posed(exp, still)[:, : len(self.rest)] - self.rest) @ self.turn
        flat = moved.transpose(1, 0, 2).reshape(len(self.rest), -1)
        displacements = (self.between @ flat).reshape(self.between.shape[0], -1, 3)
        return displacements.transpose(1, 0, 2).reshape(len(exp), -1)


def _bounds(source: HeadModel, target: HeadModel) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest values (51,) of the coefficients and the jaw pitch."""
    arkit = target.basis == "arkit"
    low = np.full(EXPRESSION_DIM + 1, 0.0 if arkit else -FLAME_RANGE)
    high = np.full(EXPRESSION_DIM + 1, 1.0 if arkit else FLAME_RANGE)
    if not source.eye_look_angles.any():  # lids that follow the gaze must not make one up
        turning = target.eye_look_angles.numpy().any(axis=(1, 2))
        low[:-1][turning] = high[:-1][turning] = 0.0
    low[-1], high[-1] = JAW_RANGE[0], JAW_RANGE[1] * target.jaw_open_angle
    return low, high


def _lost(clip: MotionClip, gaze: np.ndarray, target: HeadModel) -> tuple[str, ...]:
    lost = []
    turn = np.degrees(np.abs(gaze).max(initial=0.0))
    if turn > 0.1 and not target.eye_look_angles.any():
        lost.append(
            f"The gaze, up to {turn:.0f}° here, is lost: the {target.basis} basis does not turn the eyes."
        )
    aside = np.degrees(np.abs(clip.pose[:, 4:]).max(initial=0.0))
    if aside > 0.1:
        lost.append(f"The jaw turns aside by up to {aside:.1f}°; only its opening is kept as a rotation.")
    return tuple(lost)
