# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that is really read-only: permissions do not bind root, who runs the tests on many machines."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disk_at(folder: Path) -> Iterator[Callable[[], None]]:
    """A small disk of its own at an empty folder; the function makes it read-only.

    Skips the test where this user may not mount.
    """
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"a disk cannot be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")

    def make_read_only() -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)

    try:
        yield make_read_only
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def read_only(*folders: Path) -> list[str]:
    """What a command begins with for which these folders are read-only, and for nobody else.

    Skips the test where this user may not mount.
    """
    steps = [f'mount --bind "{f}" "{f}" && mount -o remount,bind,ro "{f}"' for f in folders]
    begin = ["unshare", "--mount", "sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh"]
    try:
        tried = subprocess.run([*begin, "true"], capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"folders cannot be mounted here: {error}")
    if tried.returncode:
        pytest.skip(f"folders cannot be mounted here: {tried.stderr.strip()}")
    return begin
