# SPDX-License-Identifier: GPL-3.0-or-later
"""From the paths that a user gives to motion clips; what server and command line have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..config import SHAPE_DIM
from ..errors import Cancelled, ModelError, StyleError, refusing
from ..files.array_file import read_arrays
from ..motion.clip import MotionClip
from ..networks.model import DiffPoseTalk
from ..sound.audio import SpeechAudio, load_speech
from .batching import OnProgress, OnWindow, generate
from .draft import refuse_settings
from .options import GenerationOptions

if TYPE_CHECKING:
    from ..head.basis_conversion import Conversion

Heads = tuple[str | Path, str | Path]
"""Head assets of a model and of the character to animate."""
MAX_SHAPE_BYTES = 1 << 20
"""Of a file of identity coefficients, or of its array, which has half a kilobyte."""


def animate(
    model: DiffPoseTalk,
    audio: str | Path,
    options: GenerationOptions,
    style: torch.Tensor | None = None,
    style_name: str = "",
    *,
    audio_start: float = 0.0,
    audio_seconds: float | None = None,
    on_progress: OnProgress | None = None,
    on_window: OnWindow | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    heads: Heads | None = None,
) -> tuple[SpeechAudio, list[MotionClip]]:
    """Read a recording and generate one clip per seed.

    Args:
        audio, audio_start, audio_seconds: file, and the part of it in seconds (None: to its end).
        style, style_name: what the options' style holds, and what the provenance calls it.
        heads: where their bases differ the clips (and those given to `on_window`) come converted to the character's,
            and their provenance says so.
        others: as `batching.generate` takes them.

    Raises:
        DiffPoseTalkError: the recording, the shape or a setting cannot be used.
    """
    refuse_settings(model, options)
    to_target = conversion(model.config.basis, heads)
    if to_target is not None and on_window is not None:
        on_converted = on_window

        def on_window(take: int, start: int, clip: MotionClip) -> None:
            on_converted(take, start, to_target(clip)[0])

    speech = load_speech(audio, audio_start, audio_seconds, cancelled)
    clips = generate(
        model,
        speech,
        options,
        style=style,
        style_name=style_name,
        shape=load_shape(options.shape),
        on_progress=on_progress,
        on_window=on_window,
        cancelled=cancelled,
    )
    if to_target is not None:

        def converted(done: int, total: int) -> None:
            if cancelled():
                raise Cancelled()
            if on_progress is not None:  # a client that hears nothing for long takes the process for hung
                on_progress("convert", done, total)

        clips = [to_target(clip, converted)[0] for clip in clips]
    return speech, clips


def conversions(
    basis: str, heads: Heads | None
) -> tuple[Callable[[MotionClip], MotionClip], Callable[[MotionClip], MotionClip]] | None:
    """From clips for the character's head to a model's, and back; None as of `conversion`, which also raises."""
    back = conversion(basis, heads)
    if back is None:
        return None
    from ..head.basis_conversion import Conversion

    there = Conversion(back.target, back.source)
    return lambda clip: there(clip)[0], lambda clip: back(clip)[0]


def conversion(basis: str, heads: Heads | None) -> Conversion | None:
    """From clips of a model to those for a character's head; None if there are no heads, or both speak its basis.

    Raises:
        ModelError: a head cannot be read; kind head_basis: the model's head does not speak the model's basis.
    """
    if heads is None:
        return None
    from ..head.basis_conversion import Conversion
    from ..head.head_model import load_head

    target = load_head(heads[1])
    if target.basis == basis:
        return None
    source = load_head(heads[0])
    if source.basis != basis:
        raise ModelError(
            f"The model speaks the {basis} basis, but the head given for it “{Path(heads[0]).name}” speaks "
            f"{source.basis}. Give a head of the model's own basis.",
            "head_basis",
        )
    return Conversion(source, target)


def load_shape(path: str | Path | None) -> torch.Tensor | None:
    """Identity coefficients (100,) float32 from a `.npy`, or the `shape` array of a `.npz`; None stays None.

    Raises:
        StyleError: kind shape_invalid; missing, not such a file, or not 100 finite numbers.
    """
    if path is None:
        return None
    foreign = f"“{path}” is not a file of identity coefficients (.npy, or .npz with “shape”)."
    with refusing(StyleError(foreign, "shape_invalid")):
        (array,) = read_arrays(path, ("", "shape"), MAX_SHAPE_BYTES).values()
        shape = np.asarray(array, dtype=np.float32).reshape(-1)
    if shape.shape != (SHAPE_DIM,) or not np.isfinite(shape).all():
        raise StyleError(f"“{path}” must hold {SHAPE_DIM} finite identity coefficients.", "shape_invalid")
    return torch.from_numpy(shape)
