# SPDX-License-Identifier: GPL-3.0-or-later
"""Training the denoiser (paper section 3.3.2): two windows with crossed styles, truncation, condition dropout."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..head_model import HeadModel
from ..model import DiffPoseTalk
from .checkpoints import Stateful, load_latest, save_step
from .losses import GeometricLoss, LossWeights, head_loss, masked_mean
from .sequences import TrainingSet


@dataclass(frozen=True)
class DenoiserTraining:
    """The paper's settings, but for batch, rate and iterations, which fit a run on a few CPU cores."""

    iterations: int = 6000
    batch: int = 8
    learning_rate: float = 4e-4
    final_rate: float = 1e-5
    warmup: int = 300
    style_dropout: float = 0.45
    all_dropout: float = 0.1
    truncate_first: float = 0.3
    truncate_second: float = 0.4
    ema: float = 0.998
    checkpoint_every: int = 250
    bfloat16: bool = True
    seed: int = 0
    weights: LossWeights = field(default_factory=LossWeights)


@dataclass
class Batch:
    """Two consecutive windows per sample: speech (B, 2·T_w, C), motion (B, 2·T_w, D), real frames per window."""

    speech: torch.Tensor
    motion: torch.Tensor
    real: tuple[torch.Tensor, torch.Tensor]


def draw_batch(data: TrainingSet, window: int, settings: DenoiserTraining, rng: np.random.Generator) -> Batch:
    """Random samples, each a random stretch of a random sequence in one of its voices and styles."""
    speech, motion, first, second = [], [], [], []
    for index in rng.integers(len(data.sequences), size=settings.batch):
        sequence = data.sequences[index]
        offset = int(rng.integers(sequence.frames - 2 * window + 1))
        f = int(rng.choice(sequence.feature_starts)) + offset
        m = int(rng.choice(sequence.motion_starts)) + offset
        s = np.array(data.features[f : f + 2 * window], dtype=np.float32)
        lengths = []
        for k, chance in enumerate((settings.truncate_first, settings.truncate_second)):
            length = int(rng.integers(1, window)) if rng.random() < chance else window
            lengths.append(length)
            if k == 1:
                # What follows the end of a recording at generation is encoded silence.
                s[window + length :] = data.silence[: window - length]
        first.append(lengths[0])
        second.append(lengths[1])
        speech.append(s)
        motion.append(np.asarray(data.motion[m : m + 2 * window]))
    return Batch(
        torch.from_numpy(np.stack(speech)),
        torch.from_numpy(np.stack(motion)),
        (torch.tensor(first), torch.tensor(second)),
    )


def train_denoiser(
    model: DiffPoseTalk, data: TrainingSet, head: HeadModel, folder: Path, settings: DenoiserTraining
) -> DiffPoseTalk:
    """Train `model` (its style encoder frozen, its normaliser filled), resuming from `folder`'s newest checkpoint.

    Returns:
        The exponential moving average of the model, in evaluation mode.
    """
    torch.manual_seed(settings.seed)
    model.style_encoder.requires_grad_(False).eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, betas=(0.9, 0.99), weight_decay=1e-2)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "average": average}
    first = load_latest(folder, parts)
    geometry = GeometricLoss(head)
    window = model.config.denoiser.window
    silence = torch.from_numpy(data.silence)
    sums: dict[str, float] = {}
    began = time.monotonic()
    for iteration in range(first, settings.iterations):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(iteration, settings)
        rng = np.random.default_rng((settings.seed, iteration))
        torch.manual_seed(hash((settings.seed, iteration)) % 2**31)
        batch = draw_batch(data, window, settings, rng)
        losses = step_losses(model, batch, silence, geometry, settings)
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update_parameters(model)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        if (iteration + 1) % 50 == 0:
            parts_text = " ".join(f"{k} {v / 50:.4f}" for k, v in sums.items())
            speed = (time.monotonic() - began) / (iteration + 1 - first)
            print(f"denoiser {iteration + 1}: {parts_text} ({speed:.2f} s/it)", flush=True)
            sums = {}
        if (iteration + 1) % settings.checkpoint_every == 0 or iteration + 1 == settings.iterations:
            save_step(folder, iteration + 1, parts)
    trained = average.module
    assert isinstance(trained, DiffPoseTalk)
    return trained.eval()


def learning_rate(iteration: int, settings: DenoiserTraining) -> float:
    """Linear warm-up, then cosine decay to the final rate."""
    if iteration < settings.warmup:
        return settings.learning_rate * (iteration + 1) / settings.warmup
    done = (iteration - settings.warmup) / max(1, settings.iterations - settings.warmup)
    low, high = settings.final_rate, settings.learning_rate
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * min(1.0, done)))


def step_losses(
    model: DiffPoseTalk,
    batch: Batch,
    silence: torch.Tensor,
    geometry: GeometricLoss,
    settings: DenoiserTraining,
) -> dict[str, torch.Tensor]:
    """Losses of both windows of a batch in one forward.

    The first window starts from the learned start features and takes the style of the second; the second is
    conditioned on the end of the first and takes the first's style.
    """
    d = model.config.denoiser
    count, window, previous = len(batch.motion), d.window, d.previous
    x0 = model.normalizer.normalize(batch.motion)
    a, b = x0[:, :window], x0[:, window:]
    with torch.no_grad():
        style_a, style_b = model.style_encoder(a), model.style_encoder(b)
    real = torch.cat(batch.real)
    frame = torch.arange(window)
    indicator = (frame[None] < real[:, None]).float()
    speech_a, speech_b = batch.speech[:, :window], batch.speech[:, window:]
    # A truncated first window is followed by silence too; the second window still follows the whole first.
    padded_a = torch.where(
        indicator[:count, :, None] > 0, speech_a, silence[(frame[None] - batch.real[0][:, None]).clamp_min(0)]
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
        projected = model.speech_proj(torch.cat([padded_a, speech_b, speech_a[:, -previous:]], dim=1))
    projected = projected.float()
    proj_a, proj_b, proj_prev = projected.split([window, window, previous], dim=1)
    start_speech = model.start_speech.expand(count, -1, -1)
    speech = torch.cat([torch.cat([start_speech, proj_a], 1), torch.cat([proj_prev, proj_b], 1)])
    start_motion = model.start_motion.expand(count, -1, -1)
    previous_motion = torch.cat([start_motion, a[:, -previous:]])
    style = torch.cat([style_b, style_a])
    clean = torch.cat([a, b])

    drop = torch.rand(2 * count)
    no_style = drop < settings.style_dropout + settings.all_dropout
    no_speech = drop < settings.all_dropout
    style = torch.where(no_style[:, None], model.null_style, style)
    speech = torch.where(no_speech[:, None, None], model.null_speech, speech)
    step = torch.randint(1, d.steps + 1, (2 * count,))
    # The model must not lean on the identity, which says nothing of how someone talks.
    shape = torch.randn(2 * count, d.shape_dim) * (torch.rand(2 * count, 1) < 0.5)
    noisy = model.schedule.add_noise(clean, step, torch.randn_like(clean))
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
        out = model.denoiser(noisy, previous_motion, speech, style, shape, step, indicator)
    out = out.float()
    # The frames before a first window are learned, not real: only a second window's are compared.
    before = torch.cat([torch.zeros(count, previous), torch.ones(count, previous)])
    mask = torch.cat([before, indicator], dim=1)
    target = torch.cat([previous_motion.detach(), clean], dim=1)
    w = settings.weights
    vertex, velocity, smooth = geometry(
        model.normalizer.denormalize(out), model.normalizer.denormalize(target), mask
    )
    losses = {
        "simple": masked_mean((out - target).square().mean(-1), mask),
        "vertex": w.vertex * vertex,
        "velocity": w.velocity * velocity,
        "smooth": w.smooth * smooth,
    }
    if model.config.head_pose:
        losses["head"] = head_loss(out, target, mask, previous, w)
    return losses
