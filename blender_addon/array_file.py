# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading `.npz` files from anywhere: no pickles, and one kind of error for all that can be wrong."""

import zipfile
from pathlib import Path

import numpy as np

from .errors import UserError


def read_arrays(path: str | Path, meaning: str) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file.

    Args:
        meaning: what the file should be, for the error ("head", "motion").

    Raises:
        UserError: the file is missing, cannot be read, or is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except FileNotFoundError as error:
        raise UserError(f"The {meaning} file “{path}” does not exist.") from error
    except OSError as error:
        raise UserError(f"The {meaning} file “{path}” cannot be read: {error}.") from error
    # numpy raises the last two for files that hold a single array, or nothing
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise UserError(f"“{path}” is not a {meaning} file (.npz).") from error
