# SPDX-License-Identifier: GPL-3.0-or-later
"""What all commands share: how far they are, told on standard error, and files that they are to write."""

from __future__ import annotations

import os
import sys
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
    """Progress on standard error: one line rewritten on a terminal, a line every tenth elsewhere."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.shown = ("", -1)

    def __call__(self, stage: str, done: int, total: int) -> None:
        step = 100 if self.terminal else 10
        state = (stage, done * step // max(total, 1))
        if state != self.shown:
            self.shown = state
            start, end = ("\r", " ") if self.terminal else ("", "\n")
            print(f"{start}{stage} {100 * done // max(total, 1):3d} %", end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self.terminal:
            print(file=sys.stderr)
