# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a style vector comes from: a preset of the model, a reference motion, or a vector on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from .array_file import read_arrays
from .errors import OutputError, StyleError
from .model import DiffPoseTalk
from .motion import MotionClip, load_motion, resample, to_vectors
from .whole_file import whole_file

MIN_REFERENCE_FRAMES = 25
MAX_BYTES = 1 << 20
"""Of a style vector's file, which has half a kilobyte."""


def extract_style(model: DiffPoseTalk, clip: MotionClip, start_frame: int | None = None) -> torch.Tensor:
    """Style of a reference motion (paper equation 8), (S,).

    Args:
        start_frame: first of the 100 frames (4 s at 25 fps) that are read; None takes the middle of the clip.

    Raises:
        StyleError: the reference is in another basis, too short (under 1 s), or `start_frame` is outside it.
    """
    config = model.config
    if clip.basis != config.basis:
        raise StyleError(
            f"The style reference is in the {clip.basis} basis, the model speaks {config.basis}. "
            "Choose a reference in the model's basis, or convert it: diffposetalk convert motion.",
            "style_basis",
        )
    clip = resample(clip, config.fps)
    window = config.style_encoder.window
    count = len(clip)
    if count < MIN_REFERENCE_FRAMES:
        raise StyleError(
            f"The style reference is {count / config.fps:.2f} s long; at least 1 s of motion is needed.",
            "style_short",
        )
    if start_frame is None:
        start_frame = max(0, (count - window) // 2)
    if not 0 <= start_frame <= count - min(window, count):
        raise StyleError(
            f"The style reference has {count} frames; starting at {start_frame} leaves fewer than "
            f"{min(window, count)}.",
            "style_range",
        )
    vectors = to_vectors(clip, config.denoiser.motion_dim)[start_frame : start_frame + window]
    motion = torch.from_numpy(vectors).to(model.device)[None]
    with torch.no_grad():
        return model.encode_style(motion)[0]


def load_style_vector(path: str | Path, size: int) -> torch.Tensor:
    """A style vector saved as `.npy`, (size,).

    Raises:
        StyleError: missing, not such a file, or of the wrong size.
    """
    try:
        vector = np.asarray(read_arrays(path, ("",), MAX_BYTES)[""], dtype=np.float32).reshape(-1)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StyleError(f"{str(path)!r} is not a style vector (.npy).", "style_format") from error
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise StyleError(
            f"{str(path)!r} holds {vector.size} values; a style vector of {size} is needed.", "style_format"
        )
    return torch.from_numpy(vector)


def save_style_vector(path: str | Path, vector: torch.Tensor) -> Path:
    """Write a style vector (S,) as `.npy`, atomically: the file is whole or not there.

    Raises:
        StyleError: the folder cannot be written or is full.
    """
    path = Path(path).with_suffix(".npy")
    try:
        with whole_file(path) as file:
            np.save(file, vector.detach().cpu().numpy().astype(np.float32))
    except OutputError as error:
        raise StyleError(error.message, "style_write") from error
    return path


def resolve_style(model: DiffPoseTalk, spec: dict[str, Any] | None) -> torch.Tensor | None:
    """The style vector (S,) of `{"preset": id}`, `{"motion": path, "start_frame": n}` or `{"vector": path}`.

    None stays None: the model then generates without a style.

    Raises:
        StyleError: an unknown preset, or a reference that cannot be used.
    """
    if spec is None:
        return None
    if "preset" in spec:
        preset = model.styles.get(str(spec["preset"]))
        if preset is None:
            known = ", ".join(model.styles) or "none"
            raise StyleError(
                f"There is no style preset {spec['preset']!r}. Presets: {known}.", "style_preset"
            )
        return preset.vector.to(model.device)
    if "motion" in spec:
        return extract_style(model, load_motion(spec["motion"]), spec.get("start_frame"))
    if "vector" in spec:
        return load_style_vector(spec["vector"], model.config.denoiser.style_dim).to(model.device)
    raise StyleError("A style is a preset, a motion or a vector.", "style_format")
