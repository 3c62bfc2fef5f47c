# SPDX-License-Identifier: GPL-3.0-or-later
"""The error that a user reads."""

import contextlib
from collections.abc import Iterator


class UserError(Exception):
    """Something the user can put right; the text says what happened and what to do."""


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what goes wrong with a file into an error for people: `what` could not be done, and why."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what}: {getattr(error, 'strerror', None) or error}.") from error
