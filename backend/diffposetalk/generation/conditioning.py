# SPDX-License-Identifier: GPL-3.0-or-later
"""What the network is told of a batch's windows, and how strongly they are guided."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..diffusion.guidance import Condition
from ..motion.channel_groups import MOUTH, channels_of
from ..networks.model import DiffPoseTalk
from .course import Course
from .line import Guidance


def condition(
    model: DiffPoseTalk, courses: list[Course], speech: list[torch.Tensor]
) -> tuple[Condition, torch.Tensor, torch.Tensor]:
    """The conditions of a batch, and its rows' guidance scales.

    Args:
        speech: projected features (T_w, C) of each course's window.

    Returns:
        (condition of B rows, w_a (B, 1) or (B, D), w_s (B, 1) or (B, D)).
    """
    device, d = model.device, model.config.denoiser
    styled = any(course.line.style is not None for course in courses)
    styles, shapes, indicators = [], [], []
    for course in courses:
        style, shape = course.line.style, course.line.shape
        styles.append(model.null_style[0] if style is None else style.to(device))
        shapes.append(
            torch.zeros(d.shape_dim, device=device)
            if shape is None
            else model.normalizer.normalize_shape(shape.to(device))
        )
        indicators.append((torch.arange(d.window, device=device) < course.real_frames).float())
    current = [
        torch.cat([course.previous_speech, features])
        for course, features in zip(courses, speech, strict=True)
    ]
    null_speech: torch.Tensor = model.null_speech
    if model.config.sampling.hears_before:
        silence = model.null_speech[0].expand(d.window, -1)
        null_speech = tensor_rows(
            courses, [torch.cat([course.previous_speech, silence]) for course in courses]
        )
    conditions = Condition(
        previous_motion=torch.cat([course.previous_motion for course in courses]),
        speech=tensor_rows(courses, current),
        null_speech=null_speech,
        style=tensor_rows(courses, styles) if styled else None,
        null_style=model.null_style,
        shape=tensor_rows(courses, shapes),
        indicator=tensor_rows(courses, indicators),
    )
    guidance = [course.guidance for course in courses]
    w_a = tensor_rows(courses, [speech_scale(model, g) for g in guidance])
    # Without a style, the two scales are the same: that leaves its branch no weight.
    with_style = number_rows(courses, [course.line.style is not None for course in courses])[:, None]
    w_s = torch.where(with_style, number_rows(courses, [g.style for g in guidance])[:, None], w_a)
    return conditions, w_a.to(device), w_s.to(device)


def tensor_rows(courses: list[Course], values: list[torch.Tensor]) -> torch.Tensor:
    """One value a course to one row a take, (B, …)."""
    return torch.cat([v.expand(course.rows, *v.shape) for course, v in zip(courses, values, strict=True)])


def number_rows(courses: list[Course], values: Sequence[float]) -> torch.Tensor:
    """One number a course to one a take, (B,)."""
    return torch.tensor([v for course, v in zip(courses, values, strict=True) for _ in course.takes])


def speech_scale(model: DiffPoseTalk, guidance: Guidance) -> torch.Tensor:
    """The scale w_a of each channel (D,)."""
    config = model.config
    scale = torch.where(mouth(model), guidance.lips, guidance.speech)
    for group, more in guidance.added.items():
        scale[channels_of((group,), config.basis, config.denoiser.motion_dim)] += more
    return scale


def mouth(model: DiffPoseTalk) -> torch.Tensor:
    """Mask (D,) of the channels that speech moves above all."""
    config = model.config
    return torch.from_numpy(channels_of(MOUTH[config.basis], config.basis, config.denoiser.motion_dim))
