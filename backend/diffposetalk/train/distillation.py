# SPDX-License-Identifier: GPL-3.0-or-later
"""A student for drafts: guidance folded into one branch, then several sampling steps into one.

First phase (guidance distillation; Meng et al. 2023, at fixed scales): at every diffusion step the student, given
speech and style, is to predict what the teacher's branches give together (equation 10).

    L = ‖ D_s(x_n, A, s) − x̂0_guided(x_n, A, s) ‖²

Second phase (progressive distillation in one go; Salimans and Ho 2022): the student samples by DDIM on the grid
n_0 = N > n_1 > … > n_K = 0 that `samplers.sample_ddim` takes. From x at n_i the frozen result of the first phase makes
`substeps` DDIM steps to x' at n_{i+1}; the student is to predict the x̂0 that gets there in one:

    x̂0* = (x' − r x) / (α_{i+1} − r α_i),  r = σ_{i+1} / σ_i;   L = ‖ D_s(x, A, s) − x̂0* ‖²

That grid is part of what the student learns; its provenance holds it (`distilled_grid`).

Both add the vertex and velocity losses of the teacher's recipe between the student's and the wanted meshes; x is data
with noise, as in training.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from ..diffusion.samplers import solver_steps
from ..generation.conditioning import speech_scale
from ..generation.line import Guidance
from ..head.head_model import HeadModel
from ..networks.denoiser import Denoiser
from ..networks.model import DiffPoseTalk
from ..networks.schedule import NoiseSchedule
from ..networks.speech.hubert import HubertSpeechEncoder
from ..version import VERSION
from .denoiser_training import (
    Batch,
    BatchSource,
    TwoWindowLosses,
    Windows,
    geometric_loss,
    learning_rate,
    real_frames,
    without_speech,
)
from .loop import Loop, new_accelerator, share
from .losses import GeometricLoss, RealFrames
from .recipe import NO_GUIDANCE, DenoiserTraining, DistillTraining, Recipe
from .training_set import TrainingSet


def guided_prediction(model: DiffPoseTalk, c: Windows, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Equation 10 at the model's own scales: predictions (B, T_w, D) for noisy windows x at steps (B,)."""
    own = model.config.sampling
    w_a = speech_scale(model, Guidance(own.speech_guidance, own.speech_guidance, 0.0, own.added_guidance))
    w_s = torch.full_like(w_a, own.style_guidance)
    null_style = model.null_style.expand_as(c.style)
    branches = [
        (without_speech(model, c.speech), null_style, 1 - w_a),
        (c.speech, null_style, w_a - w_s),
        (c.speech, c.style, w_s),
    ]
    used = [b for b in branches if bool(b[2].any())]
    speech, style = torch.cat([b[0] for b in used]), torch.cat([b[1] for b in used])
    same = (torch.cat([t] * len(used)) for t in (x, c.previous_motion, c.shape, step, c.indicator))
    noisy, previous_motion, shape, steps, indicator = same
    out = model.denoiser(noisy, previous_motion, speech, style, shape, steps, indicator).float()
    parts = out[:, -x.shape[1] :].chunk(len(used))
    weights = torch.stack([b[2] for b in used]).to(out.device)
    return torch.einsum("kd,kbtd->btd", weights, torch.stack(parts))


def step_table(schedule: NoiseSchedule, steps: int, substeps: int) -> torch.Tensor:
    """Diffusion steps (K, substeps + 1): of each of the student's K steps its start, the teacher's stops, its end.

    Stops are evenly spaced in half-logSNR, as far as whole steps allow; a stop may stand twice where they do not.
    """
    grid = solver_steps(schedule, steps)
    lam = schedule.half_log_snr()
    rows = []
    for n, end in pairwise(grid):
        low, high = lam[n - 1].item(), lam[max(end, 1) - 1].item()
        stops = [n]
        for k in range(1, substeps):
            wanted = low + (high - low) * k / substeps
            nearest = int((lam - wanted).abs().argmin()) + 1
            stops.append(max(end, 1, min(stops[-1], nearest)))
        rows.append([*stops, end])
    return torch.tensor(rows)


class Distillation(nn.Module):
    """The losses of one phase.

    Args:
        windows: of the teacher, which is frozen; makes the conditions.
        student: the network that learns.
        folded: the one-branch teacher of the second phase; None in the first.
    """

    alpha: torch.Tensor
    sigma: torch.Tensor
    table: torch.Tensor

    def __init__(
        self,
        windows: TwoWindowLosses,
        student: Denoiser,
        folded: Denoiser | None,
        geometry: GeometricLoss | None,
        training: DenoiserTraining,
        settings: DistillTraining,
    ) -> None:
        super().__init__()
        self.windows, self.student, self.folded, self.geometry = windows, student, folded, geometry
        self.training_settings, self.settings = training, settings
        windows.requires_grad_(False)
        schedule = windows.model.schedule
        self.register_buffer("alpha", schedule.alpha_bars.sqrt().float(), persistent=False)
        self.register_buffer("sigma", (1 - schedule.alpha_bars).sqrt().float(), persistent=False)
        table = step_table(schedule, settings.steps, settings.substeps)
        self.register_buffer("table", table, persistent=False)
        if folded is not None:
            folded.requires_grad_(False)

    def train(self, mode: bool = True) -> Distillation:
        """Training mode for the student alone."""
        super().train(mode)
        self.windows.eval()
        if self.folded is not None:
            self.folded.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Losses of the student on both windows of a batch."""
        teacher = self.windows.model
        noise = batch.noise.flatten(0, 1)
        with torch.no_grad():
            c = self.windows.windows(batch)
            dropped = batch.drop.flatten() < self.settings.style_dropout
            c = replace(c, style=torch.where(dropped[:, None], teacher.null_style, c.style))
            clean = c.clean * c.indicator[..., None]
            stops = self.table[batch.step.flatten() % len(self.table)]
            step = batch.step.flatten() if self.folded is None else stops[:, 0]
            x = self.alpha[step, None, None] * clean + self.sigma[step, None, None] * noise
            if self.folded is None:
                wanted = guided_prediction(teacher, c, x, step)
            else:
                wanted = self._in_one_step(self.folded, c, x, stops)
        predicted = self._predict(self.student, c, x, step)
        with torch.autocast(predicted.device.type, enabled=False):
            real = RealFrames(c.indicator, real_frames(batch.all_real, x.shape[1]).flatten(0, 1))
            losses = {"simple": real.mean((predicted - wanted).square().mean(-1))}
            if self.geometry is not None:
                normalizer, w = teacher.normalizer, self.training_settings.weights
                vertex, velocity, _ = self.geometry(
                    normalizer.denormalize(predicted), normalizer.denormalize(wanted), real, c.identity
                )
                losses |= {"vertex": w.vertex * vertex, "velocity": w.velocity * velocity}
        return losses

    def _predict(self, denoiser: Denoiser, c: Windows, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        out = denoiser(x, c.previous_motion, c.speech, c.style, c.shape, step, c.indicator)
        return out[:, -x.shape[1] :].float()

    def _in_one_step(
        self, folded: Denoiser, c: Windows, x: torch.Tensor, stops: torch.Tensor
    ) -> torch.Tensor:
        """The clean prediction by which one DDIM step from x gets where the teacher's steps over `stops` end."""
        y = x
        for n, end in zip(stops.T[:-1], stops.T[1:], strict=True):
            x0 = self._predict(folded, c, y, n)
            ratio = (self.sigma[end] / self.sigma[n])[:, None, None]
            y = ratio * y + (self.alpha[end, None, None] - ratio * self.alpha[n, None, None]) * x0
        first, last = stops[:, 0], stops[:, -1]
        ratio = (self.sigma[last] / self.sigma[first])[:, None, None]
        return (y - ratio * x) / (self.alpha[last, None, None] - ratio * self.alpha[first, None, None])


def distill(
    teacher: DiffPoseTalk,
    data: TrainingSet,
    head: HeadModel,
    folder: Path,
    recipe: Recipe,
    device: str = "auto",
) -> DiffPoseTalk:
    """Both phases, each resuming from its newest checkpoint in `folder`.

    Args:
        teacher: a trained model with its settings for generation; its guidance scales are folded in.
        recipe: of the distillation, and of the teacher: vertices and weights of the geometric losses, truncation.

    Returns:
        The student: the teacher with another denoiser, and `ddim` at K steps without guidance as its settings.

    Raises:
        DataError: the set lacks what the teacher hears, or the head is of another basis.
        Stopped: see `Loop.run`.
    """
    hears_sound = isinstance(teacher.speech_encoder, HubertSpeechEncoder) and data.features is None
    settings = recipe.distill
    training = replace(recipe.denoiser, batch=settings.batch, train_speech_encoder=hears_sound)
    accelerator = new_accelerator(settings.precision, device)
    teacher = teacher.to(accelerator.device).eval()
    folded = copy.deepcopy(teacher.denoiser)
    source = BatchSource(data, teacher, training, share(accelerator, settings.batch))
    for phase, iterations in (("guidance", settings.guidance_iterations), ("steps", settings.iterations)):
        student = copy.deepcopy(folded).requires_grad_(True)
        objective = Distillation(
            TwoWindowLosses(teacher, None, data.silence, training),
            student,
            None if phase == "guidance" else folded,
            geometric_loss(teacher, data, head, training),
            training,
            settings,
        ).to(accelerator.device)
        # Other noise in the second phase.
        own = replace(settings, iterations=iterations, seed=settings.seed + (phase == "steps"))
        loop = Loop(
            name=f"distill {phase}",
            folder=folder / phase,
            accelerator=accelerator,
            objective=objective,
            optimizer=torch.optim.Adam(student.parameters(), settings.learning_rate),
            inputs=lambda i, own=own: source.draw(own.seed, i),  # type: ignore[misc]
            rate=lambda i, own=own: learning_rate(i, own),  # type: ignore[misc]
            settings=own,
            model=student,
            ema=settings.ema,
        )
        loop.run()
        folded = loop.trained.eval()
    return student_model(teacher, folded, settings)


def student_model(teacher: DiffPoseTalk, denoiser: Denoiser, settings: DistillTraining) -> DiffPoseTalk:
    """The teacher with the student's network and the settings that it was trained for."""
    student = copy.deepcopy(teacher)
    student.denoiser.load_state_dict(denoiser.state_dict())
    scales = teacher.config.sampling
    provenance = {
        **teacher.config.provenance,
        "distilled_from": teacher.config.name,
        "distilled_from_sha256": teacher.sha256,
        "distilled_guidance": {
            "speech": scales.speech_guidance,
            "added": scales.added_guidance,
            "style": scales.style_guidance,
        },
        "distilled_grid": solver_steps(teacher.schedule, settings.steps),
        "distilled_with": f"diffposetalk {VERSION}, {date.today().isoformat()}",
    }
    sampling = replace(scales, sampler="ddim", steps=settings.steps, **{**NO_GUIDANCE, "added_guidance": {}})
    name = f"{teacher.config.name} (draft)"
    student.config = replace(teacher.config, name=name, sampling=sampling, provenance=provenance)
    return student.eval()
