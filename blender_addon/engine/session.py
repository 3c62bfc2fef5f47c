# SPDX-License-Identifier: GPL-3.0-or-later
"""The one backend process of this Blender: which interpreter it is, and that it stays warm between jobs."""

import os
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..client import BackendClient, backend_environment
from ..data import bundled
from ..data.errors import UserError
from ..install.environment import installed_python, python_in, setup_problem
from ..install.preferences import addon_preferences
from ..version import VERSION

PYTHON_VARIABLE = "DIFFPOSETALK_BACKEND_PYTHON"  # stands in for the preference, e.g. in scripts

_client: BackendClient | None = None
_hubert = ""  # folder that it was started with


def backend_python() -> str:
    """The interpreter that runs the backend: the preference, the environment's, or the one we installed.

    Raises:
        UserError: there is none, or it does not exist.
    """
    chosen = addon_preferences().backend_python or os.environ.get(PYTHON_VARIABLE, "")
    if not chosen:
        installed = installed_python()
        if installed is None:
            otherwise = rpt_("Or set Backend Python to an interpreter that has the backend's packages.")
            raise UserError(f"{setup_problem()} {otherwise}")
        return str(installed)
    path = bpy.path.abspath(chosen)
    if os.path.isdir(path):
        inside = python_in(Path(path))
        if inside.is_file():
            return str(inside)  # the folder of a virtual environment
        raise UserError(
            f"Backend Python “{path}” is a folder. In the add-on's preferences, choose the Python program "
            "in it."
        )
    if not os.path.isfile(path):
        raise UserError(f"Backend Python “{path}” does not exist. Set it anew in the add-on's preferences.")
    return path


def client() -> BackendClient:
    """The running backend, started when there is none; its `greeting` may still be under way.

    Raises:
        UserError: no interpreter is set.
        BackendError: the process cannot be started.
    """
    global _client, _hubert
    python = backend_python()
    hubert = addon_preferences().hubert_folder
    if _client is not None and (not _client.alive or _client.python != python or _hubert != hubert):
        stop()
    if _client is None:
        folder = bundled.BACKEND_DIRECTORY
        environment = backend_environment(folder if (folder / "diffposetalk").is_dir() else None)
        if hubert:
            environment["DIFFPOSETALK_HUBERT"] = os.path.abspath(bpy.path.abspath(hubert))
        _client, _hubert = BackendClient(python, environment, VERSION), hubert
    return _client


def greeting() -> dict[str, Any]:
    """What the running backend said of itself: versions and devices; empty where none runs or has answered."""
    if _client is None or not _client.alive or not _client.greeting.done or _client.greeting.error:
        return {}
    return _client.greeting.result


def running_log() -> list[str]:
    return _client.log if _client is not None else []


def stop() -> None:
    global _client
    if _client is not None:
        _client.stop()
    _client = None
