# SPDX-License-Identifier: GPL-3.0-or-later
"""NumPy files from elsewhere: plain arrays only, and no more of them than a file of their kind can hold."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np

_ZIP_MAGIC = b"PK"


def read_arrays(path: str | Path, names: Container[str], limit: int) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of a `.npz`, by name; of a `.npy` the one it holds, under the empty name.

    Nothing is unpickled, and nothing is unpacked beyond `limit`, however small the file.

    Args:
        names: those that are wanted; others are not read.
        limit: bytes that the wanted arrays may have together.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is damaged, not NumPy's, too large, or holds objects.
    """
    with Path(path).open("rb") as file:
        try:
            start = file.read(len(_ZIP_MAGIC))
            file.seek(0)
            if start != _ZIP_MAGIC:
                return {"": _array(file.read(limit + 1), limit)} if "" in names else {}
            arrays = {}
            with zipfile.ZipFile(file) as archive:
                for entry in archive.infolist():
                    name = entry.filename.removesuffix(".npy")
                    if name in names:
                        if entry.file_size > limit:
                            raise ValueError("too large")
                        limit -= entry.file_size
                        arrays[name] = _array(archive.read(entry), entry.file_size)
            return arrays
        # Hostile bytes make zipfile, zlib and NumPy raise nearly anything.
        except (Exception, MemoryError) as error:
            raise ValueError("not a file of plain arrays, or damaged") from error


def _array(data: bytes, limit: int) -> np.ndarray[Any, Any]:
    if len(data) > limit:
        raise ValueError("too large")
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
