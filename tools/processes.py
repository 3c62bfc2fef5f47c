# SPDX-License-Identifier: GPL-3.0-or-later
"""Running other programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from .errors import BuildError


def clean_environment(**additions: str) -> dict[str, str]:
    """This process's environment without what would lead another Python astray, with additions."""
    astray = ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PYTHON", "DIFFPOSETALK_MODEL"]
    astray.append("PYTHONDONTWRITEBYTECODE")  # or each start of the backend compiles torch's modules anew
    kept = {name: value for name, value in os.environ.items() if name not in astray}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", **additions}


def checked(command: Sequence[str], environment: dict[str, str]) -> None:
    """Run a command whose output the user sees. Raises BuildError where it fails."""
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise BuildError(f"This failed with status {done.returncode}: {' '.join(map(str, command[:8]))} …")
