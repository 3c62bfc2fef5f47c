# SPDX-License-Identifier: GPL-3.0-or-later
"""Training the speaking style encoder by contrast (paper section 3.3.1)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..config import StyleEncoderConfig
from ..style_encoder import StyleEncoder, nt_xent
from .checkpoints import load_latest, save_step
from .sequences import TrainingSet


@dataclass(frozen=True)
class StyleTraining:
    """The paper's settings, but for fewer iterations at a higher rate, which fit a run on a few CPU cores."""

    iterations: int = 800
    batch: int = 32
    learning_rate: float = 3e-4
    temperature: float = 0.1
    checkpoint_every: int = 200
    bfloat16: bool = True
    seed: int = 0


def motion_statistics(data: TrainingSet, floor: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (54,) of all motion; channels that hardly move get `floor` (radians / 5 for
    rotations), so that normalising does not blow their noise up."""
    mean = data.motion.mean(axis=0, dtype=np.float64)
    std = data.motion.std(axis=0, dtype=np.float64)
    limit = np.full(len(std), floor)
    limit[50:] = floor / 5
    return mean.astype(np.float32), np.maximum(std, limit).astype(np.float32)


def train_style_encoder(
    data: TrainingSet, folder: Path, config: StyleEncoderConfig, settings: StyleTraining
) -> StyleEncoder:
    """Train, resuming from the newest checkpoint in `folder`; returns the encoder in evaluation mode."""
    torch.manual_seed(settings.seed)
    mean, std = (torch.from_numpy(v) for v in motion_statistics(data))
    encoder = StyleEncoder(config)
    optimizer = torch.optim.Adam(encoder.parameters(), settings.learning_rate)
    first = load_latest(folder, {"model": encoder, "optimizer": optimizer})
    window = config.window
    began = time.monotonic()
    encoder.train()
    for iteration in range(first, settings.iterations):
        rng = np.random.default_rng((settings.seed, iteration))
        # Different sequences in a batch, so that every negative is another performance.
        picked = rng.choice(len(data.sequences), settings.batch, replace=False)
        rows = []
        for index in picked:
            sequence = data.sequences[index]
            start = int(rng.choice(sequence.motion_starts))
            start += int(rng.integers(sequence.frames - 2 * window + 1))
            rows.append(data.motion[start : start + 2 * window])
        motion = (torch.from_numpy(np.stack(rows)) - mean) / std
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            styles = encoder(torch.cat([motion[:, :window], motion[:, window:]])).float()
        loss = nt_xent(styles[: settings.batch], styles[settings.batch :], settings.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (iteration + 1) % 50 == 0:
            print(
                f"style {iteration + 1}: loss {loss.item():.3f} ({time.monotonic() - began:.0f} s)",
                flush=True,
            )
        if (iteration + 1) % settings.checkpoint_every == 0 or iteration + 1 == settings.iterations:
            save_step(folder, iteration + 1, {"model": encoder, "optimizer": optimizer})
    return encoder.eval()
