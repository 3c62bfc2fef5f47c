# SPDX-License-Identifier: GPL-3.0-or-later
"""What all commands share: how far they are, told on standard error, and files that they are to write."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from .errors import OutputError


def checked_output(path: Path, suffix: str) -> Path:
    """The path with its suffix. Raises OutputError now rather than after minutes of work."""
    if path.is_dir():
        raise OutputError(f"“{path}” is a folder; name a file to write.")
    if path.suffix.lower() != suffix:
        path = path.with_name(path.name + suffix)
    if not path.parent.is_dir():
        raise OutputError(f"The folder “{path.parent}” does not exist. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder “{path.parent}” cannot be written to.")
    return path


class ProgressLine:
    """Progress on standard error: one line rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.shown = ("", -1)
        self.next_time = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show each hundredth on a terminal, each tenth elsewhere."""
        state = (stage, done * (100 if self.terminal else 10) // max(total, 1))
        if state != self.shown:
            self.shown = state
            self._show(f"{stage} {100 * done // max(total, 1):3d} %")

    def count(self, done: int, total: int) -> None:
        """Show how many lines are done: five times a second on a terminal, every ten seconds elsewhere."""
        now = time.monotonic()
        if now >= self.next_time:
            self.next_time = now + (0.2 if self.terminal else 10.0)
            self._show(f"{done} of {total} lines")

    def remark(self, text: str) -> None:
        """Leave a line of its own."""
        self._show(text, "\n")

    def _show(self, text: str, end: str = " ") -> None:
        start, end = ("\r", end) if self.terminal else ("", "\n")
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self.terminal:
            print(file=sys.stderr)
