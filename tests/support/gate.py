# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate in the real backend's way: what a test wants to see is there until the test lets it go on."""

from pathlib import Path
from typing import Any

from support.waiting import wait_until

FAULTS = Path(__file__).parent / "faults.py"


class Gate:
    """Holds a generation in the midst of a window; a cancelled one is let go.

    python: what to set as the backend's interpreter. It runs the real backend, which looks for the gate at every step.
    """

    def __init__(self, backend_python: str, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.python = folder / "python"
        self.python.write_text(f'#!/bin/sh\nexec "{backend_python}" "{FAULTS}" gate "{folder}"\n')
        self.python.chmod(0o755)

    def close(self, window: int = 0) -> None:
        """From now on a generation stands still in this window, counted from 0."""
        self.open()
        (self._folder / f"window {window}").touch()

    def open(self) -> None:
        """Let everything pass."""
        for path in self._folder.glob("window *"):
            path.unlink()


def poll_until(job: Any, stage: str) -> None:
    """Poll a job until it says that it is at a stage, and see that it is still there."""
    wait_until(lambda: job.poll() != "running" or job.text == stage, 0.005)
    assert job.state == "running", job.failure
