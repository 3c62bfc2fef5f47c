# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the backend's packages come from, and how much that is."""

import functools
import json
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ..client import backend_environment
from ..data import bundled
from ..data.errors import UserError

SIZES = bundled.BACKEND_DIRECTORY / "install_sizes.json"

# Variables that would lead the tools into another environment or change what is locked.
_ASTRAY = (
    *("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_TARGET"),
    *("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_BREAK_SYSTEM_PACKAGES"),
    *("UV_REQUIRE_HASHES", "UV_NO_VERIFY_HASHES"),
    *("PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV", "PIP_CONSTRAINT"),
)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")

# Bytes of PyTorch's builds that are not on the package index. The first is the size of 2.13.0's wheel; the others are
# estimates from what PyTorch says of its releases.
OTHER_BUILDS = {"cpu": 192_000_000, "cuda": 2_700_000_000, "rocm": 5_000_000_000, "xpu": 2_000_000_000}
DISK_PER_DOWNLOAD = 3.4  # measured: bytes of the unpacked environment for each byte that is downloaded
UNPACK_BYTES_PER_SECOND = 25e6  # of downloads, on a slow disk; checking included
NAMES = {"cpu": "CPU", "cuda": "NVIDIA CUDA", "rocm": "AMD ROCm", "xpu": "Intel XPU", "mps": "Apple Metal"}


@dataclass(frozen=True)
class Sources:
    """Where packages come from; what is empty is as environment variables and the tools' own settings say.

    package_index: address of an index (PEP 503) in place of the default one.
    wheel_folder: folder of wheels that are taken in preference to the index's.
    wheels_only: nothing but the wheel folder is used, and no network.
    proxy: address of a proxy.
    torch: PyTorch's build: "auto" (by the machine's graphics card), "cpu", or "index" (as the index has it).
    uv: program to use instead of fetching one.
    """

    package_index: str = ""
    wheel_folder: str = ""
    wheels_only: bool = False
    proxy: str = ""
    torch: str = "auto"
    uv: str = ""

    def check(self) -> None:
        """Raises UserError where something that is named is not there."""
        if self.wheel_folder and not Path(self.wheel_folder).is_dir():
            raise UserError(f"The wheel folder “{self.wheel_folder}” does not exist. Choose another one.")
        if self.wheels_only and not self.wheel_folder:
            raise UserError("Installing without a network needs a wheel folder: choose one.")
        for name, address in (("package index", self.package_index), ("proxy", self.proxy)):
            if address and not re.match(r"(https?|file|socks5h?)://", address):
                raise UserError(f"The address of the {name} must begin with https:// or http://.")
        if (sys.platform, platform.machine()) == ("darwin", "x86_64"):
            raise UserError(
                "PyTorch is not made for Macs with Intel processors any more. Set Backend Python to an interpreter "
                "that has an older one."
            )

    def environment(self) -> dict[str, str]:
        """Variables of the processes that install. The user's own (proxies, certificates, indexes) stay."""
        environment = backend_environment(None)
        for name in _ASTRAY:
            environment.pop(name, None)
        environment.update(
            UV_NO_PROGRESS="1", NO_COLOR="1", PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1"
        )
        if self.package_index:
            environment.update(UV_DEFAULT_INDEX=self.package_index, PIP_INDEX_URL=self.package_index)
        if self.wheel_folder:
            environment["UV_FIND_LINKS"] = self.wheel_folder
            environment["PIP_FIND_LINKS"] = Path(self.wheel_folder).as_uri()
        if self.wheels_only:
            environment.update(UV_NO_INDEX="1", UV_OFFLINE="1", PIP_NO_INDEX="1")
        if self.proxy:
            names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy")
            environment.update(dict.fromkeys(names, self.proxy))
        return environment

    def torch_options(self) -> list[str]:
        """Options with which uv finds PyTorch's build."""
        if self.wheels_only or self.torch == "index" or sys.platform == "darwin":
            return []
        if self.torch == "auto" and os.environ.get("UV_TORCH_BACKEND"):
            return []  # uv reads it itself
        # Without a card the build is named, so that no more is fetched than was said; which of CUDA's or ROCm's
        # builds a driver needs, uv finds out.
        cpu = self.torch == "auto" and likely_build(self) == "cpu"
        return [f"--torch-backend={'cpu' if cpu else self.torch}"]

    @property
    def torch_is_locked(self) -> bool:
        """Whether PyTorch is the package index's own, whose checksums the package brings."""
        own = self.wheel_folder or os.environ.get("UV_FIND_LINKS") or os.environ.get("UV_TORCH_BACKEND")
        return not self.torch_options() and not own


@dataclass(frozen=True)
class Plan:
    """What setting up will take.

    build: key of NAMES.
    download: bytes; nothing of it is fetched again that uv's cache has.
    disk: bytes.
    exact: whether the figures are the package index's, not an estimate.
    """

    build: str
    download: int
    disk: int
    exact: bool

    def seconds(self, megabits: float) -> float:
        """How long it will take at a speed of the network, in megabits per second."""
        return self.download * 8 / (megabits * 1e6) + self.download / UNPACK_BYTES_PER_SECOND + 20

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        slow, fast = (max(1, round(self.seconds(megabits) / 60)) for megabits in (20, 100))
        return (
            f"PyTorch for {NAMES[self.build]}: {about}{size_text(self.download)} to download, "
            f"{size_text(self.disk)} on disk; {slow} min at 20 Mbit/s, {fast} min at 100"
        )


def size_text(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def plan(sources: Sources, extras: tuple[str, ...] = ()) -> Plan:
    """What setting up from these sources takes; fetches nothing and starts no program."""
    sizes, system = _sizes(), system_name()
    build = likely_build(sources)
    total = sum(sizes.get(part, {}).get(system, 0) for part in ("uv", "backend", *extras))
    listed = sizes.get("torch", {}).get(system, 0)
    # The index has one build a system: for CUDA on Linux, for the processor or Metal elsewhere.
    on_index = {"linux": "cuda", "darwin": "mps"}.get(sys.platform, "cpu")
    exact = build == on_index and listed > 0
    total += listed if exact else OTHER_BUILDS.get(build, listed)
    return Plan(build, total, int(total * DISK_PER_DOWNLOAD), exact or build == "cpu")


def likely_build(sources: Sources) -> str:
    """The build of PyTorch that will be taken, as far as it can be told without starting anything."""
    if sys.platform == "darwin":
        return "mps"
    named = os.environ.get("UV_TORCH_BACKEND", "") if sources.torch == "auto" else ""
    for prefix, build in (("cu", "cuda"), ("rocm", "rocm"), ("xpu", "xpu"), ("cpu", "cpu")):
        if named.startswith(prefix):
            return build
    if sources.torch == "cpu":
        return "cpu"
    if sources.torch == "index" or sources.wheels_only:
        folder = Path(sources.wheel_folder) if sources.wheel_folder else None
        if folder is not None and any(folder.glob("torch-*+cpu-*.whl")):
            return "cpu"
        return "cuda" if sys.platform == "linux" else "cpu"
    return _graphics()


@functools.cache
def _graphics() -> str:
    """The graphics card, by the traces of its driver that uv's automatic choice looks for."""
    system = Path(os.environ.get("SYSTEMROOT", "C:/Windows")) / "System32"
    if Path("/sys/module/nvidia/version").exists() or (system / "nvcuda.dll").exists():
        return "cuda"
    if sys.platform == "linux":
        if shutil.which("rocm_agent_enumerator"):
            return "rocm"
        for device in Path("/sys/bus/pci/devices").glob("*"):
            try:
                vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
            except OSError:
                continue
            if vendor == "0x8086" and kind.startswith("0x0380"):
                return "xpu"
    return "cpu"


def system_name() -> str:
    """This system as `install_sizes.json` names it."""
    machine = platform.machine().lower()
    if sys.platform == "win32" and machine == "x86_64":
        machine = "amd64"
    return f"{sys.platform}-{machine}"


@functools.cache
def _sizes() -> dict[str, dict[str, int]]:
    try:
        return json.loads(SIZES.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return {}


def without_secrets(text: str) -> str:
    """A text without the names and passwords of addresses in it."""
    return _CREDENTIALS.sub("", text)
