# SPDX-License-Identifier: GPL-3.0-or-later
"""The style that takes are made in: what was asked for, else the model's own."""

from __future__ import annotations

import torch

from ..networks.model import DiffPoseTalk
from .request import StyleRequest


def chosen_request(model: DiffPoseTalk, asked: object) -> StyleRequest | None:
    """What was asked for, as of `StyleRequest.parse`; instead of None the model's default preset, if it has one."""
    if asked is not None:
        return StyleRequest.parse(asked)
    return StyleRequest("preset", model.config.sampling.style) if model.config.sampling.style else None


def chosen_style(model: DiffPoseTalk, asked: object) -> tuple[torch.Tensor | None, str]:
    """Its vector (S,) or None, and what a motion's provenance calls it. Raises as `StyleRequest.resolve` does."""
    request = chosen_request(model, asked)
    return (None, "") if request is None else (request.resolve(model), request.name)
