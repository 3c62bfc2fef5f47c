# SPDX-License-Identifier: GPL-3.0-or-later
"""From the paths that a user gives to motion clips; what server and command line have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
    heads: tuple[str | Path, str | Path] | None = None,
) -> tuple[SpeechAudio, list[MotionClip]]:
    """Read a recording and generate one clip per seed.

    Args:
        audio, audio_start, audio_seconds: file, and the part of it in seconds (None: to its end).
        style, style_name: what the options' style holds, and what the provenance calls it.
        heads: head assets of the model and of the character to animate; where their bases differ the clips (and
            those given to `on_window`) come converted to the character's, and their provenance says so.
        others: as `batching.generate` takes them.

    Raises:
        DiffPoseTalkError: the recording, the shape or a setting cannot be used.
    """
    refuse_settings(model, options)
    in_basis_of_target = None if heads is None else _conversion(model.config.basis, *heads)
    if in_basis_of_target is not None and on_window is not None:
        told = on_window

        def on_window(take: int, start: int, clip: MotionClip) -> None:
            told(take, start, in_basis_of_target(clip))

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
    if in_basis_of_target is not None:

        def converted(done: int, total: int) -> None:
            if cancelled():
                raise Cancelled()
            if on_progress is not None:  # a client that hears nothing for long takes the process for hung
                on_progress("convert", done, total)

        clips = [in_basis_of_target(clip, converted) for clip in clips]
    return speech, clips


def conversions(
    basis: str, heads: tuple[str | Path, str | Path] | None
) -> tuple[Callable[[MotionClip], MotionClip], Callable[..., MotionClip]] | None:
    """From clips for the second of two heads to those of a model whose head is the first, and back.

    None where there are no heads, or both speak the model's basis. Raises ModelError as `_conversion`.
    """
    from ..head.basis_conversion import Conversion
    from ..head.head_model import load_head

    back = None if heads is None else _conversion(basis, *heads)
    if heads is None or back is None:
        return None
    conversion = Conversion(load_head(heads[1]), load_head(heads[0]))
    return lambda clip: conversion(clip)[0], back


def _conversion(
    basis: str, model_head: str | Path, target_head: str | Path
) -> Callable[..., MotionClip] | None:
    """What turns clips of a model into clips for another head, as of `Conversion`; None if both speak its basis.

    Raises:
        ModelError: a head cannot be read; kind head_basis: the model's head does not speak the model's basis.
    """
    from ..head.basis_conversion import Conversion
    from ..head.head_model import load_head

    target = load_head(target_head)
    if target.basis == basis:
        return None
    source = load_head(model_head)
    if source.basis != basis:
        raise ModelError(
            f"The model speaks the {basis} basis, but the head given for it “{Path(model_head).name}” speaks "
            f"{source.basis}. Give a head of the model's own basis.",
            "head_basis",
        )
    conversion = Conversion(source, target)
    return lambda clip, on_progress=None: conversion(clip, on_progress)[0]


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
