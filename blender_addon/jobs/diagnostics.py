# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a report of a problem needs, as one text to copy."""

import os
import platform
import sys
from pathlib import Path

import bpy

from ..data.errors import UserError
from ..engine import session
from ..install import environment as backend_setup
from ..install import sources
from ..install.environment import LOG_FILE, environments_folder
from ..install.preferences import addon_preferences, chosen_model_directory, package_sources_chosen
from ..version import VERSION

LOG_LINES = 30
VARIABLES = (
    "DIFFPOSETALK_",
    "UV_",
    "PIP_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "SSL_CERT",
    "CUDA_VISIBLE",
)


def describe(last_error: str = "") -> str:
    """Versions, device, settings, the last error and the ends of the logs.

    Args:
        last_error: what the window shows.
    """
    preferences = addon_preferences()
    environment = backend_setup.current_environment()
    running = ", ".join(f"{name} {value}" for name, value in session.greeting().items())
    lines = [
        f"DiffPoseTalk {VERSION}",
        f"Blender {bpy.app.version_string} ({bpy.app.build_hash.decode(errors='replace')}), online access "
        f"{'on' if bpy.app.online_access else 'off'}",
        f"Blender's Python {platform.python_version()} at {sys.executable}",
        f"System {platform.platform()}, {os.cpu_count()} processors",
        f"Backend Python: {_backend_python()}",
    ]
    if environment is None:
        lines.append("Environment: none")
    else:
        facts = ", ".join(f"{name} {value}" for name, value in environment.facts.items())
        lines.append(f"Environment: {facts}{', outdated' if environment.outdated else ''}")
    lines += [
        f"Backend: {running or 'not running'}",
        f"Device chosen: {preferences.device}",
        f"Model: {chosen_model_directory()}",
        f"Packages from: {package_sources_chosen()}",
        f"Plan: {sources.plan(package_sources_chosen())}",
    ]
    lines += [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)]
    lines.append(f"Last error: {last_error or 'none'}")
    log = session.running_log()[-LOG_LINES:]
    lines += ["", "Backend's log:", *log] if log else []
    setup = _setup_log()[-LOG_LINES:]
    lines += ["", "Installation's log:", *setup] if setup else []
    return _private("\n".join(lines)) + "\n"


def _backend_python() -> str:
    try:
        return session.backend_python()
    except UserError as error:
        return str(error)


def _setup_log() -> list[str]:
    try:
        return (environments_folder() / LOG_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []  # nothing was installed yet


def _private(text: str) -> str:
    """Without passwords, and without the user's name as far as it is that of the home folder."""
    home = str(Path.home())
    text = sources.without_secrets(text)
    return text.replace(home, "~") if len(home) > 1 else text
