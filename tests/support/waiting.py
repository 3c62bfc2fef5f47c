# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for something that another process does, on a machine that may be busy."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 600  # seconds; only a hang reaches it

T = TypeVar("T")


def wait_until(
    true: Callable[[], T],
    otherwise: Callable[[], object] = str,
    every: float = 0.01,
    patience: float = PATIENCE,
) -> T:
    """The value of `true` as soon as it is one that counts as true; it is asked again and again.

    Args:
        otherwise: what is to be said if it never is.
        every, patience: seconds.
    """
    deadline = time.monotonic() + patience
    while not (value := true()):
        assert time.monotonic() < deadline, f"waited in vain: {otherwise()}"
        time.sleep(every)
    return value
