# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client is told of an exception."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

from ..errors import Cancelled, DiffPoseTalkError, memory_ran_out
from .jsonrpc import INTERNAL_ERROR, REQUEST_CANCELLED, SERVER_ERROR, RpcError

LONGEST_NAME = 80  # characters of a file's name in a message

log = logging.getLogger(__name__)


def explain(error: Exception) -> RpcError:
    """What the client is told of an exception; the traceback of an unforeseen one goes to the log."""
    if isinstance(error, Cancelled):
        return RpcError(REQUEST_CANCELLED, error.message, error.kind)
    if isinstance(error, DiffPoseTalkError):
        return RpcError(SERVER_ERROR, error.message, error.kind)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RpcError(SERVER_ERROR, "The disk is full. Free some space and try again.", "disk_full")
    if isinstance(error, OSError) and isinstance(error.filename, str) and error.strerror:
        log.warning("a file cannot be used", exc_info=error)
        name = Path(error.filename).name[:LONGEST_NAME]
        return RpcError(SERVER_ERROR, f"“{name}” cannot be used: {error.strerror}.", "file_unusable")
    if memory_ran_out(error):
        return RpcError(
            SERVER_ERROR,
            "There is not enough memory. Make fewer takes at once, or use the CPU device.",
            "out_of_memory",
        )
    log.error("unforeseen error", exc_info=error)
    return RpcError(
        INTERNAL_ERROR,
        f"An internal error occurred ({type(error).__name__}: {error}). See the log.",
        "internal",
    )
