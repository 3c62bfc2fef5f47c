# SPDX-License-Identifier: GPL-3.0-or-later
"""A denoising step as a CUDA graph: hundreds of kernels, each shorter than its launch, become one launch.

A graph replays the same kernels on the same memory. So it owns a copy of a window's constants, into which those
of the windows to come are written, and the tensors that a step reads and writes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import torch

log = logging.getLogger(__name__)

Capture = Callable[[Callable[[], torch.Tensor]], Callable[[], torch.Tensor]]
"""Turns a function over fixed memory into one that does the same faster and returns the same tensor each time."""

MAX_ROWS = 8
"""Larger batches keep the device busy between launches; graphs for each of their sizes would fill its memory."""
TOLERANCE = 1e-2


class Step(Protocol):
    """A window whose step can be captured."""

    def constants(self) -> list[torch.Tensor]:
        """All tensors that the step reads but for its arguments."""
        ...

    def copy(self) -> Step:
        """The same with constants of its own."""
        ...

    def predict(self, motion: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """The step, on a device's memory alone."""
        ...


def capture_cuda(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Capture `run` by PyTorch's CUDA graphs; its first runs, on a stream of their own, let libraries set up."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # The speech encoder may use the device from another thread meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        out = run()

    def replay() -> torch.Tensor:
        graph.replay()
        return out

    return replay


class GraphedStep:
    """The captured step of windows of one size."""

    def __init__(self, step: Step, motion: torch.Tensor, embedding: torch.Tensor, capture: Capture) -> None:
        self.step = step.copy()
        self.motion, self.embedding = motion.clone(), embedding.clone()
        self.replay = capture(lambda: self.step.predict(self.motion, self.embedding))

    def load(self, step: Step) -> None:
        """Go on with another window of the same size."""
        for own, new in zip(self.step.constants(), step.constants(), strict=True):
            own.copy_(new)

    def __call__(self, motion: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """As `Step.predict`."""
        self.motion.copy_(motion)
        self.embedding.copy_(embedding)
        return self.replay().clone()


class StepGraphs:
    """The graphs of one network by the sizes of their constants; without graphs where capturing fails."""

    def __init__(self, capture: Capture = capture_cuda) -> None:
        self.capture = capture
        self.known: dict[tuple[torch.Size, ...], GraphedStep] = {}
        self.failed = False

    def graphed(self, step: Step, motion: torch.Tensor, embedding: torch.Tensor) -> GraphedStep | None:
        """The graph for a window, loaded with its constants; None: run it without."""
        if self.failed or len(motion) > MAX_ROWS:
            return None
        key = tuple(t.shape for t in step.constants())
        if key in self.known:
            self.known[key].load(step)
            return self.known[key]
        try:
            graph = GraphedStep(step, motion, embedding, self.capture)
            difference = (graph(motion, embedding) - step.predict(motion, embedding)).abs().max().item()
        except RuntimeError as error:
            log.warning("a CUDA graph could not be captured, going on without: %s", error)
            self.failed = True
            return None
        if not difference < TOLERANCE:
            log.warning("a CUDA graph differs from what it captured by %g, going on without", difference)
            self.failed = True
            return None
        self.known[key] = graph
        return graph
