# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches what a piece of code does beside what it should: programs, sockets, files elsewhere, memory, hanging."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HANG_SECONDS = 120
MEMORY = 3 << 30
"""Bytes that one case may take beyond what the process has."""
FORBIDDEN = (
    *(
        "os.system",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "subprocess.Popen",
        "pty.spawn",
    ),
    *(
        "socket.connect",
        "socket.bind",
        "socket.getaddrinfo",
        "socket.sendto",
        "urllib.Request",
        "webbrowser.open",
    ),
    *(
        "marshal.loads",
        "ctypes.dlsym",
        "pickle.find_class",
        "shutil.rmtree",
        "os.chown",
        "os.symlink",
        "os.link",
    ),
)
CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "shutil.move")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_folder: Path | None = None
_seen: list[str] = []


class ForbiddenError(Exception):
    """Something was about to happen that must not, and was prevented."""


@contextlib.contextmanager
def watched(folder: Path, prevent_only: bool = False) -> Iterator[None]:
    """Let code run that may change files in a folder only.

    Whatever else it tries is prevented, and raised at the end even where the code swallowed it. Code that hangs ends
    the process with all stacks shown.

    Args:
        prevent_only: raise nothing at the end, where somebody asked for what must not be.
    """
    global _folder
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limit[1]))
    _seen.clear()
    _folder = folder.resolve()
    try:
        yield
    finally:
        _folder = None
        resource.setrlimit(resource.RLIMIT_AS, limit)
        faulthandler.cancel_dump_traceback_later()
    if _seen and not prevent_only:
        raise ForbiddenError("; ".join(_seen))


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _folder is None:
        return
    if event in FORBIDDEN and not (event == "marshal.loads" and _importing()):
        _refuse(f"{event} {arguments!r}"[:300])
    elif event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & WRITING and not isinstance(path, int):
            _check(event, path)
    elif event in CHANGING:
        _check(event, arguments[0])


def _importing() -> bool:
    """Whether a module's compiled code is being read."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_filename == "<frozen importlib._bootstrap_external>":
            return True
    return False


def _check(event: str, path: Any) -> None:
    assert _folder is not None
    place = os.path.realpath(os.fsdecode(path))
    if place != "/dev/null" and "__pycache__" not in place and not place.startswith(str(_folder) + os.sep):
        _refuse(f"{event} {place!r}"[:300])


def _refuse(what: str) -> None:
    _seen.append(what)
    raise PermissionError(13, f"prevented: {what}")


sys.addaudithook(_hook)
