# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the face that metrics look at, followed through a motion on the head's mesh at zero head rotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from ..motion.clip import MotionClip
from .head_model import LEFT_EYE, HeadModel

REQUIRED = ("mask_lips", "mask_upper_face", "lip_inner_upper", "lip_inner_lower")
SAMPLE_EVERY = 8
"""Every eighth vertex of the head stands for all of them where a mean over the whole face is taken."""
CHUNK = 256
"""Frames at a time through the skinning."""


@dataclass(frozen=True)
class FaceTrack:
    """A motion on the mesh, metres, head rotation taken out.

    Attributes:
        lips: (T, L, 3) vertices of `mask_lips`.
        upper_face: (T, U, 3) vertices of `mask_upper_face`; upper_face_rest: (U, 3) the same of the face at rest.
        face: (T, V / SAMPLE_EVERY, 3) vertices of the whole head.
        opening: (T,) gap between the inner lips at the middle, less that of the resting head.
        width: (T,) distance of the mouth's corners, less that at rest; NaN where the asset does not mark them.
    """

    lips: np.ndarray
    upper_face: np.ndarray
    upper_face_rest: np.ndarray
    face: np.ndarray
    opening: np.ndarray
    width: np.ndarray


class FaceRegions:
    """A head reduced to the vertices that metrics need.

    Raises:
        ModelError: kind head_regions; the asset does not say where lips or upper face are.
    """

    def __init__(self, head: HeadModel) -> None:
        missing = [name for name in REQUIRED if name not in head.arrays]
        if missing:
            raise ModelError(
                f"This head asset lacks {missing[0]}, without which lips and upper face cannot be measured. "
                "Convert the FLAME file again with --masks FLAME_masks.pkl and --landmarks landmark_embedding.npy.",
                "head_regions",
            )
        parts = {name: np.asarray(head.arrays[name]) for name in REQUIRED}
        parts["mouth_corners"] = np.asarray(head.arrays.get("mouth_corners", np.zeros(0, np.int32)))
        # Without the eyeballs: FLAME's motion has no gaze, which would count as expression here.
        skin = np.flatnonzero(head.weights.numpy()[:, LEFT_EYE:].sum(axis=1) <= 0.5)
        parts["face"] = skin[::SAMPLE_EVERY]
        chosen, places = np.unique(np.concatenate(list(parts.values())), return_inverse=True)
        ends = np.cumsum([len(part) for part in parts.values()])
        self.head = head
        self.basis = head.basis
        self._small = head.restricted_to(chosen)
        self._count = len(chosen)
        self._places = dict(zip(parts, np.split(places, ends[:-1]), strict=True))

    def track(self, clip: MotionClip, shape: np.ndarray | None = None) -> FaceTrack:
        """Follow the face through a clip.

        Args:
            clip: in the head's basis.
            shape: (100,) identity coefficients that the face is given, or None for the template.

        Raises:
            ModelError: kind head_basis; the clip is in another basis.
        """
        if clip.basis != self.basis:
            raise ModelError(
                f"The motion is in the {clip.basis} basis, the head it is measured on shows {self.basis}. "
                "Convert it (diffposetalk convert motion) or choose a head of its basis (--head).",
                "head_basis",
            )
        resting = self._vertices(np.zeros((1, clip.exp.shape[1]), np.float32), np.zeros((1, 3)), shape)
        moving = self._vertices(clip.exp, clip.pose[:, 3:], shape)
        gap, width = self._gap(moving) - self._gap(resting), self._width(moving) - self._width(resting)
        return FaceTrack(
            lips=moving[:, self._places["mask_lips"]],
            upper_face=moving[:, self._places["mask_upper_face"]],
            upper_face_rest=resting[0, self._places["mask_upper_face"]],
            face=moving[:, self._places["face"]],
            opening=gap,
            width=width,
        )

    def _vertices(self, exp: np.ndarray, jaw: np.ndarray, shape: np.ndarray | None) -> np.ndarray:
        pose = np.concatenate([np.zeros_like(jaw), jaw], axis=1)
        parts = [slice(first, first + CHUNK) for first in range(0, len(exp), CHUNK)]
        pieces = [self._small.posed(exp[part], pose[part], shape)[:, : self._count] for part in parts]
        return np.concatenate(pieces)

    def _gap(self, vertices: np.ndarray) -> np.ndarray:
        upper, lower = (vertices[:, self._places[f"lip_inner_{side}"], 1] for side in ("upper", "lower"))
        return (upper - lower).mean(axis=1)

    def _width(self, vertices: np.ndarray) -> np.ndarray:
        corners = vertices[:, self._places["mouth_corners"]]
        if corners.shape[1] != 2:
            return np.full(len(vertices), np.nan)
        return np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1)
