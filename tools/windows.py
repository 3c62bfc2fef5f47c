# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Blenders for tests of their windows, each in a Debian folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .environments import key_of, made_once
from .errors import UnavailableError
from .paths import SCREENSHOTS
from .processes import clean_environment

WINDOW_RELEASES = {"trixie": "4.3", "sid": "5.2"}
WINDOW_MIRROR = "http://deb.debian.org/debian"
WINDOW_PACKAGES = [
    "blender", "python3-numpy", "python3-requests", "python3-cattr",
    "xvfb", "libegl1", "libgl1-mesa-dri", "libgomp1",
]  # fmt: skip


def window_folder(cache: Path, release: str) -> dict[str, str]:
    """Variables that tell the tests where a real Blender is, or why there is none."""
    try:
        found = {"DIFFPOSETALK_WINDOW_ROOT": str(window_root(cache, release))}
    except UnavailableError as reason:
        print(f"not here: {reason}")
        return {"DIFFPOSETALK_WINDOW_MISSING": str(reason)}
    # The manual shows the stable release's pictures.
    return {**found, "DIFFPOSETALK_SCREENSHOTS": str(SCREENSHOTS)} if release == "trixie" else found


def window_root(cache: Path, release: str) -> Path:
    """The folder of a Debian release with Blender and an X server, made now if it is not there.

    Everything that is mounted in it meanwhile is mounted in a name space that ends with the command; so nothing
    is ever mounted when a half-made folder is deleted.

    Raises:
        UnavailableError: it cannot be made on this machine.
    """
    final = cache / "windows" / f"{release}-{key_of(' '.join([release, *WINDOW_PACKAGES]))}"
    if sys.platform != "linux" or os.geteuid() != 0:
        raise UnavailableError(
            "Real windows are tested as root on Linux (chroot and mounts): use sudo, or CI."
        )
    if final.is_dir():
        return final
    if not shutil.which("debootstrap") and shutil.which("apt-get"):
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "debootstrap"]):
            subprocess.run(command, env=clean_environment(DEBIAN_FRONTEND="noninteractive"))
    for program, package in (("debootstrap", "debootstrap"), ("unshare", "util-linux")):
        if not shutil.which(program):
            raise UnavailableError(f"{program} is missing. Install it: apt-get install {package}")
    make = f"""
        debootstrap --variant=minbase {release} "$0" {WINDOW_MIRROR}
        echo force-unsafe-io > "$0/etc/dpkg/dpkg.cfg.d/fast"
        echo 'Acquire::Check-Valid-Until "false";' > "$0/etc/apt/apt.conf.d/mirror"
        mount -t proc proc "$0/proc"
        mount --rbind /dev "$0/dev"
        chroot "$0" apt-get update
        chroot "$0" apt-get install -y --no-install-recommends {" ".join(WINDOW_PACKAGES)}
        chroot "$0" apt-get clean
    """
    print(f"making {final} (a few minutes, 1.4 GB)", flush=True)
    log = cache / "windows" / f"{release}.log"

    def fill(part: Path) -> None:
        part.mkdir(parents=True)
        with log.open("wb") as output:
            done = subprocess.run(
                ["unshare", "--mount", "--propagation", "private", "sh", "-ec", make, str(part)],
                env=clean_environment(DEBIAN_FRONTEND="noninteractive"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if done.returncode:
            last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
            raise UnavailableError(
                f"Debian's Blender could not be installed (is there a network?). {last} See {log}."
            )

    return made_once(final, fill)
