# SPDX-License-Identifier: GPL-3.0-or-later
"""NumPy files from elsewhere: plain arrays only, and no more of them than a file of their kind can hold.

What an archive claims of itself is not believed. Its directory and its members are read a piece at a time, and what
comes out is counted: members are stored or deflated, as NumPy writes them, because Python unpacks the other kinds
(bzip2, LZMA) in one go, to any size.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np

PIECE = 1 << 20  # bytes read or unpacked at a time; an archive's directory has to be smaller, too
HEADER = 1 << 16  # bytes that a `.npy` file's header fits into; NumPy takes no longer ones than 10,000
_ZIP_MAGIC = b"PK"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class InPieces(io.BufferedReader):
    """A file for `zipfile`, of which one call reads no more than a piece: its directory is read by one."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises ValueError where it would be more than a piece."""
        data = super().read(PIECE + 1 if size is None or size < 0 else min(size, PIECE + 1))
        if len(data) > PIECE:
            raise ValueError("an archive with too large a directory")
        return data


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
    with InPieces(io.FileIO(path)) as file:
        try:
            start = file.read(len(_ZIP_MAGIC))
            file.seek(0)
            if start != _ZIP_MAGIC:
                return {"": read_array(_counted(file, limit))} if "" in names else {}
            arrays = {}
            with zipfile.ZipFile(file) as archive:
                for entry in archive.infolist():
                    name = entry.filename.removesuffix(".npy")
                    if name in names:
                        data = read_member(archive, entry, limit)
                        limit -= len(data)
                        arrays[name] = read_array(data)
            return arrays
        # Hostile bytes make zipfile, zlib and NumPy raise nearly anything.
        except (Exception, MemoryError) as error:
            raise ValueError("not a file of plain arrays, or damaged") from error


def read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytearray:
    """What a member of an archive unpacks to. Raises ValueError where it is packed oddly or more than `limit` bytes."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("packed in a way that NumPy does not use")
    with archive.open(entry) as member:
        return _counted(member, limit)


def read_array(data: bytearray) -> np.ndarray[Any, Any]:
    """The array in the bytes of a `.npy` file, which hold all that its header claims.

    Raises:
        ValueError: they do not, or it is an array of objects.
    """
    shape, fortran, dtype, start = read_header(data)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > len(data) - start:
        raise ValueError("an array of objects, or cut off")
    return np.ndarray(shape, dtype, data, start, order="F" if fortran else "C").copy(order="K")


def read_header(data: bytearray) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether it is in Fortran's order, type and first byte of the array in the bytes of a `.npy` file.

    What damaged bytes make NumPy raise is any of a dozen kinds.
    """
    stream = io.BytesIO(data[:HEADER])
    shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    return shape, fortran, dtype, stream.tell()


def _counted(stream: Any, limit: int) -> bytearray:
    """All that a stream has, read a piece at a time. Raises ValueError where it is more than `limit` bytes."""
    data = bytearray()
    while piece := stream.read(PIECE):
        data += piece
        if len(data) > limit:
            raise ValueError("too large")
    return data
