# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend process: the engine's verbs as JSON-RPC methods over standard input and output.

Standard output belongs to the protocol alone: its descriptor is taken at the start, and whatever a library
prints goes to the log on standard error. No port is opened, and nothing is fetched from a network but by
`fetch_tracker`, which needs permission. The process ends when its input ends or its parent is gone, and a cancelled
or failed call leaves no files behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from .failures import explain
from .jsonrpc import Connection
from .methods import Backend

PARENT_POLL_SECONDS = 0.5
WORKING_FOLDER = "diffposetalk-run-"  # how the folder's name begins in which the add-on starts the backend
TIDY_UP_SECONDS = 5.0  # what a cancelled call may take to remove its files when the process ends

log = logging.getLogger(__name__)


def serve() -> None:
    """Run the backend on standard input and output until the client leaves. Does not return."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Libraries must neither fetch anything nor report that they ran.
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ[name] = "1"
    parent = os.getppid()
    reader, writer = _take_standard_streams()
    backend = Backend()
    connection = Connection(reader, writer, backend.methods(), explain)
    backend.connection = connection
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in Blender's terminal is meant for Blender
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)  # Blender's window comes first
    threading.Thread(target=_watch, args=(parent, connection), name="watch", daemon=True).start()
    status = 0
    try:
        connection.serve()
    except SystemExit:
        pass
    except Exception:
        log.exception("the connection broke")
        status = 1
    connection.stop(TIDY_UP_SECONDS)
    sys.stderr.flush()
    _remove_working_folder()
    os._exit(status)  # threads of libraries must not keep the process


def _remove_working_folder() -> None:
    """Remove the empty folder that Blender made for this process to work in; Blender may be gone."""
    with contextlib.suppress(OSError):
        folder = Path.cwd()
        if folder.name.startswith(WORKING_FOLDER):
            os.chdir(folder.parent)  # Windows keeps a folder that somebody works in
            folder.rmdir()


def _take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """The protocol's own copies of standard input and output; the originals become nothing and the log."""
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (0, 1):
            msvcrt.setmode(descriptor, os.O_BINARY)
    reader = os.fdopen(os.dup(0), "rb")
    writer = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return reader, writer


def _watch(parent: int, connection: Connection) -> None:
    """End the process when its parent is gone although something still holds the input's other end open."""
    if sys.platform == "win32":
        _wait_for_process(parent)
    else:
        while os.getppid() == parent and not connection.lost.wait(PARENT_POLL_SECONDS):
            pass
    log.warning("the client is gone")
    connection.stop(TIDY_UP_SECONDS)
    _remove_working_folder()
    os._exit(1)


def _wait_for_process(pid: int) -> None:
    import ctypes

    synchronize, infinite = 0x00100000, 0xFFFFFFFF
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(synchronize, False, pid)
    if handle:
        kernel.WaitForSingleObject(ctypes.c_void_p(handle), infinite)
    else:  # not ours to watch: the end of the input must do
        threading.Event().wait()
