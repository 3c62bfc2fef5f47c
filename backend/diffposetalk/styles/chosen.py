# SPDX-License-Identifier: GPL-3.0-or-later
"""The style that takes are made in: what was asked for, else the model's own."""

from __future__ import annotations

from typing import Any

import torch

from ..networks.model import DiffPoseTalk
from .specification import resolve_style, style_name


def chosen_spec(model: DiffPoseTalk, spec: dict[str, Any] | None) -> dict[str, Any] | None:
    """A style as `resolve_style` takes it; instead of None the model's default preset, if it has one."""
    default = model.config.sampling.style
    return {"preset": default} if spec is None and default else spec


def chosen_style(model: DiffPoseTalk, spec: dict[str, Any] | None) -> tuple[torch.Tensor | None, str]:
    """Its vector (S,) or None, and what a motion's provenance calls it. Raises as `resolve_style` does."""
    spec = chosen_spec(model, spec)
    return resolve_style(model, spec), style_name(spec)
