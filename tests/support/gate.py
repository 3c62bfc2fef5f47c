# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate in the real backend's way: what a test wants to see is there until the test lets it go on."""

import shlex
from pathlib import Path
from typing import Any

from support.waiting import wait_until

FAULTS = Path(__file__).parent / "faults.py"


class Gate:
    """Holds a generation in the midst of a window; a cancelled one is let go.

    command: the real backend, which looks for the gate at every step.
    python: a program that runs it, to set as the backend's interpreter.
    """

    def __init__(self, backend_python: str, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.command = [backend_python, str(FAULTS), "gate", str(folder)]
        self.python = folder / "python"
        self.python.write_text(f"#!/bin/sh\nexec {shlex.join(self.command)}\n")
        self.python.chmod(0o755)

    def close(self, window: int = 0) -> None:
        """From now on a generation stands still in this window, counted from 0."""
        gate = self._folder / f"window {window}"
        gate.touch()
        self._remove({gate})

    def open(self) -> None:
        """Let everything pass."""
        self._remove(set())

    def _remove(self, but: set[Path]) -> None:
        for path in set(self._folder.glob("window *")) - but:
            path.unlink()


def poll_until(job: Any, stage: str) -> None:
    """Poll a job until it says that it is at a stage, and see that it is still there."""
    wait_until(lambda: job.poll() != "running" or job.text == stage, 0.005)
    assert job.state == "running", job.failure
