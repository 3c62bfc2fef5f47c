# SPDX-License-Identifier: GPL-3.0-or-later
"""From the paths that a user gives to motion clips; what server and command line have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import SHAPE_DIM
from ..errors import Cancelled, ModelError, StyleError
from ..files.array_file import read_arrays
from ..motion.clip import MotionClip, load_motion
from ..networks.model import DiffPoseTalk
from ..sound.audio import SpeechAudio, load_speech
from .batching import OnProgress, OnWindow, generate
from .draft import refuse_settings
from .options import GenerationOptions
from .ranges import parse_holds, regenerate

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
    cancelled: Callable[[], bool] | None = None,
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

    speech = load_speech(audio, audio_start, audio_seconds)
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
            if cancelled is not None and cancelled():
                raise Cancelled()
            if on_progress is not None:  # a client that hears nothing for long takes the process for hung
                on_progress("convert", done, total)

        clips = [in_basis_of_target(clip, converted) for clip in clips]
    return speech, clips


def reanimate(
    model: DiffPoseTalk,
    audio: str | Path,
    motion: str | Path,
    start: int,
    stop: int,
    options: GenerationOptions,
    style: torch.Tensor | None = None,
    style_name: str = "",
    *,
    hold: Any = (),
    audio_start: float = 0.0,
    audio_seconds: float | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] | None = None,
    heads: tuple[str | Path, str | Path] | None = None,
) -> tuple[SpeechAudio, list[MotionClip]]:
    """Read a recording and a take of it, and generate frames `start` to `stop` (exclusive) of that again.

    Args:
        audio, audio_start, audio_seconds: as of `animate`; frame 0 of the take is at `audio_start`.
        motion: the take's file, at the model's rate, in its basis or that of the second of `heads`.
        hold: what stays as it is inside the range, as `ranges.parse_holds` takes it.
        others: as of `animate`.

    Raises:
        DiffPoseTalkError: as of `animate` and `ranges.regenerate`.
    """
    refuse_settings(model, options)
    holds = parse_holds(hold)
    conversions = None
    if heads is not None and (back := _conversion(model.config.basis, *heads)) is not None:
        conversions = _inverse(*heads), back
    clip = load_motion(motion)
    speech = load_speech(audio, audio_start, audio_seconds)
    clips = regenerate(
        model,
        speech,
        clip,
        start,
        stop,
        options,
        holds=holds,
        style=style,
        style_name=style_name,
        shape=load_shape(options.shape),
        on_progress=on_progress,
        cancelled=cancelled,
        conversions=conversions,
    )
    return speech, clips


def _inverse(model_head: str | Path, target_head: str | Path) -> Callable[[MotionClip], MotionClip]:
    """What turns clips for another head into clips of a model."""
    from ..head.basis_conversion import Conversion
    from ..head.head_model import load_head

    conversion = Conversion(load_head(target_head), load_head(model_head))
    return lambda clip: conversion(clip)[0]


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
    try:
        arrays = read_arrays(path, ("", "shape"), MAX_SHAPE_BYTES)
        (array,) = arrays.values()
        shape = np.asarray(array, dtype=np.float32).reshape(-1)
    except (OSError, ValueError, TypeError) as error:
        raise StyleError(
            f"“{path}” is not a file of identity coefficients (.npy, or .npz with “shape”).", "shape_invalid"
        ) from error
    if shape.shape != (SHAPE_DIM,) or not np.isfinite(shape).all():
        raise StyleError(f"“{path}” must hold {SHAPE_DIM} finite identity coefficients.", "shape_invalid")
    return torch.from_numpy(shape)
