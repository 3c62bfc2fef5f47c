# SPDX-License-Identifier: GPL-3.0-or-later
"""Bare style vectors on disk (`.npy`), as the released code writes them: they do not say which model they are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..errors import StyleError
from ..files.array_file import read_arrays
from ..files.whole_file import whole_file

MAX_BYTES = 1 << 20
"""Of a style vector's file, which has half a kilobyte."""


def load_style_vector(path: str | Path, size: int) -> torch.Tensor:
    """A style vector saved as `.npy`, (size,).

    Raises:
        StyleError: missing, not such a file, or of the wrong size.
    """
    try:
        vector = np.asarray(read_arrays(path, ("",), MAX_BYTES)[""], dtype=np.float32).reshape(-1)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StyleError(f"{str(path)!r} is not a style vector (.npy).", "style_format") from error
    if vector.shape != (size,):
        raise StyleError(
            f"{str(path)!r} holds {vector.size} values; a style vector of {size} is needed.", "style_format"
        )
    if not np.isfinite(vector).all():
        raise StyleError(f"{str(path)!r} holds values that are not finite.", "style_format")
    return torch.from_numpy(vector)


def save_style_vector(path: str | Path, vector: torch.Tensor) -> Path:
    """Write a style vector (S,) as `.npy`, atomically: the file is whole or not there.

    Raises:
        StyleError: the folder cannot be written or is full.
    """
    path = Path(path).with_suffix(".npy")
    with whole_file(path, StyleError, "style_write") as file:
        np.save(file, vector.detach().cpu().numpy().astype(np.float32))
    return path
