# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop that all trainings share, over Hugging Face Accelerate: resumable, stoppable, the same for a seed.

Everything random in iteration i is drawn from (seed, i) alone, and no state but the checkpoint's is carried from
one iteration to the next. A run that was killed therefore repeats what it lost and ends, on a CPU bit by bit, where
an uninterrupted one does; and several processes see together what one would.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import DataError, DiffPoseTalkError
from ..networks.device import has_bfloat16, pick_device
from .checkpoints import Stateful, load_latest, save_step
from .recipe import StageTraining

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.tensorboard import SummaryWriter


class Stopped(DiffPoseTalkError, kind="train_stopped"):  # noqa: N818 - asked for, not an error
    """The training was asked to stop and has written a checkpoint; `signal` says by which signal."""

    def __init__(self, step: int, by: int) -> None:
        super().__init__(f"Stopped at iteration {step}; the same command goes on from there.")
        self.step = step
        self.signal = by


def new_accelerator(precision: str, device: str = "auto") -> Accelerator:
    """Accelerate, set up as `accelerate launch` or `torchrun` prescribes, else for one process on what is there.

    Args:
        precision: one of `recipe.PRECISIONS`.
        device: `cpu` keeps off the GPU.

    Raises:
        DiffPoseTalkError: `train_extra`; Accelerate or TensorBoard is not installed.
    """
    try:
        import tensorboard  # noqa: F401
        from accelerate import Accelerator
    except ImportError as error:
        raise DiffPoseTalkError(
            f'Training needs {error.name}: pip install "diffposetalk[train]".', "train_extra"
        ) from error
    if precision == "auto":
        here = torch.device("cpu") if device == "cpu" else pick_device()
        precision = "bf16" if has_bfloat16(here) else "no"
    return Accelerator(cpu=device == "cpu", mixed_precision=precision)


def random_numbers(seed: int, iteration: int) -> tuple[np.random.Generator, torch.Generator]:
    """The generators of an iteration: the same on every process, device and machine."""
    rng = np.random.default_rng((seed, iteration))
    return rng, torch.Generator().manual_seed(int(rng.integers(2**62)))


def share(accelerator: Accelerator, batch: int) -> slice:
    """The samples of a batch that this process computes.

    Raises:
        DataError: the batch does not divide by the processes.
    """
    count = accelerator.num_processes
    if batch % count:
        raise DataError(f"A batch of {batch} does not divide by {count} processes.", "data_recipe")
    own = batch // count
    return slice(accelerator.process_index * own, (accelerator.process_index + 1) * own)


@dataclass
class Loop:
    """A training.

    Attributes:
        name: shown in the log and in TensorBoard.
        folder: of checkpoints, and of TensorBoard's files in `curves`.
        accelerator: from `new_accelerator`.
        objective: its forward gives the losses, which are added up; on the accelerator's device.
        optimizer: over the parameters of the objective that learn.
        inputs: what the objective's forward takes in an iteration, this process's share of it, on any device.
        rate: learning rate of an iteration.
        settings: of the stage: where to end, seed, how often to write down.
        model: what is trained, part of the objective; kept as `model` of the checkpoint.
        parts: what the checkpoint holds besides it and `optimizer`.
        ema: decay of the moving average of the model's weights, kept as `average`; 0 is none.
        inspect: called every `sample_every` iterations on the main process, to draw into TensorBoard.
    """

    name: str
    folder: Path
    accelerator: Accelerator
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: Callable[[int], Any]
    rate: Callable[[int], float]
    settings: StageTraining
    model: nn.Module
    parts: Mapping[str, Stateful] = field(default_factory=dict)
    ema: float = 0.0
    inspect: Callable[[SummaryWriter, int], None] | None = None
    sample_every: int = 0

    def __post_init__(self) -> None:
        average = get_ema_multi_avg_fn(self.ema)
        self.average = AveragedModel(self.model, multi_avg_fn=average) if self.ema else None

    @property
    def trained(self) -> Any:
        """The model, or the moving average of its weights if there is one."""
        return self.model if self.average is None else self.average.module

    def run(self) -> None:
        """Train to the end, from the newest checkpoint in the folder.

        Raises:
            Stopped: SIGTERM or SIGINT came; a checkpoint has been written.
            DiffPoseTalkError: `train_diverged`; a loss or a weight is not finite.
        """
        accelerator = self.accelerator
        parts: dict[str, Stateful] = {"optimizer": self.optimizer, "model": self.model, **self.parts}
        if self.average is not None:
            parts["average"] = self.average
        if accelerator.scaler is not None:
            parts["scaler"] = accelerator.scaler
        first = load_latest(self.folder, parts)
        if first >= self.settings.iterations:
            if accelerator.is_main_process:
                print(
                    f"{self.name}: nothing to do, it has been trained for {first} iterations and was to end at "
                    f"{self.settings.iterations}. Give a larger --iterations to train it further.",
                    file=sys.stderr,
                )
            return
        objective, optimizer = accelerator.prepare(self.objective, self.optimizer)
        learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        objective.train()
        sums: dict[str, torch.Tensor] = {}
        summed = 0
        began = time.monotonic()
        with _writer(self, first) as writer, _signals() as asked:
            for iteration in range(first, self.settings.iterations):
                for group in self.optimizer.param_groups:
                    group["lr"] = self.rate(iteration)
                inputs = self.inputs(iteration).to(accelerator.device)
                # Dropout's masks: others on each process, as each has other samples.
                masks = np.random.SeedSequence((self.settings.seed, iteration, accelerator.process_index))
                torch.manual_seed(int(masks.generate_state(1, np.uint64)[0] >> 1))
                losses = objective(inputs)
                loss = torch.stack(list(losses.values())).sum()
                optimizer.zero_grad()
                accelerator.backward(loss)
                if self.settings.gradient_clip:
                    accelerator.clip_grad_norm_(learning, self.settings.gradient_clip)
                optimizer.step()
                if self.average is not None:
                    self.average.update_parameters(self.model)

                step = iteration + 1
                for key, value in losses.items():
                    sums[key] = sums.get(key, torch.zeros((), device=value.device)) + value.detach()
                summed += 1
                stop = asked[0] if asked else 0
                if accelerator.num_processes > 1:  # all must end after the same iteration
                    mine = torch.tensor([stop], device=accelerator.device)
                    stop = int(accelerator.gather(mine).max().item())
                save = (
                    step % self.settings.checkpoint_every == 0
                    or step == self.settings.iterations
                    or bool(stop)
                )
                if save or step % self.settings.log_every == 0:
                    self._check(loss, learning, step)
                if step % self.settings.log_every == 0:
                    means = {key: value / summed for key, value in sums.items()}
                    self._log(writer, step, means, (time.monotonic() - began) / (step - first))
                    sums, summed = {}, 0
                if save and accelerator.is_main_process:
                    save_step(self.folder, step, parts, self.settings.keep_checkpoints)
                if stop and step < self.settings.iterations:
                    raise Stopped(step, stop)
                if writer and self.inspect and self.sample_every and step % self.sample_every == 0:
                    self.inspect(writer, step)
                    objective.train()
        accelerator.wait_for_everyone()

    def _check(self, loss: torch.Tensor, weights: list[torch.Tensor], step: int) -> None:
        finite = torch.stack([loss.detach(), *(w.detach().abs().max().float() for w in weights)]).isfinite()
        bad = (~finite.all()).float()
        if self.accelerator.reduce(bad, "sum").item():
            raise DiffPoseTalkError(
                f"The training diverged by iteration {step}: a loss or a weight is not finite. The last checkpoint "
                "is from before; lower the learning rate or set gradient_clip.",
                "train_diverged",
            )

    def _log(
        self, writer: SummaryWriter | None, step: int, means: Mapping[str, torch.Tensor], seconds: float
    ) -> None:
        values = self.accelerator.reduce(torch.stack(list(means.values())), "mean").tolist()
        if writer is None:
            return
        for key, value in zip(means, values, strict=True):
            writer.add_scalar(f"loss/{key}", value, step)
        writer.add_scalar("loss/total", sum(values), step)
        writer.add_scalar("run/learning_rate", self.rate(step - 1), step)
        writer.add_scalar("run/seconds_an_iteration", seconds, step)
        shown = " ".join(f"{k} {v:.4f}" for k, v in zip(means, values, strict=True))
        print(f"{self.name} {step}: {shown} ({seconds:.2f} s/it)", file=sys.stderr, flush=True)


@contextmanager
def _writer(loop: Loop, first: int) -> Iterator[SummaryWriter | None]:
    """TensorBoard's writer on the main process; what an interrupted run wrote past its checkpoint is dropped."""
    if not loop.accelerator.is_main_process:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(loop.folder / "curves"), purge_step=first + 1 if first else None)
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def _signals() -> Iterator[list[int]]:
    """While inside, SIGTERM and a first Ctrl-C only append themselves to the list yielded; a second Ctrl-C ends."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: object) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
