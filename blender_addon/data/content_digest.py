# SPDX-License-Identifier: GPL-3.0-or-later
"""Files by their content: what has the same bytes is the same, whatever its name, place and date."""

import functools
import hashlib
import os
from pathlib import Path

from .errors import explained


def content_digest(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal; one whose date and size have not changed is not read again.

    Raises:
        UserError: it cannot be read.
    """
    with explained(f"The file “{path}” cannot be read"):
        status = os.stat(path)
        return _remembered(os.path.abspath(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(4096)
def _remembered(path: str, changed: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_digest(directory: Path, quality: str) -> str:
    """A digest of all that motion depends on in a model directory; its draft counts where that is the quality.

    Raises:
        UserError: the directory or a file in it cannot be read.
    """
    with explained(f"The model “{directory}” cannot be read"):
        paths = sorted(path for path in directory.iterdir() if path.suffix in (".json", ".safetensors"))
    counted = [path for path in paths if quality == "draft" or path.stem != "draft"]
    text = "\n".join(f"{path.name} {content_digest(path)}" for path in counted)
    return hashlib.sha256(text.encode()).hexdigest()
