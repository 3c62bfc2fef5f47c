# SPDX-License-Identifier: GPL-3.0-or-later
"""Incremental classifier-free guidance over speech and style (paper equation 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import DiffPoseTalkError
from ..networks.prepared_denoiser import PreparedDenoiser, PreparedWindow


@dataclass(frozen=True)
class Condition:
    """What a window is generated from; B clips or takes.

    Attributes:
        previous_motion: (B, T_p, D) normalised motion before the window.
        speech: (B, T_p + T_w, C) projected speech features.
        null_speech: (1, 1, C) learned feature that stands for "no speech", or what the branch without speech
            hears at every frame, (B, T_p + T_w, C).
        style: (B, S) style vectors, or None to generate without one.
        null_style: (1, S) learned vector that stands for "no style".
        shape: (B, 100) normalised shape coefficients.
        indicator: (B, T_w) 1 for real frames, 0 for padding.
    """

    previous_motion: torch.Tensor
    speech: torch.Tensor
    null_speech: torch.Tensor
    style: torch.Tensor | None
    null_style: torch.Tensor
    shape: torch.Tensor
    indicator: torch.Tensor


@dataclass(frozen=True)
class DynamicThreshold:
    """Clamps a branch's prediction to ±s, s the `ratio` quantile of its magnitudes, itself within [low, high].

    Dynamic thresholding of Saharia et al. 2022 (Imagen), without their division by s, as the released code has it.
    """

    ratio: float = 0.99
    low: float = 1.0
    high: float = 4.0

    def __post_init__(self) -> None:
        if not (0 < self.ratio <= 1 and 0 < self.low <= self.high < float("inf")):
            raise DiffPoseTalkError(
                "Dynamic thresholding takes a ratio above 0 up to 1 and two limits above 0, the lower one first.",
                "settings_threshold",
            )

    def __call__(self, x0: torch.Tensor) -> torch.Tensor:
        """Clamp predictions (…, T_w, D), each window on its own."""
        s = torch.quantile(x0.flatten(-2).abs(), self.ratio, dim=-1).clamp(self.low, self.high)[
            ..., None, None
        ]
        return x0.clamp(-s, s)


SPARSE_WEIGHT = 0.8


class SparseBranch:
    """Evaluates the branch without speech at every few steps, and in between infers it from the one with speech.

    Their difference changes slowly along the ODE: it is continued linearly in half-logSNR λ from the last two
    evaluations. In equation 10 the branch has the weight 1 − w_a, −0.15 in the paper, so an error of it
    counts little; where it weighs more than `SPARSE_WEIGHT`, it is not left out. `benchmarks/solver_error.py` measures
    what this changes.

    Args:
        every: steps from one evaluation to the next; 1 leaves none out.
        half_log_snr: λ of steps 1..N.
    """

    def __init__(self, every: int, half_log_snr: Sequence[float]) -> None:
        self.every = every
        self.half_log_snr = half_log_snr
        self.calls = 0
        self.known: list[tuple[float, torch.Tensor]] = []  # (λ, difference), the newest first

    def __call__(
        self, whole: PreparedWindow, rest: PreparedWindow, heavy: torch.Tensor, x: torch.Tensor, step: int
    ) -> torch.Tensor:
        """What `whole(x, step)` gives, (K, B, T_w, D).

        Args:
            whole, rest: the window with all branches, and without the first, which hears no speech.
            heavy: (B,) True for rows in which nothing is to be left out.
        """
        lam = self.half_log_snr[step - 1]
        turn = self.calls % self.every == 0
        self.calls += 1
        parts = whole(x, step) if turn or bool(heavy.any()) else rest(x, step)
        if turn:
            self.known = [(lam, parts[1] - parts[0]), *self.known[:1]]
            return parts
        last, difference = self.known[0]
        if len(self.known) > 1:
            before, earlier = self.known[1]
            difference = difference + (lam - last) / (last - before) * (difference - earlier)
        if len(parts) == whole.branches:
            inferred = torch.where(heavy[:, None, None], parts[0], parts[1] - difference)
            return torch.cat([inferred[None], parts[1:]])
        return torch.cat([(parts[0] - difference)[None], parts])


class GuidedDenoiser:
    """`denoise(x, step)` for the samplers: the guided clean prediction of a window's T_w frames.

    All branches of all rows run in one forward. With guidance scales w_a (speech) and w_s (style):
    x0 = D(∅, ∅) + w_a [D(A, ∅) − D(∅, ∅)] + w_s [D(A, s) − D(A, ∅)].

    Args:
        denoiser: the network, prepared for sampling.
        condition: of B rows.
        w_a, w_s: one scale for all rows, (B,) one for each, or (B, D) one for each channel of each.
        threshold: applied to every branch before they are combined.
        sparse: leaves out evaluations of the branch without speech; None computes equation 10 as it stands.
    """

    def __init__(
        self,
        denoiser: PreparedDenoiser,
        condition: Condition,
        w_a: float | torch.Tensor,
        w_s: float | torch.Tensor,
        threshold: DynamicThreshold | None = None,
        sparse: SparseBranch | None = None,
    ) -> None:
        c = condition
        # (B, D), or (B, 1) where all channels have the same.
        scale_a, scale_s = (
            torch.as_tensor(w, dtype=torch.float32, device=c.speech.device) for w in (w_a, w_s)
        )
        scale_a, scale_s = (w if w.ndim == 2 else w.reshape(-1, 1) for w in (scale_a, scale_s))
        scale_a, scale_s = torch.broadcast_tensors(scale_a, scale_s)
        scale_a, scale_s = (w.expand(len(c.speech), -1) for w in (scale_a, scale_s))
        null_speech = c.null_speech.expand(-1, c.speech.shape[1], -1)
        # (speech, style, weight in the sum); a branch that no row gives a weight is not computed.
        branches = [(null_speech, c.null_style, 1 - scale_a)]
        if c.style is None:
            branches.append((c.speech, c.null_style, scale_a))
        else:
            branches.append((c.speech, c.null_style, scale_a - scale_s))
            branches.append((c.speech, c.style, scale_s))
        branches = [b for b in branches if bool((b[2] != 0).any())]
        self.weights = torch.stack([b[2] for b in branches])  # (K, B, D or 1)
        self.threshold = threshold
        self.window = denoiser.window(
            c.previous_motion, [(b[0], b[1]) for b in branches], c.shape, c.indicator
        )

        self.heavy = ((1 - scale_a).abs() > SPARSE_WEIGHT).any(dim=1)
        silent = bool((scale_a != 1).any())  # whether the branch without speech is there at all
        self.sparse = sparse if silent and not bool(self.heavy.all()) else None
        self.rest = self.window.without_first_branch()

    def __call__(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """Guided prediction of the clean window, shape of `x` (B, T_w, D), at diffusion step `step`."""
        if self.sparse is None:
            parts = self.window(x, step)
        else:
            parts = self.sparse(self.window, self.rest, self.heavy, x, step)
        if self.threshold is not None:
            parts = self.threshold(parts)
        return (self.weights[:, :, None] * parts).sum(dim=0)
