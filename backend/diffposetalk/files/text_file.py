# SPDX-License-Identifier: GPL-3.0-or-later
"""Text files from elsewhere, read to a limit."""

from __future__ import annotations

import errno
import os
from pathlib import Path

LARGEST_TEXT = 1 << 26
"""Bytes of a text whose kind has no limit of its own."""


def read_text(path: str | Path, limit: int = LARGEST_TEXT, errors: str = "strict") -> str:
    """A file's text in UTF-8 with its line ends as they are, counted while it is read: a device has no size.

    Args:
        errors: as of `bytes.decode`.

    Raises:
        OSError: it cannot be read, or is larger than `limit` bytes.
        UnicodeDecodeError: it is not UTF-8.
    """
    with Path(path).open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data.decode("utf-8-sig", errors)
