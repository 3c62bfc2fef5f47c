# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading `.npz` files from anywhere: no pickles, no more than is counted, and one kind of error for all that is wrong.

What an archive claims of itself is not believed: its directory and its members are read a piece at a time. Members are
stored or deflated, as NumPy writes them, because Python unpacks the other kinds (bzip2, LZMA) in one go, to any size.
"""

import io
import math
import zipfile
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError

LARGEST_CONTENT = 1 << 30  # bytes of all arrays together; a hostile file unpacks to any size
PIECE = 1 << 20  # bytes read or unpacked at a time; an archive's directory has to be smaller, too
HEADER = 1 << 16  # bytes that a `.npy` file's header fits into; NumPy takes no longer ones than 10,000
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class InPieces(io.BufferedReader):
    """A file for `zipfile`, of which one call reads no more than a piece: its directory is read by one."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises ValueError where it would be more than a piece."""
        data = super().read(PIECE + 1 if size is None or size < 0 else min(size, PIECE + 1))
        if len(data) > PIECE:
            raise ValueError("an archive with too large a directory")
        return data


def read_arrays(path: str | Path, meaning: str) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file.

    Args:
        meaning: what the file should be, for the error ("head", "motion").

    Raises:
        UserError: the file is missing, cannot be read, or is something else.
    """
    try:
        return plain_arrays(path, None, LARGEST_CONTENT)
    except FileNotFoundError as error:
        raise UserError(f"The {meaning} file “{path}” does not exist.") from error
    except OSError as error:
        raise UserError(f"The {meaning} file “{path}” cannot be read: {error}.") from error
    except OverflowError as error:
        raise UserError(f"“{path}” is too large for a {meaning} file.") from error
    except ValueError as error:
        raise UserError(f"“{path}” is not a {meaning} file (.npz), or is damaged.") from error


def plain_arrays(path: str | Path, names: Container[str] | None, limit: int) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file, by name; of a `.npy` the one it holds, under the empty name.

    Args:
        names: those that are wanted; None for all.
        limit: bytes that they may have together.

    Raises:
        OSError: the file cannot be opened.
        OverflowError: it holds more than `limit`.
        ValueError: it is damaged, not NumPy's, or holds objects.
    """
    with InPieces(io.FileIO(path)) as file:
        try:
            if not zipfile.is_zipfile(file):
                if names is None or "" not in names:
                    raise ValueError("no archive")
                file.seek(0)
                return {"": _array(_counted(file, limit))}
            arrays = {}
            with zipfile.ZipFile(file) as archive:
                for entry in archive.infolist():
                    name = entry.filename.removesuffix(".npy")
                    if names is None or name in names:
                        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                            raise ValueError("packed in a way that NumPy does not use")
                        with archive.open(entry) as member:
                            data = _counted(member, limit)
                        limit -= len(data)
                        arrays[name] = _array(data)
            return arrays
        except OverflowError:
            raise
        # What damaged bytes make zipfile, zlib and NumPy raise is any of a dozen kinds.
        except (Exception, MemoryError) as error:
            raise ValueError("not a file of plain arrays, or damaged") from error


def _array(data: bytearray) -> np.ndarray:
    """The array in the bytes of a `.npy` file, which hold all that its header claims. Raises ValueError."""
    stream = io.BytesIO(data[:HEADER])
    shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > len(data) - stream.tell():
        raise ValueError("an array of objects, or cut off")
    return np.ndarray(shape, dtype, data, stream.tell(), order="F" if fortran else "C").copy(order="K")


def _counted(stream: Any, limit: int) -> bytearray:
    """All that a stream has, read a piece at a time. Raises OverflowError where it is more than `limit` bytes."""
    data = bytearray()
    while piece := stream.read(PIECE):
        data += piece
        if len(data) > limit:
            raise OverflowError
    return data
