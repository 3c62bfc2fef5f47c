# SPDX-License-Identifier: GPL-3.0-or-later
"""Training the denoiser (paper section 3.3.2): two windows with crossed styles, truncation, condition dropout."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..config import SHAPE_DIM
from ..errors import DataError
from ..head.head_model import HeadModel
from ..networks.model import DiffPoseTalk
from ..networks.speech.encoder import SAMPLES_PER_FRAME
from ..networks.speech.hubert import HubertSpeechEncoder
from .loop import Loop, new_accelerator, random_numbers, share
from .losses import GeometricLoss, RealFrames, denoiser_losses, mouth_vertices, moving_vertices
from .recipe import DenoiserTraining, DistillTraining
from .samples import show_samples
from .training_set import TrainingSet, motion_channels

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_unfit = partial(DataError, kind="data_set")

MOBILITY_FRAMES = 512
"""Frames of training motion from which the vertices that move are told."""
VALIDATION_BATCHES = 2


@dataclass(frozen=True)
class Sample:
    """Where a two-window sample lies in the set's arrays, and how many of each window's frames are real."""

    sequence: int
    speech_row: int
    motion_row: int
    real: tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """B two-window samples and all that is drawn at random for them; index 0 of `pair` axes is the first window.

    Attributes:
        speech: (B, 2·T_w, C) features, or (B, 2·T_w·640) sound normalised over its recording.
        motion: (B, 2·T_w, D) motion vectors.
        real: (2, B) real frames of each window.
        shape: (B, 100) identity coefficients, or None where the set does not know them.
        noise: (2, B, T_w, D) standard normal.
        step: (2, B) diffusion steps.
        drop: (2, B) uniform numbers that decide which conditions are dropped.
        any_shape: (2, B, 100) what stands in for unknown identities.
        all_real: (2, B') as `real`, of the batch of all processes.
    """

    speech: torch.Tensor
    motion: torch.Tensor
    real: torch.Tensor
    shape: torch.Tensor | None
    noise: torch.Tensor
    step: torch.Tensor
    drop: torch.Tensor
    any_shape: torch.Tensor
    all_real: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved = {f.name: v.to(device) for f in fields(self) if (v := getattr(self, f.name)) is not None}
        return replace(self, **moved)


@dataclass(frozen=True)
class Windows:
    """The first windows of a batch, then the second ones, 2B rows.

    Attributes:
        clean: (2B, T_w, D) normalised motion.
        previous_motion: (2B, T_p, D) learned start features, then the ends of the first windows.
        speech: (2B, T_p + T_w, width) projected.
        style: (2B, S) of the sample's other window.
        shape: (2B, 100) normalised identity.
        identity: (2B, 100) identity coefficients, or None where they are not known.
        indicator: (2B, T_w) 1 for real frames.
    """

    clean: torch.Tensor
    previous_motion: torch.Tensor
    speech: torch.Tensor
    style: torch.Tensor
    shape: torch.Tensor
    identity: torch.Tensor | None
    indicator: torch.Tensor


def real_frames(real: torch.Tensor, window: int) -> torch.Tensor:
    """1 for the real frames of windows that have `real` (...,) of them, 0 for padding: (..., T_w)."""
    return (torch.arange(window, device=real.device) < real[..., None]).float()


def without_speech(model: DiffPoseTalk, speech: torch.Tensor) -> torch.Tensor:
    """What the branch without speech hears in place of projected speech (B, T_p + T_w, width)."""
    null = model.null_speech.expand_as(speech)
    if not model.config.sampling.hears_before:
        return null
    previous = model.config.denoiser.previous
    return torch.cat([speech[:, :previous], null[:, previous:]], dim=1)


class BatchSource:
    """Batches of a training set for a model; each process loads only its own share of one.

    Args:
        own: the samples of a batch that this process computes.
        validation: draw from the sequences that are kept out of training.

    Raises:
        DataError: the set lacks the features or the sound that the model learns from.
    """

    def __init__(
        self,
        data: TrainingSet,
        model: DiffPoseTalk,
        settings: DenoiserTraining,
        own: slice = slice(None),
        validation: bool = False,
    ) -> None:
        d = model.config.denoiser
        self.data, self.settings, self.own = data, settings, own
        self.window, self.steps = d.window, d.steps
        self.channels = motion_channels(d.motion_dim)
        self.usable = data.drawable(2 * d.window, validation)
        self.levels: dict[int, tuple[float, float]] = {}
        if settings.train_speech_encoder and data.sound is None:
            raise _unfit(
                "To train the speech encoder the training set must hold sound; prepare it with HuBERT as its "
                "speech encoder."
            )
        silent = 0 if data.silence is None else len(data.silence)
        if not settings.train_speech_encoder and (data.features is None or d.window > silent):
            raise _unfit(
                "The training set holds no speech features (and of silence): prepare it with a speech encoder."
            )

    def draw(self, seed: int, iteration: int) -> Batch:
        """The batch of an iteration: everything random is drawn for all processes alike, then shared out."""
        rng, generator = random_numbers(seed, iteration)
        count, d = self.settings.batch, len(self.channels)
        samples = [self._sample(int(index), rng) for index in rng.choice(self.usable, count)]
        noise = torch.randn(2, count, self.window, d, generator=generator)
        step = torch.randint(1, self.steps + 1, (2, count), generator=generator)
        drop = torch.rand(2, count, generator=generator)
        # Without known identities the model must not lean on them: half the time any, else the mean one.
        any_shape = torch.randn(2, count, SHAPE_DIM, generator=generator)
        any_shape *= torch.rand(2, count, 1, generator=generator) < 0.5
        mine, own = samples[self.own], self.own
        data, length = self.data, 2 * self.window
        speech = np.stack([self._speech(s, length) for s in mine])
        motion = np.stack([data.motion[s.motion_row : s.motion_row + length] for s in mine])
        shapes = None
        if data.shapes is not None:
            shapes = torch.from_numpy(data.shapes[[s.sequence for s in mine]].astype(np.float32))
        return Batch(
            torch.from_numpy(speech),
            torch.from_numpy(motion[..., self.channels]),
            torch.tensor([s.real for s in mine]).T,
            shapes,
            noise[:, own],
            step[:, own],
            drop[:, own],
            any_shape[:, own],
            torch.tensor([s.real for s in samples]).T,
        )

    def _sample(self, index: int, rng: np.random.Generator) -> Sample:
        """A random stretch of a sequence, in one of its voices and styles."""
        sequence, window = self.data.sequences[index], self.window
        offset = int(rng.integers(sequence.frames - 2 * window + 1))
        first, second = (
            int(rng.integers(1, window)) if rng.random() < chance else window
            for chance in (self.settings.truncate_first, self.settings.truncate_second)
        )
        speech, motion = (int(rng.choice(s)) for s in (sequence.feature_starts, sequence.motion_starts))
        return Sample(index, speech + offset, motion + offset, (first, second))

    def _speech(self, sample: Sample, length: int) -> np.ndarray:
        rows = slice(sample.speech_row, sample.speech_row + length)
        if not self.settings.train_speech_encoder:
            assert self.data.features is not None
            return np.asarray(self.data.features[rows], dtype=np.float32)
        assert self.data.sound is not None
        mean, deviation = self._level(sample)
        return (np.asarray(self.data.sound[rows], dtype=np.float32).ravel() / 32768 - mean) / deviation

    def _level(self, sample: Sample) -> tuple[float, float]:
        """Mean and deviation of the whole recording, by which HuBERT's sound is normalised as at generation."""
        sequence = self.data.sequences[sample.sequence]
        start = max(s for s in sequence.feature_starts if s <= sample.speech_row)
        if start not in self.levels:
            assert self.data.sound is not None
            sound = np.asarray(self.data.sound[start : start + sequence.frames], dtype=np.float32) / 32768
            mean, deviation = (float(f(sound, dtype=np.float64)) for f in (np.mean, np.std))
            self.levels[start] = mean, deviation + 1e-5
        return self.levels[start]


class TwoWindowLosses(nn.Module):
    """The losses of both windows of a batch in one forward of the denoiser.

    The first window starts from the learned start features and takes the style of the second; the second is
    conditioned on the end of the first and takes the first's style.

    Args:
        model: its style encoder is frozen here, and of its HuBERT all but the layers that learn.
        geometry: None leaves equations 3 to 5 away.
        silence: (100, C) features of silence, for models that do not train their speech encoder.
    """

    silence: torch.Tensor

    def __init__(
        self,
        model: DiffPoseTalk,
        geometry: GeometricLoss | None,
        silence: np.ndarray | None,
        settings: DenoiserTraining,
    ) -> None:
        super().__init__()
        self.model = model
        self.geometry = geometry
        self.settings = settings
        model.style_encoder.requires_grad_(False)
        rows = np.zeros((0, 0), np.float32) if silence is None else np.asarray(silence, np.float32)
        self.register_buffer("silence", torch.from_numpy(rows), persistent=False)
        if settings.train_speech_encoder:
            freeze_lower_layers(model.speech_encoder, settings.frozen_speech_layers)

    def train(self, mode: bool = True) -> TwoWindowLosses:
        """Training mode, but for the frozen style encoder."""
        super().train(mode)
        self.model.style_encoder.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms of equation 6, as of `denoiser_losses`."""
        model, settings = self.model, self.settings
        c = self.windows(batch)
        drop = batch.drop.flatten()
        no_style = drop < settings.style_dropout + settings.all_dropout
        no_speech = drop < settings.all_dropout
        style = torch.where(no_style[:, None], model.null_style, c.style)
        speech = torch.where(no_speech[:, None, None], without_speech(model, c.speech), c.speech)
        # What follows the end of a recording is unknown at generation: noise on the mean, not on its motion.
        step = batch.step.flatten()
        noisy = model.schedule.add_noise(c.clean * c.indicator[..., None], step, batch.noise.flatten(0, 1))
        if settings.regression:
            noisy, step = torch.zeros_like(noisy), torch.full_like(step, model.schedule.steps)
        # On a CPU the fused kernel's backward pass takes twice as long as the plain products of so short a window.
        with sdpa_kernel(SDPBackend.MATH) if noisy.device.type == "cpu" else nullcontext():
            out = model.denoiser(noisy, c.previous_motion, speech, style, c.shape, step, c.indicator).float()
        real = RealFrames(*(self._compared(r) for r in (batch.real, batch.all_real)))
        target = torch.cat([c.previous_motion.detach().float(), c.clean], dim=1)
        with torch.autocast(out.device.type, enabled=False):
            return denoiser_losses(out, target, real, c.identity, model, self.geometry, settings.weights)

    def _compared(self, real: torch.Tensor) -> torch.Tensor:
        """Frames (2B, T_p + T_w) that are compared, from the real frames (2, B) of each window.

        The frames before a first window are learned, not real: only a second window's are compared.
        """
        d = self.model.config.denoiser
        before = torch.tensor([0.0, 1.0], device=real.device)[:, None, None]
        before = before.expand(2, real.shape[1], d.previous)
        return torch.cat([before, real_frames(real, d.window)], dim=2).flatten(0, 1)

    def windows(self, batch: Batch) -> Windows:
        """Both windows of a batch with all their conditions."""
        model = self.model
        d = model.config.denoiser
        count, window, previous = len(batch.motion), d.window, d.previous
        device = batch.motion.device
        indicator = real_frames(batch.real, window).flatten(0, 1)
        with torch.autocast(device.type, enabled=False), torch.no_grad():
            x0 = model.normalizer.normalize(batch.motion)
            a, b = x0[:, :window], x0[:, window:]
            style = torch.cat([model.style_encoder(b), model.style_encoder(a)])
        proj_a, proj_b, proj_previous = self.hear(batch)
        start_speech = model.start_speech.expand(count, -1, -1)
        speech = torch.cat([torch.cat([start_speech, proj_a], 1), torch.cat([proj_previous, proj_b], 1)])
        start_motion = model.start_motion.expand(count, -1, -1)
        if batch.shape is None:
            shape, identity = batch.any_shape.flatten(0, 1), None
        else:
            shape = model.normalizer.normalize_shape(batch.shape).repeat(2, 1)
            identity = batch.shape.repeat(2, 1)
        previous_motion = torch.cat([start_motion, a[:, -previous:]])
        return Windows(torch.cat([a, b]), previous_motion, speech, style, shape, identity, indicator)

    def hear(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Projected speech of both windows (B, T_w, width) and of the T_p frames before the second.

        A recording that ends within a window is followed by silence. Where the first one does, the second window
        still follows the whole of it.
        """
        d = self.model.config.denoiser
        window, previous = d.window, d.previous
        frame = torch.arange(window, device=batch.motion.device)
        ended = frame[None, None] >= batch.real[..., None]  # (2, B, T_w)
        if self.settings.train_speech_encoder:
            first, second, before = self._hear_sound(batch, ended)
        else:
            first, second = batch.speech[:, :window], batch.speech[:, window:]
            before = first[:, -previous:]
            silence = self.silence[(frame[None, None] - batch.real[..., None]).clamp_min(0)]
            first, second = (
                torch.where(ended[k, ..., None], silence[k], part) for k, part in enumerate((first, second))
            )
        projected = self.model.speech_proj(torch.cat([first, second, before], dim=1)).float()
        parts = projected.split([window, window, previous], dim=1)
        return parts[0], parts[1], parts[2]

    def _hear_sound(
        self, batch: Batch, ended: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """HuBERT over both windows together; first windows that end early are heard again, by themselves."""
        d = self.model.config.denoiser
        window, previous = d.window, d.previous
        encoder = self.model.speech_encoder
        assert isinstance(encoder, HubertSpeechEncoder)
        silent = ended.repeat_interleave(SAMPLES_PER_FRAME, dim=2)
        halves = batch.speech.chunk(2, dim=1)
        second_half = torch.where(silent[1], 0.0, halves[1])
        heard = encoder(torch.cat([halves[0], second_half], dim=1), 2 * window)
        first, second = heard[:, :window], heard[:, window:]
        before = first[:, -previous:]
        short = (batch.real[0] < window).nonzero()[:, 0]
        if len(short):
            alone = encoder(torch.where(silent[0], 0.0, halves[0])[short], window)
            first = first.index_copy(0, short, alone.to(first.dtype))
        return first, second, before


def freeze_lower_layers(encoder: object, layers: int) -> None:
    """Let of a HuBERT only the transformer above its first `layers` layers learn (as the released code does)."""
    assert isinstance(encoder, HubertSpeechEncoder)
    hubert = encoder.hubert
    hubert.feature_extractor._freeze_parameters()  # also keeps it from recording what gradients would need
    frozen = [hubert.feature_extractor, hubert.feature_projection, *hubert.encoder.layers[:layers]]
    for part in frozen:
        part.requires_grad_(False)
    # Layers skipped at random would differ from process to process, which then could not add up gradients.
    hubert.config.layerdrop = 0.0


def geometric_loss(
    model: DiffPoseTalk, data: TrainingSet, head: HeadModel, settings: DenoiserTraining
) -> GeometricLoss | None:
    """The geometric losses of a recipe, or None where it has none.

    Raises:
        DataError: the head is not for the set's basis.
    """
    if not settings.weights.geometric:
        return None
    if head.basis != model.config.basis:
        raise DataError(
            f"The training set's motion is of the basis {model.config.basis}, the head's is {head.basis}. "
            "Name a fitting head asset with --head.",
            "data_head",
        )
    if settings.geometry == "mouth":
        vertices, weights = mouth_vertices(head, settings.geometry_vertices)
    else:
        rows = np.linspace(0, len(data.motion) - 1, min(MOBILITY_FRAMES, len(data.motion))).astype(int)
        vertices, weights = moving_vertices(head, np.asarray(data.motion[rows]), settings.geometry_vertices)
    return GeometricLoss(head, vertices, weights, model.config.jaw_rest)


def learning_rate(iteration: int, settings: DenoiserTraining | DistillTraining) -> float:
    """Linear warm-up, then cosine decay to the final rate."""
    if iteration < settings.warmup:
        return settings.learning_rate * (iteration + 1) / settings.warmup
    done = (iteration - settings.warmup) / max(1, settings.iterations - settings.warmup)
    low, high = settings.final_rate, settings.learning_rate
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * min(1.0, done)))


def validation_losses(
    writer: SummaryWriter, step: int, objective: TwoWindowLosses, data: TrainingSet
) -> None:
    """The training's losses on recordings kept out of it, the same samples and noise every time."""
    model = objective.model
    if not data.drawable(2 * model.config.denoiser.window, validation=True):
        return
    source = BatchSource(data, model, objective.settings, validation=True)
    objective.eval()
    with torch.no_grad():
        batches = [source.draw(-1 % 2**32, k).to(model.device) for k in range(VALIDATION_BATCHES)]
        results = [objective(batch) for batch in batches]
    for name in results[0]:
        mean = sum(result[name].item() for result in results) / len(results)
        writer.add_scalar(f"validation/{name}", mean, step)


def train_denoiser(
    model: DiffPoseTalk,
    data: TrainingSet,
    head: HeadModel,
    folder: Path,
    settings: DenoiserTraining,
    device: str = "auto",
) -> DiffPoseTalk:
    """Train `model` (its style encoder trained, its normaliser filled), resuming from `folder`'s newest checkpoint.

    Returns:
        The model, or the moving average of its weights if the recipe has one, in evaluation mode.

    Raises:
        DataError: the set, the head and the recipe do not go together.
        Stopped: see `Loop.run`.
    """
    accelerator = new_accelerator(settings.precision, device)
    source = BatchSource(data, model, settings, share(accelerator, settings.batch))
    objective = TwoWindowLosses(model, geometric_loss(model, data, head, settings), data.silence, settings)
    objective.to(accelerator.device)
    learning = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        learning, settings.learning_rate, betas=(0.9, settings.beta2), weight_decay=settings.weight_decay
    )

    def inspect(writer: SummaryWriter, step: int) -> None:
        validation_losses(writer, step, objective, data)
        show_samples(writer, step, loop.trained, data, head, settings.styled)

    loop = Loop(
        name="denoiser",
        folder=folder,
        accelerator=accelerator,
        objective=objective,
        optimizer=optimizer,
        inputs=lambda iteration: source.draw(settings.seed, iteration),
        rate=lambda iteration: learning_rate(iteration, settings),
        settings=settings,
        model=model,
        ema=settings.ema,
        inspect=inspect,
        sample_every=settings.sample_every,
    )
    loop.run()
    trained: DiffPoseTalk = loop.trained.eval()
    return trained
