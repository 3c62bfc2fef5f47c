# SPDX-License-Identifier: GPL-3.0-or-later
"""Exact versions with checksums of all that is ever installed, for all systems and Pythons at once.

What Set Up Backend installs is locked in `backend/`, from the requirements*.txt there, which say the versions:

- requirements.lock: all that Generate needs but PyTorch;
- requirements-torch.lock: PyTorch as the package index has it, with what it needs. Builds for particular graphics
  cards are not there but on PyTorch's own index; their checksums are asked for when one is installed;
- requirements-tracking.lock, requirements-alignment.lock: what the extras need beyond that;
- uv.lock.txt: the uv that does the installing, UV_VERSION;
- install_sizes.json: bytes to download by system, which are shown before anything is fetched.

The environments of `build_addon.py` are locked in `tools/requirements`, NAME.in to NAME.lock, and torch-cpu.lock
beside them; see `environments`.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .environments import ENVIRONMENTS, PYTHON_FOR_BLENDER, TORCH_CPU, uv_environment, uv_program
from .paths import REQUIREMENTS, ROOT
from .processes import checked, clean_environment

BACKEND = ROOT / "backend"
UV_VERSION = "0.13.9"

# What is part of the names of wheels for a system. An interpreter's wheel differs little in size from the next one's.
SYSTEMS = {
    "linux-x86_64": r"(linux.*_x86_64)",
    "linux-aarch64": r"(linux.*_aarch64)",
    "win32-amd64": r"(win_amd64)",
    "darwin-arm64": r"(macosx_.*_(arm64|universal2))",
    "darwin-x86_64": r"(macosx_.*_(x86_64|universal2))",
}


def lock_all(cache: Path, upgrade: bool = False) -> None:
    """Write all locks anew.

    Args:
        upgrade: versions that no file states move to the newest; else those that are locked stay.

    Raises:
        BuildError: no uv, no package index, or versions that do not go together.
    """
    lock_backend(cache, upgrade)
    for name in ENVIRONMENTS:
        print(f"locking {name}", flush=True)
        # PyTorch's own libraries as users get them: tests are about those.
        options = ["--constraints", str(BACKEND / "requirements-torch.lock")] if name == "backend" else []
        _compile(cache, REQUIREMENTS / f"{name}.in", REQUIREMENTS / f"{name}.lock", options, upgrade)
    lock_torch_cpu()


def lock_backend(cache: Path, upgrade: bool) -> None:
    """Write the locks of what Set Up Backend installs, and the sizes."""
    base = [line.partition("==")[0] for line in requirement_lines(BACKEND / "requirements.txt")]
    hidden = [f"--no-emit-package={name}" for name in base]
    with tempfile.TemporaryDirectory(prefix="locks-") as private:
        folder = Path(private)
        (folder / "torch.txt").write_text("torch\n", encoding="utf-8")
        without_torch = ["--excludes", str(folder / "torch.txt")]
        constraints = ["--constraints", str(BACKEND / "requirements.txt")]
        (folder / "torch.in").write_text(torch_requirement() + "\n", encoding="utf-8")
        (folder / "uv.in").write_text(f"uv=={UV_VERSION}\n", encoding="utf-8")
        inputs = {
            "requirements.lock": (BACKEND / "requirements.txt", without_torch),
            "requirements-torch.lock": (
                folder / "torch.in",
                [*constraints, *(option for option in hidden if not option.endswith("=torch"))],
            ),
            "requirements-tracking.lock": (
                BACKEND / "requirements-tracking.txt",
                [*without_torch, *constraints, *hidden],
            ),
            "requirements-alignment.lock": (
                BACKEND / "requirements-alignment.txt",
                [*without_torch, *constraints, *hidden],
            ),
            "uv.lock.txt": (folder / "uv.in", []),
        }
        sizes: dict[str, dict[str, int]] = {}
        for name, (source, options) in inputs.items():
            print(f"locking backend/{name}", flush=True)
            _compile(cache, source, BACKEND / name, options, upgrade)
            described = folder / "pylock.toml"
            same = ["--constraints", str(BACKEND / name), "--format", "pylock.toml"]
            described.unlink(missing_ok=True)
            _compile(cache, source, described, [*same, *options])
            part = {"requirements.lock": "backend", "uv.lock.txt": "uv"}.get(name, name[13:-5])
            sizes[part] = _sizes(described.read_text(encoding="utf-8"))
    (BACKEND / "install_sizes.json").write_text(json.dumps(sizes, indent=2) + "\n", encoding="utf-8")


def lock_torch_cpu() -> None:
    """Write the lock of PyTorch's build without CUDA, where this machine's settings of pip lead to one.

    Elsewhere the lock of this version stays as it is, and that of another one goes: the ordinary build is installed.
    """
    build, lock = f"{torch_requirement()}+cpu", REQUIREMENTS / TORCH_CPU
    with tempfile.TemporaryDirectory(prefix="locks-") as private:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--python-version", PYTHON_FOR_BLENDER, "--dest", private, build]
        found = subprocess.run(command, env=clean_environment(), capture_output=True).returncode == 0
        if found and sys.platform == "linux":
            [wheel] = Path(private).iterdir()
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            machine = next(name for name in ("x86_64", "aarch64") if wheel.name.endswith(f"{name}.whl"))
            marker = f"sys_platform == 'linux' and platform_machine == '{machine}'"
            lock.write_text(f"{build} ; {marker} \\\n    --hash=sha256:{digest}\n", encoding="utf-8")
        elif lock.is_file() and build not in lock.read_text(encoding="utf-8"):
            lock.unlink()


def requirement_lines(path: Path) -> list[str]:
    """The lines of a file of requirements that are no comments."""
    text = path.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def torch_requirement() -> str:
    """PyTorch at its version, as the backend's requirements have it."""
    return next(
        line for line in requirement_lines(BACKEND / "requirements.txt") if line.startswith("torch==")
    )


def _compile(cache: Path, source: Path, output: Path, options: list[str], upgrade: bool = False) -> None:
    # From the package index alone: what a machine has beside it (pip's find-links) is not there for everyone.
    environment = {name: value for name, value in uv_environment().items() if name != "UV_FIND_LINKS"}
    command = [*uv_program(cache), "pip", "compile", "--quiet", "--universal", "--no-annotate", "--no-header"]
    command += ["--python-version", PYTHON_FOR_BLENDER, "--generate-hashes", *options]
    command += ["--upgrade"] if upgrade else []
    checked([*command, str(source), "--output-file", str(output)], environment)


def _sizes(described: str) -> dict[str, int]:
    """Bytes of the wheels that each system takes, from a lock with the index's facts (PEP 751)."""
    import tomllib  # of Python 3.11; only whoever renews the locks needs it

    totals = dict.fromkeys(SYSTEMS, 0)
    for package in tomllib.loads(described)["packages"]:
        for system, pattern in SYSTEMS.items():
            if _wanted(package.get("marker", ""), system):
                totals[system] += _size(package, pattern)
    return totals


def _wanted(marker: str, system: str) -> bool:
    named = re.findall(r"sys_platform == '(\w+)'", marker)
    return not named or system.partition("-")[0] in named


def _size(package: dict[str, Any], pattern: str) -> int:
    wheels = [(wheel["url"].rpartition("/")[2], wheel["size"]) for wheel in package.get("wheels", ())]
    fitting = [size for name, size in wheels if re.search(rf"-(cp311|abi3|py3)?.*{pattern}", name)]
    if not fitting:
        fitting = [size for name, size in wheels if name.endswith("-any.whl")]
    if not fitting and not wheels:
        fitting = [package["sdist"]["size"]]
    return max(fitting, default=0)
