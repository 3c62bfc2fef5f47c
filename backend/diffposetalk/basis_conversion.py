# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion of one head's expression basis said in another's: FLAME to ARKit and back, between any two head assets.

Both faces are moved from rest; per frame the target's expression coefficients c and jaw pitch t are those whose
displacement of the face points that the heads share is closest to the source's. With only the jaw turned, linear
blend skinning moves a point with skinning weight w for the jaw to

    x0 + B c + P(t) + w (R(t) - I) (x0 + B c + P(t) - J0 - G c),    R(t) - I = sin t S + (1 - cos t) S²

(B expression directions, P the correctives of the jaw, J0 + G c the jaw joint, S the cross product with x), which
is linear in the features [c, s c, k c, s, k, s², s k, k²] with s = sin t and k = 1 - cos t. All frames are solved
together through the products of those features' fields: Gauss-Newton in (c, t), each step a box-constrained, ridge-
regularised least squares problem of 51 unknowns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch

from .bounded_least_squares import bounded_least_squares
from .config import EXPRESSION_DIM
from .correspondence import Correspondence, correspond, head_hash
from .errors import MotionError
from .head_model import JAW, HeadModel
from .motion import MotionClip

__all__ = ["Correspondence", "Residual", "convert", "correspond"]

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
CHUNK = 256  # frames at a time through the source's skinning


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
    """The clip in the target head's basis, and what that leaves unsaid.

    The head rotation is copied. The identity stays behind: the motion is read off the source's template. Turned
    eyes are kept where both heads' expressions turn them, and are reported as lost where the target's do not.

    Args:
        clip: motion in the source head's basis.
        correspondence: of these two heads; None finds it (`correspond`).

    Raises:
        MotionError: kind motion_basis; the clip is not in the source head's basis.
    """
    require_basis(clip, source, "the head it comes from")
    gaze = _gaze(clip, source)
    if head_hash(source) == head_hash(target):
        return clip, Residual(0.0, 0.0, 0.0, 0.0)
    match = correspondence or correspond(source, target)
    lips = _matching_lips(source, target)
    wanted = _displacements(clip, source, match, lips)
    fields = _JawFields(target, match.points, lips)
    weights = np.concatenate([match.weights, np.full(lips.count, LIP_WEIGHT / max(lips.count, 1))])
    exp, jaw = _solve(wanted, fields, weights, target, gaze, source)
    count = len(
        match.points
    )  # the partings of the lips behind them count for the solution, not in the report
    miss = fields.displacements(exp, jaw)
    miss -= wanted
    miss, moved = (
        1e3 * np.linalg.norm(part.reshape(len(clip), -1, 3)[:, :count], axis=2) for part in (miss, wanted)
    )
    residual = Residual(
        float(miss.mean()),
        float(np.percentile(miss, 95)),
        float(miss.max()),
        float(moved.mean()),
        _lost(clip, gaze, target),
    )
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
    names = tuple(str(n) for n in target.arrays.get("expression_names", ()))
    converted = MotionClip(exp.astype(np.float32), pose, clip.fps, target.basis, None, names, provenance)
    return converted, residual


def require_basis(clip: MotionClip, head: HeadModel, whose: str) -> None:
    """Refuse a clip that does not speak the head's basis; a basis is never silently taken for another.

    Raises:
        MotionError: kind motion_basis.
    """
    if clip.basis != head.basis:
        raise MotionError(
            f"The motion is in the {clip.basis} basis, but {whose} speaks {head.basis}. "
            "Convert the motion first: diffposetalk convert motion.",
            "motion_basis",
        )


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
    names = ("lip_inner_upper", "lip_inner_lower", "mouth_corners")
    if not all(name in head.arrays for head in (source, target) for name in names):
        return _Lips(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.int64), np.zeros((0, 0)))
    pairs, places = [], []
    for head in (source, target):
        across = head.v_template.numpy()[:, 0].astype(np.float64)
        left, right = np.sort(across[head.arrays["mouth_corners"]])
        both = np.stack([head.arrays["lip_inner_upper"], head.arrays["lip_inner_lower"]]).astype(np.int64)
        both = both[:, np.argsort(across[both].mean(axis=0))]
        pairs.append(both)
        places.append((across[both].mean(axis=0) - left) / (right - left))
    unit = np.eye(pairs[0].shape[1])
    mixture = np.stack([np.interp(places[1], places[0], row) for row in unit], axis=1)
    return _Lips(pairs[0], pairs[1], mixture)


def _displacements(clip: MotionClip, head: HeadModel, match: Correspondence, lips: _Lips) -> np.ndarray:
    """How the clip moves the shared points from rest and how it parts the lips: (T, 3(N + K)) metres.

    In the target's axes and size. The parting is the upper lip's displacement less the lower one's.
    """
    used, place = np.unique(
        np.concatenate([match.triangles.ravel(), lips.source.ravel()]), return_inverse=True
    )
    points = len(match.points)
    corner, lip = place[: 3 * points], place[3 * points :].reshape(2, -1)
    small = head.restricted_to(used)
    exp = torch.as_tensor(clip.exp, dtype=torch.float32)
    pose = torch.as_tensor(clip.pose, dtype=torch.float32).clone()
    pose[:, :3] = 0
    rest = head.v_template.numpy()[used]
    turn = float(match.scale) * match.rotation.T
    count = points + lips.count
    between = scipy.sparse.csr_matrix(
        (match.barycentric.ravel(), (np.repeat(np.arange(points), 3), corner)), (count, len(used))
    ) + sum(
        sign
        * scipy.sparse.csr_matrix(
            (
                lips.mixture.ravel(),
                (points + np.indices(lips.mixture.shape)[0].ravel(), np.tile(row, lips.count)),
            ),
            (count, len(used)),
        )
        for sign, row in ((1.0, lip[0]), (-1.0, lip[1]))
    )
    out = np.empty((len(clip), count, 3))
    for first in range(0, len(clip), CHUNK):
        part = slice(first, first + CHUNK)
        with torch.no_grad():
            moved = small.vertices(exp[part], pose[part]).numpy()[:, : len(used)] - rest
        moved = (moved @ turn).transpose(1, 0, 2).reshape(len(used), -1)
        out[part] = (between @ moved).reshape(count, -1, 3).transpose(1, 0, 2)
    return out.reshape(len(clip), -1)


class _JawFields:
    """The displacement fields of a head's features (see the module's text): (3(N + K), 3·50 + 5).

    At N points, and of the parting of K pairs of lip vertices.
    """

    def __init__(self, head: HeadModel, points: np.ndarray, lips: _Lips) -> None:
        parting = self._at(head, lips.target[0]) - self._at(head, lips.target[1])
        fields = np.concatenate([self._at(head, points), parting])
        self.fields = fields.reshape(-1, fields.shape[2])

    @staticmethod
    def _at(head: HeadModel, points: np.ndarray) -> np.ndarray:
        """The fields at some vertices, (N, 3, 155)."""
        regress = head.J_regressor[JAW].numpy().astype(np.float64)
        template = head.v_template.numpy().astype(np.float64)
        directions = head.shapedirs.numpy()[:, :, -EXPRESSION_DIM:]
        at_joint = np.einsum("v,vck->ck", regress, directions)
        weight = head.weights.numpy()[points, JAW].astype(np.float64)[:, None, None]
        correctives = head.posedirs.T.reshape(-1, 3, 36).numpy()[points].astype(np.float64)[:, :, 9:18]
        along_s = (correctives[:, :, 7] - correctives[:, :, 5])[:, :, None]
        along_k = -(correctives[:, :, 4] + correctives[:, :, 8])[:, :, None]
        arm = (template[points] - regress @ template)[:, :, None]
        moving = directions[points].astype(np.float64)
        cross = np.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])

        def turned(field: np.ndarray) -> np.ndarray:
            return weight * (cross @ field)

        def turned_twice(field: np.ndarray) -> np.ndarray:
            return weight * (cross @ cross @ field)

        return np.concatenate(
            [
                moving,
                turned(moving - at_joint),
                turned_twice(moving - at_joint),
                along_s + turned(arm),
                along_k + turned_twice(arm),
                turned(along_s),
                turned(along_k) + turned_twice(along_s),
                turned_twice(along_k),
            ],
            axis=2,
        )

    @staticmethod
    def features(exp: np.ndarray, jaw: np.ndarray) -> np.ndarray:
        """(T, 155) of coefficients (T, 50) and jaw pitch (T,)."""
        s, k = np.sin(jaw)[:, None], 1 - np.cos(jaw)[:, None]
        return np.concatenate([exp, s * exp, k * exp, s, k, s * s, s * k, k * k], axis=1)

    @staticmethod
    def jaw_slope(exp: np.ndarray, jaw: np.ndarray) -> np.ndarray:
        """Derivative of `features` by the jaw pitch, (T, 155)."""
        s, k, c = np.sin(jaw)[:, None], 1 - np.cos(jaw)[:, None], np.cos(jaw)[:, None]
        return np.concatenate([0 * exp, c * exp, s * exp, c, s, 2 * s * c, c * k + s * s, 2 * k * s], axis=1)

    def displacements(self, exp: np.ndarray, jaw: np.ndarray) -> np.ndarray:
        """(T, 3N) metres."""
        return self.features(exp, jaw) @ self.fields.T


def _solve(
    wanted: np.ndarray,
    fields: _JawFields,
    weights: np.ndarray,
    target: HeadModel,
    gaze: np.ndarray,
    source: HeadModel,
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (T, 50) and jaw pitch (T,) whose displacements are closest to `wanted` (T, 3N)."""
    low, high = _bounds(target, source)
    frames, count = len(wanted), EXPRESSION_DIM
    weighted = fields.fields * np.repeat(weights, 3)[:, None]
    gram = fields.fields.T @ weighted
    aim = wanted @ weighted
    # Gaze is linear in the coefficients: four more rows, the same in every frame.
    look = target.eye_look_angles.numpy().astype(np.float64).reshape(count, 4) * GAZE_RADIUS
    look_gram, look_aim = look @ look.T, gaze.reshape(frames, 4) * GAZE_RADIUS @ look.T
    ridge = np.full(count + 1, RIDGE**2)
    ridge[count] = 0.0
    x = np.zeros((frames, count + 1))
    for _ in range(STEPS):
        exp, jaw = x[:, :count], x[:, count]
        s, k = np.sin(jaw)[:, None, None], 1 - np.cos(jaw)[:, None, None]
        slope = fields.jaw_slope(exp, jaw)
        miss = aim - fields.features(exp, jaw) @ gram
        # The Jacobian by the coefficients is [I, s I, k I] on the features.
        blocks = [
            [gram[i * count : (i + 1) * count, j * count : (j + 1) * count] for j in range(3)]
            for i in range(3)
        ]
        rows = [gram[i * count : (i + 1) * count] for i in range(3)]
        a = np.empty((frames, count + 1, count + 1))
        factors = (np.ones_like(s), s, k)
        a[:, :count, :count] = look_gram + sum(
            factors[i] * factors[j] * blocks[i][j] for i in range(3) for j in range(3)
        )
        cross = sum(factors[i][:, :, 0] * (slope @ rows[i].T) for i in range(3))
        a[:, :count, count] = a[:, count, :count] = cross
        a[:, count, count] = np.einsum("tf,fg,tg->t", slope, gram, slope, optimize=True)
        g = np.empty((frames, count + 1))
        g[:, :count] = (
            sum(factors[i][:, :, 0] * miss[:, i * count : (i + 1) * count] for i in range(3))
            + look_aim
            - exp @ look_gram
        )
        g[:, count] = (miss * slope).sum(axis=1)
        g += np.einsum("tij,tj->ti", a, x)
        a += np.diag(ridge)
        x = bounded_least_squares(a, g, low, high, x)
    return x[:, :count], x[:, count]


def _bounds(target: HeadModel, source: HeadModel) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest values (51,) of the coefficients and the jaw pitch."""
    arkit = target.basis == "arkit"
    low = np.full(EXPRESSION_DIM + 1, 0.0 if arkit else -FLAME_RANGE)
    high = np.full(EXPRESSION_DIM + 1, 1.0 if arkit else FLAME_RANGE)
    if not source.eye_look_angles.any():  # lids that follow the gaze must not make one up
        turning = target.eye_look_angles.numpy().any(axis=(1, 2))
        low[:-1][turning] = high[:-1][turning] = 0.0
    low[-1], high[-1] = JAW_RANGE[0], JAW_RANGE[1] * target.jaw_open_angle
    return low, high


def _gaze(clip: MotionClip, head: HeadModel) -> np.ndarray:
    """Pitch and yaw of both eyes, (T, 2, 2) radians."""
    return np.einsum(
        "te,esk->tsk", clip.exp.astype(np.float64), head.eye_look_angles.numpy().astype(np.float64)
    )


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
