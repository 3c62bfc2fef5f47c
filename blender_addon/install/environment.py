# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment that Set Up Backend makes: where it is, what is in it, whether it is whole, and removing it.

An environment lies in a folder of its own and counts only when a file names it.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..data import bundled
from ..data.errors import UserError
from ..version import ADDON, VERSION

REQUIREMENTS = bundled.BACKEND_DIRECTORY / "requirements.txt"
LOCK = bundled.BACKEND_DIRECTORY / "requirements.lock"
TORCH_LOCK = bundled.BACKEND_DIRECTORY / "requirements-torch.lock"
CURRENT = "current.json"
LOG_FILE = "setup.log"


@dataclass(frozen=True)
class Extra:
    """Packages beyond those that Generate needs.

    name: in `install_sizes.json` and in what is noted of an environment.
    title: what they are called, for people.
    modules: what must be importable afterwards.
    by_hand: what installs them into a Python of the user's own.
    hint: what else may be missing where they are installed and do not run.
    """

    name: str
    title: str
    lock: Path
    modules: tuple[str, ...]
    by_hand: str
    hint: str


TRACKING = Extra(
    "tracking",
    "MediaPipe and PyAV",
    bundled.BACKEND_DIRECTORY / "requirements-tracking.lock",
    ("av", "mediapipe"),
    'pip install "diffposetalk[tracking]" or mediapipe and av',
    "On Debian and Ubuntu they need libgles2, libegl1 and libgl1",
)
ALIGNMENT = Extra(
    "alignment",
    "PocketSphinx",
    bundled.BACKEND_DIRECTORY / "requirements-alignment.lock",
    ("pocketsphinx",),
    "pip install pocketsphinx",
    "See the log above",
)
EXTRAS = {extra.name: extra for extra in (TRACKING, ALIGNMENT)}


@dataclass(frozen=True)
class Environment:
    """The environment in use.

    folder: of it.
    facts: what was noted when it was made: version, key, python, torch, device, extras, seconds, bytes, made.
    """

    folder: Path
    facts: dict[str, Any]

    @property
    def python(self) -> Path:
        """Its interpreter; it is missing where the Blender that it was made with is gone."""
        return python_in(self.folder)

    @property
    def extras(self) -> tuple[str, ...]:
        return tuple(name for name in self.facts.get("extras", ()) if name in EXTRAS)

    @property
    def outdated(self) -> bool:
        return self.facts.get("key") != packages_key(self.extras)


def environments_folder() -> Path:
    """The folder of the add-on's own that holds the environment; it outlives updates of the add-on."""
    return Path(bpy.utils.extension_path_user(ADDON, path="backend", create=True))


def python_in(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def packages_key(extras: tuple[str, ...]) -> str:
    """What the packages that this add-on wants are told from others by."""
    digest = hashlib.sha256()
    for path in (REQUIREMENTS, LOCK, *(EXTRAS[name].lock for name in sorted(extras))):
        with contextlib.suppress(OSError):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def current_environment() -> Environment | None:
    """The environment that Set Up Backend made, or None; whether it still works is not looked at."""
    try:
        folder = environments_folder()
        facts = json.loads((folder / CURRENT).read_text(encoding="utf-8"))
        return Environment(folder / Path(facts["folder"]).name, facts)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none yet; or the add-on does not run as an extension and has no folder


def installed_python() -> Path | None:
    """The interpreter of the environment that Set Up Backend made, or None."""
    environment = current_environment()
    return environment.python if environment is not None and environment.python.is_file() else None


def setup_problem() -> str:
    """What is wrong with the add-on's own environment, and what to do; empty where it can be used."""
    environment = current_environment()
    if environment is None:
        return rpt_("The backend is not set up. Open the add-on's preferences and press Set Up Backend.")
    if not environment.python.is_file():
        return rpt_(
            "The backend's environment is not whole any more: a file was removed, or the Blender that it was made "
            "with was updated or moved. Open the add-on's preferences and press Repair."
        )
    return ""


def upgrade_offer() -> str:
    """What to tell where the environment works and this version of the add-on wants other packages; else empty."""
    environment = current_environment()
    if environment is None or not environment.python.is_file() or not environment.outdated:
        return ""
    installed = environment.facts.get("version", "an older version")
    return (
        f"The backend's packages were installed for version {installed}; this is {VERSION} and wants others."
    )


def remove_environment() -> None:
    """Remove the environment and all that was fetched for it into the add-on's folder; uv's cache stays.

    Raises:
        UserError: another Blender is installing, or a file is in use.
    """
    folder = environments_folder()
    with alone(folder):
        (folder / CURRENT).unlink(missing_ok=True)
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        left = [path.name for path in folder.iterdir() if path.is_dir()]
    if left:
        raise UserError(
            f"The environment is not used any more, but files in “{folder}” are in use. Close other Blenders, and "
            "press Remove again."
        )


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else installs meanwhile. The system frees the lock with the process. Raises UserError."""
    file: IO[bytes] = (folder / "setup.lock").open("ab")
    try:
        try:
            if os.name == "nt":
                import msvcrt

                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                "Another Blender of this version is setting up the backend. Wait until it is done."
            ) from error
        yield
    finally:
        file.close()
