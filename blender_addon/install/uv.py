# SPDX-License-Identifier: GPL-3.0-or-later
"""The uv that installs packages: one that is here, or the one that the package names, by its checksum."""

import hashlib
import os
import platform
import re
import shutil
import sys
import zipfile
from pathlib import Path

from ..data import bundled
from ..data.errors import UserError
from .sources import Sources

UV_VARIABLE = "DIFFPOSETALK_UV"  # stands in for the preference, e.g. in scripts
UV_LOCK = bundled.BACKEND_DIRECTORY / "uv.lock.txt"


def locked_uv() -> tuple[str, frozenset[str]]:
    """The version of uv that the package names, and the SHA-256 of its wheels for all systems.

    Raises:
        UserError: the package brings no such file.
    """
    try:
        text = UV_LOCK.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError("This add-on was not installed from a whole package. Install it again.") from error
    version = re.search(r"^uv==(\S+)", text, re.MULTILINE)
    assert version is not None
    return version[1], frozenset(re.findall(r"sha256:([0-9a-f]{64})", text))


def find_uv(sources: Sources, folder: Path) -> Path | None:
    """A uv that is here: the chosen one, the one kept in `folder`, one from the wheel folder, or the system's.

    Raises:
        UserError: the chosen one does not exist, or the wheel folder's is not the one that the package names.
    """
    chosen = sources.uv or os.environ.get(UV_VARIABLE, "")
    if chosen:
        if not Path(chosen).is_file():
            raise UserError(f"The program “{chosen}”, chosen as uv, does not exist.")
        return Path(chosen)
    kept = kept_uv(folder)
    if kept.is_file():
        return kept
    wheels = sorted(Path(sources.wheel_folder).glob("uv-*.whl")) if sources.wheel_folder else []
    for wheel in wheels:
        if fits_here(wheel.name) and wheel.name.split("-")[1] == locked_uv()[0]:
            return unpack_uv(wheel, folder)
    installed = shutil.which("uv")
    return Path(installed) if installed else None


def kept_uv(folder: Path) -> Path:
    """Where the uv that the package names is kept."""
    return folder / f"uv-{locked_uv()[0]}" / ("uv.exe" if os.name == "nt" else "uv")


def fits_here(wheel: str) -> bool:
    """Whether a wheel of uv is for this system and processor, by its name."""
    tag = wheel.removesuffix(".whl").rpartition("-")[2]
    machine = platform.machine().lower()
    if sys.platform == "win32":
        known = {"amd64": "win_amd64", "x86_64": "win_amd64", "arm64": "win_arm64"}
        return tag == known.get(machine, "win32")
    if sys.platform == "darwin":
        return tag.startswith("macosx") and tag.endswith(machine)
    musl = any(Path("/lib").glob("ld-musl-*"))
    return ("musllinux" in tag if musl else "manylinux" in tag) and tag.endswith(machine)


def unpack_uv(wheel: Path, folder: Path) -> Path:
    """Take the program out of uv's wheel, whose checksum must be one that the package names.

    Raises:
        UserError: it is another file.
    """
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest not in locked_uv()[1]:
        raise UserError(
            f"“{wheel.name}” is not the uv that this add-on knows (its checksum differs); it was not used."
        )
    program = kept_uv(folder)
    program.parent.mkdir(parents=True, exist_ok=True)
    part = program.with_name(f"{program.name}-{os.getpid()}.part")
    try:
        with zipfile.ZipFile(wheel) as archive:
            [name] = [n for n in archive.namelist() if n.endswith(f".data/scripts/{program.name}")]
            part.write_bytes(archive.read(name))
        part.chmod(0o755)
        os.replace(part, program)
    finally:
        part.unlink(missing_ok=True)
    return program
