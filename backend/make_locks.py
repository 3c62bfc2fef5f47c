#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock what Set Up Backend installs: exact versions with checksums, for all systems and Pythons at once.

    python backend/make_locks.py

Needs uv and the package index. Reads the requirements*.txt beside it, which say the versions, and writes

- requirements.lock: all that Generate needs but PyTorch;
- requirements-torch.lock: PyTorch as the package index has it, with what it needs. Builds for particular graphics
  cards are not there but on PyTorch's own index; their checksums are asked for when one is installed;
- requirements-tracking.lock, requirements-alignment.lock: what the extras need beyond that;
- uv.lock.txt: the uv that does the installing, UV_VERSION;
- install_sizes.json: bytes to download by system, which are shown before anything is fetched.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
UV_VERSION = "0.13.9"
OLDEST_PYTHON = "3.11"
PARTS = {"": "requirements", "tracking": "requirements-tracking", "alignment": "requirements-alignment"}

# What is part of the names of wheels for a system. An interpreter's wheel differs little in size from the next one's.
SYSTEMS = {
    "linux-x86_64": r"(linux.*_x86_64)",
    "linux-aarch64": r"(linux.*_aarch64)",
    "win32-amd64": r"(win_amd64)",
    "darwin-arm64": r"(macosx_.*_(arm64|universal2))",
    "darwin-x86_64": r"(macosx_.*_(x86_64|universal2))",
}
MARKERS = {"linux": "linux", "win32": "win32", "darwin": "darwin"}


def main() -> None:
    """Write all files."""
    base = _names(HERE / "requirements.txt")
    hidden = [f"--no-emit-package={name}" for name in base]
    with tempfile.TemporaryDirectory(prefix="locks-") as private:
        folder = Path(private)
        (folder / "torch.txt").write_text("torch\n", encoding="utf-8")
        without_torch = ["--excludes", str(folder / "torch.txt")]
        constraints = ["--constraints", str(HERE / "requirements.txt")]
        torch = next(line for line in _lines(HERE / "requirements.txt") if line.startswith("torch=="))
        (folder / "torch.in").write_text(torch + "\n", encoding="utf-8")
        (folder / "uv.in").write_text(f"uv=={UV_VERSION}\n", encoding="utf-8")
        inputs = {
            "requirements.lock": (HERE / "requirements.txt", without_torch),
            "requirements-torch.lock": (
                folder / "torch.in",
                [*constraints, *(option for option in hidden if not option.endswith("=torch"))],
            ),
            "requirements-tracking.lock": (
                HERE / "requirements-tracking.txt",
                [*without_torch, *constraints, *hidden],
            ),
            "requirements-alignment.lock": (
                HERE / "requirements-alignment.txt",
                [*without_torch, *constraints, *hidden],
            ),
            "uv.lock.txt": (folder / "uv.in", []),
        }
        sizes: dict[str, dict[str, int]] = {}
        for name, (source, options) in inputs.items():
            _compile(source, HERE / name, ["--generate-hashes", "--no-annotate", "--no-header", *options])
            described = folder / "pylock.toml"
            _compile(source, described, ["--format", "pylock.toml", *options])
            part = {"requirements.lock": "backend", "uv.lock.txt": "uv"}.get(name, name[13:-5])
            sizes[part] = _sizes(described.read_text(encoding="utf-8"))
    (HERE / "install_sizes.json").write_text(json.dumps(sizes, indent=2) + "\n", encoding="utf-8")


def _compile(source: Path, output: Path, options: list[str]) -> None:
    uv = [shutil.which("uv")] if shutil.which("uv") else [sys.executable, "-m", "uv"]
    command = [*uv, "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST_PYTHON]
    subprocess.run([*map(str, command), *options, str(source), "-o", str(output)], check=True)


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _names(path: Path) -> list[str]:
    return [line.partition("==")[0] for line in _lines(path)]


def _sizes(described: str) -> dict[str, int]:
    """Bytes of the wheels that each system takes, from a lock with the index's facts (PEP 751)."""
    import tomllib

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


if __name__ == "__main__":
    main()
