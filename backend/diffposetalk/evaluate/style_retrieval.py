# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the style of generated motion finds the reference it was asked to follow, among others.

The model's own style encoder reads both (paper section 3.3.1), compared by the cosine it was trained under.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr


def cosine_similarity(outputs: np.ndarray, references: np.ndarray) -> np.ndarray:
    """(N, M) cosines of style vectors (N, S) and (M, S)."""
    ours = outputs / np.maximum(np.linalg.norm(outputs, axis=1, keepdims=True), 1e-12)
    theirs = references / np.maximum(np.linalg.norm(references, axis=1, keepdims=True), 1e-12)
    return ours @ theirs.T


def top_1(outputs: np.ndarray, references: np.ndarray) -> float:
    """Share of outputs whose most similar reference is the one they were made after; chance is 1/N.

    Args:
        outputs: (N, S) styles of generated motion; references: (N, S), row i is what output i followed.
    """
    if outputs.shape != references.shape:
        raise ValueError(f"{len(outputs)} outputs do not pair with {len(references)} references")
    return float((cosine_similarity(outputs, references).argmax(axis=1) == np.arange(len(outputs))).mean())


def rank_correlation(outputs: Sequence[float], references: Sequence[float]) -> float:
    """Spearman's correlation of a quantity (a head's amplitude, an opening) over styles; NaN if one is constant."""
    if len(outputs) < 3 or np.ptp(outputs) == 0 or np.ptp(references) == 0:
        return float("nan")
    return float(spearmanr(outputs, references).statistic)
