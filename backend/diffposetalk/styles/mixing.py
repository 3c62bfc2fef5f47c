# SPDX-License-Identifier: GPL-3.0-or-later
"""Mixtures of styles: weighted sums of style vectors that keep the length of their parts.

Style vectors of one encoder all have about the same length, and two unlike ones stand at a right angle: halfway
between them the plain sum is a third shorter, which the denoiser takes for an indistinct style. So the direction is
the sum's, and the length the mean of the parts' lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import StyleError

SHORTEST = 0.25
"""Of the parts' length that the sum of opposite styles may have; a shorter one has no direction to speak of."""


def mix_styles(vectors: Sequence[torch.Tensor], amounts: Sequence[float]) -> torch.Tensor:
    """The mixture (S,) of style vectors (S,).

    Args:
        amounts: weight of each, 0 or more, made to sum to 1.

    Raises:
        StyleError: weights that are negative, not finite or all zero, or vectors of different sizes.
    """
    weights = torch.tensor(list(amounts), dtype=torch.float32)
    if len(vectors) != len(weights) or not len(weights):
        raise StyleError("A mixture needs an amount for each of its styles.", "style_mix")
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()) or float(weights.sum()) <= 0:
        raise StyleError("The amounts of a mixture are 0 or more, and not all 0.", "style_mix")
    if len({tuple(v.shape) for v in vectors}) > 1:
        raise StyleError("Styles of different models cannot be mixed.", "style_model")
    stacked = torch.stack(list(vectors))
    weights = (weights / weights.sum()).to(stacked)
    mixed = weights @ stacked
    length = weights @ stacked.norm(dim=1)
    return mixed * (length / torch.maximum(mixed.norm(), SHORTEST * length).clamp_min(1e-12))
