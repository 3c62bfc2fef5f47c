# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading `.npz` files from anywhere: no pickles, and one kind of error for all that can be wrong."""

import zipfile
from pathlib import Path

import numpy as np

from .errors import UserError

LARGEST_CONTENT = 1 << 30  # bytes of all arrays together; a hostile file unpacks to any size


def read_arrays(path: str | Path, meaning: str) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file.

    Args:
        meaning: what the file should be, for the error ("head", "motion").

    Raises:
        UserError: the file is missing, cannot be read, or is something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST_CONTENT:
            raise UserError(f"“{path}” is too large for a {meaning} file.")
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("a member is no array")  # NumPy hands out its bytes then
        return arrays
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"The {meaning} file “{path}” does not exist.") from error
    except OSError as error:
        raise UserError(f"The {meaning} file “{path}” cannot be read: {error}.") from error
    except (
        Exception
    ) as error:  # what a damaged file makes zipfile, zlib and numpy raise is any of a dozen kinds
        raise UserError(f"“{path}” is not a {meaning} file (.npz), or is damaged.") from error
