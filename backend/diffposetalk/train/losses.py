# SPDX-License-Identifier: GPL-3.0-or-later
"""The denoiser's training losses (paper equations 2 to 6 and the released code's head losses)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..errors import ModelError
from ..head.head_model import HeadModel
from ..networks.model import DiffPoseTalk
from .recipe import LossWeights
from .training_set import HEAD_CHANNELS

_TENSORS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "eye_look_angles")


@dataclass(frozen=True)
class RealFrames:
    """Which frames are real.

    Attributes:
        mask: (B, T) 1 on real frames of the rows at hand.
        whole: (B', T) the same of all rows of a batch that several processes share, or None where one has it all.
    """

    mask: torch.Tensor
    whole: torch.Tensor | None = None

    def mean(self, values: torch.Tensor, order: int = 0, part: slice = slice(None)) -> torch.Tensor:
        """Mean of (B, T − order) values, each made of order + 1 frames, over those made of real frames alone.

        With several processes this is the share in the mean over the whole batch: their average is that mean.

        Args:
            part: of the frames, which the values are of.
        """
        real = _in_a_row(self.mask[:, part], order)
        count = real.sum()
        if self.whole is not None:
            count = _in_a_row(self.whole[:, part], order).sum() * (len(self.mask) / len(self.whole))
        return (values * real).sum() / count.clamp_min(1e-6)


def _in_a_row(mask: torch.Tensor, order: int) -> torch.Tensor:
    """(B, T − order): whether a frame and the `order` after it are real."""
    frames = mask.shape[1] - order
    return torch.stack([mask[:, k : k + frames] for k in range(order + 1)]).amin(0)


class GeometricLoss(nn.Module):
    """Vertex, velocity and smoothness losses at zero head pose, on chosen vertices of a head.

    Args:
        head: the head model whose basis the motion is in.
        vertices: (K,) indices of the vertices.
        weights: (K,) what each counts in the mean of squared errors; they need not add up to 1.
        jaw_rest: jaw rotation about y and z, which motion vectors lack (radians).
    """

    weights: torch.Tensor

    def __init__(
        self,
        head: HeadModel,
        vertices: np.ndarray,
        weights: np.ndarray,
        jaw_rest: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        super().__init__()
        self.vertices = vertices
        self.head = head.restricted_to(vertices)
        self.jaw_rest = jaw_rest
        self.register_buffer("weights", torch.as_tensor(weights, dtype=torch.float32), persistent=False)

    def mesh(self, motion: torch.Tensor, shape: torch.Tensor | None = None) -> torch.Tensor:
        """M_0(β, X) of equations 3 to 5: vertices (B, T, K, 3), metres.

        Args:
            motion: (B, T, D) motion vectors in their units.
            shape: (B, 100) identity coefficients; None is the template.
        """
        batch, frames = motion.shape[:2]
        flat = motion.flatten(0, 1).float()
        for name in _TENSORS:  # moved once; later nothing happens here
            setattr(self.head, name, getattr(self.head, name).to(flat.device))
        pose = flat.new_zeros(len(flat), 6)
        pose[:, 3] = flat[:, -1]
        pose[:, 4], pose[:, 5] = self.jaw_rest
        betas = None if shape is None else shape.float().repeat_interleave(frames, 0)
        vertices = self.head.vertices(flat[:, :50], pose, betas)[:, : len(self.vertices)]
        return vertices.unflatten(0, (batch, frames))

    def forward(
        self,
        predicted: torch.Tensor,
        target: torch.Tensor,
        real: RealFrames,
        shape: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Equations 3, 4 and 5 for motion vectors (B, T, D)."""
        m_hat = self.mesh(predicted, shape)
        with torch.no_grad():
            m = self.mesh(target, shape)
        error = m - m_hat
        return (
            real.mean(self._mean(error)),
            real.mean(self._mean(error.diff(dim=1)), 1),
            real.mean(self._mean(m_hat.diff(n=2, dim=1)), 2),
        )

    def _mean(self, error: torch.Tensor) -> torch.Tensor:
        """Weighted mean over vertices and coordinates of squared errors: (B, T, K, 3) to (B, T)."""
        return error.square().mean(-1) @ self.weights


def mouth_vertices(head: HeadModel, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The inner lips, `count` vertices of the lip region and a quarter as many of the upper face, equally weighted.

    Raises:
        ModelError: kind head_regions; the head asset has no masks of them.
    """
    rng = np.random.default_rng(seed)
    arrays = head.arrays
    named = ("lip_inner_upper", "lip_inner_lower", "mouth_corners", "mask_lips", "mask_upper_face")
    missing = [name for name in named if name not in arrays]
    if missing:
        raise ModelError(
            f'The head asset lacks {missing[0]!r}: train with geometry = "head", or convert it again with its '
            "regions.",
            "head_regions",
        )
    inner = np.concatenate([arrays[name] for name in named[:3]])
    lips = rng.choice(arrays["mask_lips"], min(count, len(arrays["mask_lips"])), replace=False)
    upper = arrays["mask_upper_face"]
    upper = rng.choice(upper, min(count // 4, len(upper)), replace=False)
    vertices = np.unique(np.concatenate([inner, lips, upper]))
    return vertices, np.full(len(vertices), 1 / len(vertices))


def moving_vertices(
    head: HeadModel, motion: np.ndarray, count: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` vertices and weights by which squared errors average to those over the whole head.

    A vertex is drawn with a probability in proportion to how far it moves in `motion` (T, D; a sample of the
    training motion), and weighted by its inverse (Horvitz and Thompson 1952): the paper's λ, which are for the
    mean over all vertices, keep their meaning, and vertices that never move cost nothing.
    """
    pose = np.zeros((len(motion), 6), np.float32)
    pose[:, 3] = motion[:, -1]
    with torch.no_grad():
        moved = head.vertices(torch.as_tensor(motion[:, :50]).float(), torch.from_numpy(pose)).numpy()
    mobility = np.sqrt(moved.var(axis=0).sum(axis=1)).astype(np.float64)
    # Far-moving vertices are certain to be drawn, what they leave of the count goes to the others.
    chance = np.zeros(len(mobility))
    count = min(count, int((mobility > 1e-6).sum()))
    certain = np.zeros(len(mobility), dtype=bool)
    while True:
        rest = np.where(certain | (mobility <= 1e-6), 0.0, mobility)
        left = count - certain.sum()
        chance = np.where(certain, 1.0, rest * (left / max(rest.sum(), 1e-12)))
        if not (more := (chance > 1) & ~certain).any():
            break
        certain |= more
    # Systematic sampling: one of the count at every whole number that the summed probabilities pass.
    order = np.random.default_rng(seed).permutation(len(chance))
    passed = np.floor(np.cumsum(chance[order]) + 0.5)
    picked = np.sort(order[np.diff(passed, prepend=0.0) > 0])
    return picked, 1 / (len(mobility) * chance[picked])


def simple_loss(predicted: torch.Tensor, target: torch.Tensor, real: RealFrames) -> torch.Tensor:
    """Equation 2: mean squared error of predicted clean motion, of normalised motion (B, T_p + T_w, D)."""
    return real.mean((predicted - target).square().mean(-1))


def head_loss(
    predicted: torch.Tensor, target: torch.Tensor, real: RealFrames, previous: int, weights: LossWeights
) -> torch.Tensor:
    """L_head: angle, velocity, acceleration and window transition of head rotation.

    Args:
        predicted, target: (B, T_p + T_w, D) normalised motion.
        real: of the T_p + T_w frames; those before a first window are not real.
        previous: T_p; the transition terms look at three frames on either side of the seam.
    """
    p, t = predicted[..., HEAD_CHANNELS], target[..., HEAD_CHANNELS]
    error = p - t
    seam = slice(previous - 3, previous + 3)
    angle = real.mean(error.square().mean(-1))
    velocity = real.mean(error.diff(dim=1).square().mean(-1), 1)
    acceleration = real.mean(p.diff(n=2, dim=1).square().mean(-1), 2)
    transition = real.mean(error[:, seam].diff(n=2, dim=1).square().mean(-1), 2, seam)
    transition = transition + real.mean(error[:, seam].diff(n=3, dim=1).square().mean(-1), 3, seam)
    return (
        weights.head_angle * angle
        + weights.head_velocity * velocity
        + weights.head_acceleration * acceleration
        + weights.head_transition * transition
    )


def denoiser_losses(
    predicted: torch.Tensor,
    target: torch.Tensor,
    real: RealFrames,
    identity: torch.Tensor | None,
    model: DiffPoseTalk,
    geometry: GeometricLoss | None,
    weights: LossWeights,
) -> dict[str, torch.Tensor]:
    """The terms of equation 6, weighted; their sum is the loss.

    Args:
        predicted, target: (B, T_p + T_w, D) normalised motion.
        identity: (B, 100) identity coefficients; None is the template.
        model: whose statistics the motion is normalised by.
        geometry: None leaves equations 3 to 5 away.
    """
    losses = {"simple": simple_loss(predicted, target, real)}
    if geometry is not None:
        denormalize = model.normalizer.denormalize
        vertex, velocity, smooth = geometry(denormalize(predicted), denormalize(target), real, identity)
        losses["vertex"] = weights.vertex * vertex
        losses["velocity"] = weights.velocity * velocity
        losses["smooth"] = weights.smooth * smooth
    if model.config.head_pose:
        losses["head"] = head_loss(predicted, target, real, model.config.denoiser.previous, weights)
    return losses
