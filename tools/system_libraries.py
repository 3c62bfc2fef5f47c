# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared libraries that Blender's wheels, rendering without a display and MediaPipe need, by Debian's packages."""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import sys

from .errors import BuildError
from .processes import checked, clean_environment

SYSTEM_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libX11.so.6": "libx11-6",
    "libXi.so.6": "libxi6",
    "libXrender.so.1": "libxrender1",
    "libXfixes.so.3": "libxfixes3",
    "libXext.so.6": "libxext6",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libgomp.so.1": "libgomp1",
    "libGLESv2.so.2": "libgles2",
    "libglib-2.0.so.0": "libglib2.0-0",
}
MESA_DRIVERS = ("/usr/lib/*/dri/*_dri.so", "/usr/lib*/dri/*_dri.so", "/usr/lib/*/libgallium*.so")


def ensure_system_libraries() -> None:
    """Have the shared libraries that Blender needs on Linux: install them by apt where that can be done."""
    missing = missing_packages()
    if not missing:
        return
    commands = [["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *missing]]
    if shutil.which("apt-get") and os.geteuid() == 0:
        for command in commands:
            checked(command, clean_environment(DEBIAN_FRONTEND="noninteractive"))
        missing = missing_packages()
    if missing:
        raise BuildError(
            f"System libraries are missing: {', '.join(missing)} (as Debian names them). "
            f"Install them: sudo {' '.join(commands[-1])}"
        )


def missing_packages() -> list[str]:
    """Debian's names of what Blender needs and this system lacks."""
    if sys.platform != "linux":
        return []
    missing = []
    for library, name in SYSTEM_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(name)
    if not any(glob.glob(pattern) for pattern in MESA_DRIVERS):
        missing.append("libgl1-mesa-dri")
    return missing
