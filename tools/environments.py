# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual environments, each installed from a lock that is part of the repository: versions and checksums.

`tools/requirements/NAME.in` says what an environment is for, `NAME.lock` every package that this brings; see `locks`.
Environments lie in a cache folder, under the name of their lock's content.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import BuildError
from .paths import REQUIREMENTS, ROOT, files_below
from .processes import checked, clean_environment
from .system_libraries import ensure_system_libraries

PYTHON_FOR_BLENDER = "3.11"  # the one that Blender's wheels are made for
BLENDERS = ("4.2", "4.5", "5.0")
ENVIRONMENTS = ("backend", *(f"blender-{version}" for version in BLENDERS), "docs")
TORCH_CPU = "torch-cpu.lock"
"""PyTorch's build without CUDA, for machines whose settings of pip offer it: 2.5 GB less than the ordinary one."""


def backend_environment(cache: Path) -> Path:
    """Interpreter of an environment with the backend, as users have it, and the tools for development."""
    python = environment(cache, "backend")
    install_backend(cache, python)
    return python


def install_backend(cache: Path, python: Path) -> None:
    """Install the backend's own source, where it is not the one already installed."""
    source = sorted(files_below(ROOT / "backend" / "diffposetalk", "diffposetalk/"))
    source.append(("pyproject.toml", ROOT / "backend" / "pyproject.toml"))
    digest = hashlib.sha256()
    for name, path in source:
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    marker = python.parents[1] / "diffposetalk-source"
    if marker.is_file() and marker.read_text() == digest.hexdigest():
        return
    # From a copy: building leaves files beside the source, and older ones there would be packed again. With the
    # environment's own setuptools, whose version is locked.
    with tempfile.TemporaryDirectory(prefix="diffposetalk-source-") as private:
        for name, path in source:
            target = Path(private) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        install(cache, python, ["--no-deps", "--force-reinstall", "--no-build-isolation", private])
    marker.write_text(digest.hexdigest())


def blender_environment(cache: Path, version: str) -> Path:
    """Interpreter of an environment with Blender as a module, its system libraries in place."""
    ensure_system_libraries()
    return environment(cache, f"blender-{version}")


def environment(cache: Path, name: str) -> Path:
    """Interpreter of a virtual environment with what its lock says, made now if it is not there.

    Its programs find their interpreter beside themselves, since the folder is renamed when it is complete.
    """
    wanted, lock = REQUIREMENTS / f"{name}.in", REQUIREMENTS / f"{name}.lock"
    key = key_of(PYTHON_FOR_BLENDER, sys.platform, "relocatable", lock.read_text(encoding="utf-8"))
    final = cache / "environments" / f"{name}-{key}"

    def fill(folder: Path) -> None:
        print(f"making the environment {final}", flush=True)
        make_environment(cache, folder)
        # What is wanted, at the lock's versions: packages of the lock that this machine does not need (CUDA's, beside
        # a PyTorch without it) stay away, and one that the lock does not know is an error.
        locks = [lock, *([REQUIREMENTS / TORCH_CPU] if name == "backend" and offers_torch_cpu(cache) else [])]
        constraints = [option for path in locks for option in ("--constraints", str(path))]
        options = ["--require-hashes", "--no-build", *constraints, "--requirements", str(wanted)]
        install(cache, python_in(folder), options)

    return python_in(made_once(final, fill))


def key_of(*parts: str) -> str:
    """A short name for contents."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def made_once(final: Path, fill: Callable[[Path], None]) -> Path:
    """The folder `final`, made by `fill` if it is not there.

    It is made under another name and renamed when complete, so that a half-made one is never used.
    """
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(f"{final.name}.part-{os.getpid()}")
    try:
        fill(part)
        try:
            part.rename(final)
        except OSError:
            if not final.is_dir():  # else another run was quicker
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return final


def python_in(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def make_environment(cache: Path, folder: Path) -> None:
    """Make an empty virtual environment with the Python that Blender's wheels need. Raises BuildError."""
    command = [*uv_program(cache), "venv", "--quiet", "--relocatable", "--python", PYTHON_FOR_BLENDER]
    checked([*command, str(folder)], uv_environment())


def install(cache: Path, python: Path, requirements: Sequence[str]) -> None:
    """Install into an environment. Raises BuildError."""
    command = [*uv_program(cache), "pip", "install", "--quiet", "--python", str(python)]
    checked([*command, *requirements], uv_environment())


def offers_torch_cpu(cache: Path) -> bool:
    """Whether this machine's settings lead to PyTorch's build without CUDA that the lock knows."""
    command = [*uv_program(cache), "pip", "compile", "--quiet", "--no-deps", "--python", PYTHON_FOR_BLENDER]
    done = subprocess.run(
        [*command, str(REQUIREMENTS / TORCH_CPU)],
        env=uv_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return done.returncode == 0


def uv_program(cache: Path) -> list[str]:
    """How to run uv: the installed one, else the one that the add-on installs with, which pip installs into the cache.

    Raises:
        BuildError: it cannot be installed.
    """
    if shutil.which("uv"):
        return ["uv"]
    lock = ROOT / "backend" / "uv.lock.txt"

    def fill(folder: Path) -> None:
        pip = [str(python_in(folder)), "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [*pip, "--require-hashes", "--requirement", str(lock)],
        ):
            done = subprocess.run(
                command, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
            if done.returncode:
                raise BuildError(
                    f"uv, which installs everything else, could not be installed: {done.stderr.strip()[-500:]} "
                    "Install it yourself, or see that “python -m venv” and pip work."
                )

    folder = made_once(cache / f"uv-{key_of(sys.version, lock.read_text(encoding='utf-8'))}", fill)
    return [str(python_in(folder)), "-m", "uv"]


def uv_environment() -> dict[str, str]:
    """Environment for uv, with pip's settings of where packages are; uv does not read them itself."""
    names = {"find-links": "UV_FIND_LINKS", "index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}
    settings: dict[str, str] = {}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2].lower()
        if option in names:
            settings[names[option]] = str(ast.literal_eval(value))
    return clean_environment(**{name: value for name, value in settings.items() if name not in os.environ})
