# SPDX-License-Identifier: GPL-3.0-or-later
"""Training the speaking style encoder by contrast (paper section 3.3.1)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..config import StyleEncoderConfig
from ..errors import DataError, refusing
from ..networks.style_encoder import StyleEncoder, nt_xent
from .loop import Loop, new_accelerator, random_numbers, share
from .own_model.style_views import view
from .recipe import StyleTraining
from .training_set import TrainingSet, motion_channels

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.tensorboard import SummaryWriter

STATISTICS_FLOOR = 0.02
STILL = 0.1
"""Standard deviations of the set's motion under which a channel counts as still."""
RETRIEVED = 20
"""Sequences at most among which TensorBoard's retrieval looks for the same style."""


def motion_statistics(data: TrainingSet, motion_dim: int = 54) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (motion_dim,) of the set's motion.

    ARKit channels that hardly move get at least STATISTICS_FLOOR (a fifth of it, in radians, for rotations), so
    that normalising does not blow their noise up; FLAME's components have no unit that a floor could be given in.
    """
    mean = data.motion.mean(axis=0, dtype=np.float64)
    std = data.motion.std(axis=0, dtype=np.float64)
    limit = np.full(len(std), STATISTICS_FLOOR if data.description.basis == "arkit" else 1e-6)
    limit[50:] = STATISTICS_FLOOR / 5
    channels = motion_channels(motion_dim)
    return mean.astype(np.float32)[channels], np.maximum(std, limit).astype(np.float32)[channels]


class StyleContrast(nn.Module):
    """Equation 9 on the two halves of each sample; with several processes, over the samples of all of them.

    With `movement`, a linear reading of each half's style is also to tell how strongly every channel moves in the
    other half: L = contrast + movement · ‖R s_a − log(std x_b + STILL)‖², and the same with a and b exchanged. What
    tells performances apart best (resting expressions) is not all that the denoiser needs to know of a style.
    """

    def __init__(
        self, encoder: StyleEncoder, temperature: float, accelerator: Accelerator, movement: float = 0.0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.temperature = temperature
        self.accelerator = accelerator
        self.movement = movement
        width, channels = encoder.config.width, encoder.config.motion_dim
        self.reading = nn.Linear(width, channels) if movement else None

    def forward(self, motion: torch.Tensor) -> dict[str, torch.Tensor]:
        """Losses of normalised motion (B, 2T, D)."""
        first, second = motion.chunk(2, dim=1)
        styles = self.encoder(torch.cat([first, second])).float()
        halves = [self._of_all(half) for half in styles.chunk(2)]
        with torch.autocast(styles.device.type, enabled=False):
            loss = nt_xent(halves[0], halves[1], self.temperature)
            # Every process has the gradient by its own styles alone. Their sum is wanted, their mean will be taken.
            count = self.accelerator.num_processes
            losses = {"contrast": loss + (count - 1) * (loss - loss.detach())}
            if self.reading is not None:
                wanted = torch.cat([second, first]).float().std(dim=1).add(STILL).log()
                losses["movement"] = self.movement * (self.reading(styles) - wanted).square().mean()
        return losses

    def _of_all(self, styles: torch.Tensor) -> torch.Tensor:
        """The styles (B, S) of all processes, in their order."""
        if self.accelerator.num_processes == 1:
            return styles
        parts = list(self.accelerator.gather(styles.detach()).chunk(self.accelerator.num_processes))
        parts[self.accelerator.process_index] = styles
        return torch.cat(parts)


def style_retrieval(encoder: StyleEncoder, motion: torch.Tensor) -> float:
    """Share of samples (B, 2T, D; normalised motion) whose second half is the likest to their first half."""
    first, second = (F.normalize(encoder(half), dim=-1) for half in motion.chunk(2, dim=1))
    nearest = (first @ second.T).argmax(dim=1)
    return float((nearest == torch.arange(len(motion), device=nearest.device)).float().mean())


def train_style_encoder(
    data: TrainingSet,
    folder: Path,
    config: StyleEncoderConfig,
    settings: StyleTraining,
    device: str = "auto",
    start: StyleEncoder | None = None,
) -> StyleEncoder:
    """Train, resuming from the newest checkpoint in `folder`; returns the encoder in evaluation mode.

    Args:
        start: whose weights a new training starts from; None for random ones.

    Raises:
        DataError: the set has too few sequences for the batch or is of another basis than the recipe is for, or `start`
            is of another size.
        Stopped: see `Loop.run`.
    """
    accelerator = new_accelerator(settings.precision, device)
    window = config.window
    usable = data.drawable(2 * window)
    if settings.views and data.description.basis != "arkit":
        raise DataError("[style] views are for motion in the ARKit basis.", "data_recipe")
    if len(usable) < settings.batch:
        raise DataError(
            f"The style encoder's batch of {settings.batch} needs as many sequences, the training set has "
            f"{len(usable)} of {2 * window} frames or more. Lower [style] batch in the recipe.",
            "data_set",
        )
    torch.manual_seed(settings.seed)
    encoder = StyleEncoder(config).to(accelerator.device)
    if start is not None:
        foreign = DataError(
            "The training cannot start from that style encoder: it is of another size.", "data_model"
        )
        with refusing(foreign, RuntimeError):
            encoder.load_state_dict(start.state_dict())
    objective = StyleContrast(encoder, settings.temperature, accelerator, settings.movement)
    objective.to(accelerator.device)
    optimizer = torch.optim.Adam(objective.parameters(), settings.learning_rate)
    mean, std = (torch.from_numpy(v) for v in motion_statistics(data, config.motion_dim))
    channels = motion_channels(config.motion_dim)
    own = share(accelerator, settings.batch)

    def inputs(iteration: int) -> torch.Tensor:
        rng, _ = random_numbers(settings.seed, iteration)
        # Different sequences in a batch, so that every negative is another performance.
        picked = rng.choice(usable, settings.batch, replace=False)
        starts = []
        for index in picked:
            sequence = data.sequences[index]
            start = int(rng.choice(sequence.motion_starts))
            starts.append(start + int(rng.integers(sequence.frames - 2 * window + 1)))
        rows = np.stack([data.motion[start : start + 2 * window] for start in starts])
        if settings.views:
            for row in rows:
                for half in (row[:window], row[window:]):
                    half[:] = view(half, rng)
        return (torch.from_numpy(rows[own][..., channels]) - mean) / std

    def inspect(writer: SummaryWriter, step: int) -> None:
        kept_out = [data.sequences[k] for k in data.drawable(2 * window, validation=True)]
        for tag, sequences in (
            ("validation", kept_out),
            ("training", [data.sequences[k] for k in usable]),
        ):
            starts = [s.motion_starts[-1] for s in sequences[:: -(-len(sequences) // RETRIEVED) or 1]]
            if len(starts) > 1:
                rows = np.stack([data.motion[start : start + 2 * window] for start in starts])[..., channels]
                motion = ((torch.from_numpy(rows) - mean) / std).to(accelerator.device)
                with torch.no_grad():
                    retrieved = style_retrieval(encoder.eval(), motion)
                writer.add_scalar(f"retrieval/{tag}_of_{len(starts)}", retrieved, step)

    Loop(
        name="style",
        folder=folder,
        accelerator=accelerator,
        objective=objective,
        optimizer=optimizer,
        inputs=inputs,
        rate=lambda iteration: settings.learning_rate,
        settings=settings,
        model=encoder,
        parts={} if objective.reading is None else {"reading": objective.reading},
        inspect=inspect,
        sample_every=settings.checkpoint_every,
    ).run()
    return encoder.eval()
