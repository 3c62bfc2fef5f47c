# SPDX-License-Identifier: GPL-3.0-or-later
"""The installable extension."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .errors import BuildError
from .paths import ROOT, files_below
from .processes import clean_environment

MAX_PACKAGE_BYTES = 120 * 1024 * 1024
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # one date for all, so that the same source gives the same bytes
INSTALL_FILES = [
    "pyproject.toml",
    "requirements.txt",
    *(f"requirements{part}.lock" for part in ("", "-torch", "-tracking", "-alignment")),
    "uv.lock.txt",
    "install_sizes.json",
]
"""What Set Up Backend reads, beside the source; `build_addon.py lock` makes most of it."""


def package(folder: Path) -> Path:
    """Write the extension's zip into `folder`, the same bytes for the same source. Raises BuildError."""
    version = project_version()
    contents = dict(sorted(package_contents()))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"diffposetalk-{version}.zip"
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, source in contents.items():
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # Unix, on whatever system this runs
            # Weights hardly shrink, and storing them makes installing quick.
            stored = source.suffix in (".safetensors", ".npz", ".flac")
            entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(entry, source.read_bytes())
    size = part.stat().st_size
    if size > MAX_PACKAGE_BYTES:
        part.unlink()
        raise BuildError(
            f"The package would be {size / 1024**2:.0f} MiB, more than {MAX_PACKAGE_BYTES >> 20}."
        )
    os.replace(part, path)
    return path


NOT_FOR_BLENDER = ("train", "evaluate")
"""Packages of the backend that nothing but its command line uses."""


def package_contents() -> Iterator[tuple[str, Path]]:
    """Names in the zip and the files they come from: the add-on on top, `backend/` and `assets/` in it."""
    yield from files_below(ROOT / "blender_addon", "")
    yield "LICENSE", ROOT / "LICENSE"
    for name in INSTALL_FILES:
        yield f"backend/{name}", ROOT / "backend" / name
    for name, path in files_below(ROOT / "backend" / "diffposetalk", "backend/diffposetalk/"):
        if name.split("/")[2] not in NOT_FOR_BLENDER:
            yield name, path
    assets = ROOT / "flame_assets"
    for required in ("head/head.npz", "model/config.json", "model/model.safetensors"):
        if not (assets / required).is_file():
            raise BuildError(f"{assets / required} is missing; the package cannot be made without it.")
    for name in ("head", "model", "clips"):
        yield from files_below(assets / name, f"assets/{name}/")


def project_version() -> str:
    """The version, which manifest, backend and its project file must agree on. Raises BuildError."""
    found = {
        name: _first_match(ROOT / name, pattern)
        for name, pattern in {
            "blender_addon/blender_manifest.toml": r'^version\s*=\s*"([^"]+)"',
            "backend/pyproject.toml": r'^version\s*=\s*"([^"]+)"',
            "backend/diffposetalk/version.py": r'^VERSION\s*=\s*"([^"]+)"',
        }.items()
    }
    if len(set(found.values())) != 1:
        raise BuildError(f"The versions differ: {found}.")
    return next(iter(found.values()))


def _first_match(path: Path, pattern: str) -> str:
    found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise BuildError(f"{path} states no version.")
    return found[1]


def validate(path: Path, tool: list[str]) -> None:
    """Let Blender itself check the zip. Raises BuildError."""
    done = subprocess.run(
        [*tool, "validate", str(path)], env=clean_environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise BuildError(f"Blender does not accept {path}: {(done.stdout + done.stderr).strip()}")
