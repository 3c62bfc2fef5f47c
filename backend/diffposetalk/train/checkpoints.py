# SPDX-License-Identifier: GPL-3.0-or-later
"""Resumable training checkpoints: one file a step count, written whole or not at all."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from ..errors import DataError, refusing

log = logging.getLogger(__name__)


class Stateful(Protocol):
    """Anything with PyTorch's state_dict convention: modules, optimisers, gradient scalers."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def save_step(folder: Path, step: int, parts: Mapping[str, Stateful], keep: int = 2) -> None:
    """Write `step-N.pt` and drop all but the newest few. On disk before it has its name: power may fail."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "step.part"
    with part.open("wb") as file:
        torch.save({"step": step, **{k: v.state_dict() for k, v in parts.items()}}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, folder / f"step-{step:08d}.pt")
    for old in sorted(folder.glob("step-*.pt"))[:-keep]:
        old.unlink()


def load_latest(folder: Path, parts: Mapping[str, Stateful]) -> int:
    """Restore `parts` from the newest checkpoint that can be read; returns its step, or 0 where there is none.

    Raises:
        DataError: `data_checkpoint`; checkpoints are there, but none can be read, or they are of another model.
    """
    checkpoints = sorted(folder.glob("step-*.pt"), reverse=True)
    for path in checkpoints:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            log.warning("%s cannot be read (%s); trying the one before.", path, error)
            continue
        foreign = DataError(
            f"The checkpoint “{path}” is of another model or another kind of training.", "data_checkpoint"
        )
        with refusing(foreign, RuntimeError, KeyError, ValueError):
            for name, part in parts.items():
                part.load_state_dict(state[name])
        return int(state["step"])
    if checkpoints:
        raise DataError(f"None of the checkpoints in “{folder}” can be read.", "data_checkpoint")
    return 0
