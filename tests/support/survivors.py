# SPDX-License-Identifier: GPL-3.0-or-later
"""What could be left over: processes, threads and files, as the system lists them."""

import os
import threading
from pathlib import Path


def children(pid: int) -> set[int]:
    """All processes below one, grandchildren included."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:  # it has just ended
                continue
            if fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found.update(below)
        waiting.extend(below)
    return found


def command_line(pid: int) -> str:
    """What a process was started with; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def backend_processes(pids: set[int]) -> set[int]:
    """Those that are backends, with faults or without."""
    return {
        pid for pid in pids if "diffposetalk serve" in command_line(pid) or "faults.py" in command_line(pid)
    }


def runs(pid: int) -> bool:
    """Whether a process has not ended; one that only waits for its parent to notice has."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def backend_threads() -> list[str]:
    """Names of the add-on's threads."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("diffposetalk")]


def files_below(folder: Path) -> set[Path]:
    """Everything in a folder, folders too."""
    return set(folder.rglob("*"))
