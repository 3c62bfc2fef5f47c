# SPDX-License-Identifier: GPL-3.0-or-later
"""The denoiser's training losses (paper equations 2 to 6 and the released code's head losses)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..head_model import HeadModel

HEAD_CHANNELS = slice(50, 53)


@dataclass(frozen=True)
class LossWeights:
    """λ of equation 6 (vertices in metres²) and of the head losses (normalised head rotation).

    The geometric weights are half the paper's: on vertices around the lips alone, errors are larger than on a
    whole head. The paper's head weights (0.05, 5, 0.5, 0.5) punish each frame's noise so hard in normalised
    units that the head never learns to move (measured: its rotation stayed at the mean); here the angle leads.
    """

    vertex: float = 1e6
    velocity: float = 5e6
    smooth: float = 1e5
    head_angle: float = 0.5
    head_velocity: float = 0.2
    head_acceleration: float = 0.02
    head_transition: float = 0.02


class GeometricLoss:
    """Vertex, velocity and smoothness losses on the vertices that speech moves, at zero head pose.

    Args:
        head: the head model whose basis the motion is in.
        count: vertices taken from the lip region (the inner lips always) and a quarter as many of the upper face.
    """

    def __init__(self, head: HeadModel, count: int = 96, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        arrays = head.arrays
        inner = np.concatenate(
            [arrays["lip_inner_upper"], arrays["lip_inner_lower"], arrays["mouth_corners"]]
        )
        lips = rng.choice(arrays["mask_lips"], min(count, len(arrays["mask_lips"])), replace=False)
        upper = arrays["mask_upper_face"]
        upper = rng.choice(upper, min(count // 4, len(upper)), replace=False)
        self.vertices = np.unique(np.concatenate([inner, lips, upper]))
        self.head = head.restricted_to(self.vertices)

    def mesh(self, motion: torch.Tensor) -> torch.Tensor:
        """M_0 of equations 3 to 5: vertices (B, T, K, 3), metres, of motion vectors (B, T, D) in their units."""
        batch, frames = motion.shape[:2]
        flat = motion.flatten(0, 1).float()
        pose = torch.zeros(len(flat), 6, device=flat.device)
        pose[:, 3] = flat[:, -1]
        vertices = self.head.vertices(flat[:, :50], pose)[:, : len(self.vertices)]
        return vertices.unflatten(0, (batch, frames))

    def __call__(
        self, predicted: torch.Tensor, target: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Equations 3, 4 and 5 for motion vectors (B, T, D); `mask` (B, T) is 1 on real frames."""
        m_hat = self.mesh(predicted)
        with torch.no_grad():
            m = self.mesh(target)
        vertex = masked_mean((m - m_hat).square().mean((-1, -2)), mask)
        pair = mask[:, 1:] * mask[:, :-1]
        velocity = masked_mean((m.diff(dim=1) - m_hat.diff(dim=1)).square().mean((-1, -2)), pair)
        triple = pair[:, 1:] * pair[:, :-1]
        smooth = masked_mean(m_hat.diff(n=2, dim=1).square().mean((-1, -2)), triple)
        return vertex, velocity, smooth


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of (B, T) values where the mask is 1."""
    return (values * mask).sum() / mask.sum().clamp_min(1)


def head_loss(
    predicted: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, previous: int, weights: LossWeights
) -> torch.Tensor:
    """L_head: angle, velocity, acceleration and window transition of head rotation.

    Args:
        predicted, target: (B, T_p + T_w, D) normalised motion.
        mask: (B, T_p + T_w) 1 on real frames; the previous frames of a first window are not real.
        previous: T_p; the transition terms look at three frames on either side of the seam.
    """
    p, t = predicted[..., HEAD_CHANNELS], target[..., HEAD_CHANNELS]
    pair = mask[:, 1:] * mask[:, :-1]
    triple = pair[:, 1:] * pair[:, :-1]
    angle = masked_mean((p - t).square().mean(-1), mask)
    velocity = masked_mean((p.diff(dim=1) - t.diff(dim=1)).square().mean(-1), pair)
    acceleration = masked_mean(p.diff(n=2, dim=1).square().mean(-1), triple)
    seam = slice(previous - 3, previous + 3)
    seam_mask = mask[:, seam]
    second = seam_mask[:, 2:] * seam_mask[:, :-2]
    third = seam_mask[:, 3:] * seam_mask[:, :-3]
    transition = masked_mean(
        (p[:, seam].diff(n=2, dim=1) - t[:, seam].diff(n=2, dim=1)).square().mean(-1), second
    ) + masked_mean((p[:, seam].diff(n=3, dim=1) - t[:, seam].diff(n=3, dim=1)).square().mean(-1), third)
    return (
        weights.head_angle * angle
        + weights.head_velocity * velocity
        + weights.head_acceleration * acceleration
        + weights.head_transition * transition
    )
