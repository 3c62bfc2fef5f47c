# SPDX-License-Identifier: GPL-3.0-or-later
"""Resumable training checkpoints: one file a step count, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

KEEP = 2


class Stateful(Protocol):
    """Anything with PyTorch's state_dict convention: modules, optimisers, schedulers."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def save_step(folder: Path, step: int, parts: Mapping[str, Stateful]) -> None:
    """Write `step-N.pt` and drop all but the newest KEEP."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "step.part"
    torch.save({"step": step, **{k: v.state_dict() for k, v in parts.items()}}, part)
    os.replace(part, folder / f"step-{step:08d}.pt")
    for old in sorted(folder.glob("step-*.pt"))[:-KEEP]:
        old.unlink()


def load_latest(folder: Path, parts: Mapping[str, Stateful]) -> int:
    """Restore `parts` from the newest checkpoint; returns its step, or 0 where there is none."""
    found = sorted(folder.glob("step-*.pt"))
    if not found:
        return 0
    state = torch.load(found[-1], map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])
