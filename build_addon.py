#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build, show and test DiffPoseTalk for Blender. Needs Python 3.10 or newer and nothing else.

    python build_addon.py package   make the installable extension, dist/diffposetalk-VERSION.zip
    python build_addon.py demo      from a recording to a talking head: scene, exports and pictures
    python build_addon.py test      everything that is checked: style, types, all tests in all Blenders
    python build_addon.py docs      the documentation as a site, build/site

Environments are made once, in a cache folder, and keyed by what is in them.
"""

from __future__ import annotations

import argparse
import ast
import ctypes
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
DIST = ROOT / "dist"
SITE = ROOT / "build" / "site"
SCREENSHOTS = ROOT / "docs" / "screenshots"
MAX_PACKAGE_BYTES = 120 * 1024 * 1024
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # one date for all, so that the same source gives the same bytes

PYTHON_FOR_BLENDER = "3.11"  # the one that Blender's wheels are made for
BLENDERS = {"4.2": ["bpy==4.2.23", "numpy<2"], "4.5": ["bpy==4.5.15"], "5.0": ["bpy==5.0.1"]}
DEMO_BLENDER = "5.0"
TEST_TOOLS = ["pytest==9.2.0"]
DEVELOPMENT_TOOLS = [
    *TEST_TOOLS,
    "ruff==0.17.6",
    "mypy==2.4.1",
    "matplotlib==3.11.2",
    "hypothesis==6.170.15",
    "uv==0.13.9",  # the one that the add-on installs with
]
TRAINING_TOOLS = [
    "accelerate==1.15.0",
    "tensorboard==2.21.0",
    "pillow==13.0.0",
    "pocketsphinx==5.1.1",
    "lmdb==3.0.0",
]
TRACKING_TOOLS = ["mediapipe==1.2.2", "av==18.1.0"]
CLUSTER_TOOLS = ["ray[data]==2.60.0"]
DOCUMENTATION_TOOLS = ["sphinx==9.0.4", "myst-parser==5.2.0", "furo==2025.12.19", "numpy==2.4.6"]
INSTALL_FILES = [
    "pyproject.toml",
    "requirements.txt",
    *(f"requirements{part}.lock" for part in ("", "-torch", "-tracking", "-alignment")),
    "uv.lock.txt",
    "install_sizes.json",
]
"""What Set Up Backend reads, beside the source; `backend/make_locks.py` makes most of it."""
OLDEST_BLENDER = (4, 2)
PARTS = ["lint", "docs", "backend", "fuzz", "build", "addon", "survival", "window"]
BACKEND_SUITES = {"backend": "tests/backend", "fuzz": "tests/system/fuzz", "build": "tests/build"}
LANES = min(2, os.cpu_count() or 1)
"""Suites of tests that run at a time."""

# Shared libraries that Blender's wheels, rendering without a display and MediaPipe need, with Debian's packages.
SYSTEM_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libX11.so.6": "libx11-6",
    "libXi.so.6": "libxi6",
    "libXrender.so.1": "libxrender1",
    "libXfixes.so.3": "libxfixes3",
    "libXext.so.6": "libxext6",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libgomp.so.1": "libgomp1",
    "libGLESv2.so.2": "libgles2",
    "libglib-2.0.so.0": "libglib2.0-0",
}
# Real Blenders for tests of their windows, each in a Debian folder of its own: releases, and their Blender.
WINDOW_RELEASES = {"trixie": "4.3", "sid": "5.2"}
WINDOW_MIRROR = "http://deb.debian.org/debian"
WINDOW_PACKAGES = [
    "blender", "python3-numpy", "python3-requests", "python3-cattr",
    "xvfb", "libegl1", "libgl1-mesa-dri", "libgomp1",
]  # fmt: skip
MESA_DRIVERS = ("/usr/lib/*/dri/*_dri.so", "/usr/lib*/dri/*_dri.so", "/usr/lib/*/libgallium*.so")


class BuildError(Exception):
    """What stops the build, in words for the person who runs it."""


class UnavailableError(Exception):
    """Why a part of the tests cannot run on this machine, and what to do about it."""


def main() -> int:
    """Run the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Build, show and test DiffPoseTalk for Blender.")
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="folder of environments (%(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    package_command = commands.add_parser("package", help="make the installable extension")
    package_command.add_argument("--output", type=Path, default=DIST, help="folder to write to (%(default)s)")
    package_command.set_defaults(run=run_package)
    demo = commands.add_parser("demo", help="from a recording to a talking head")
    demo.add_argument("--audio", type=Path, default=ROOT / "flame_assets" / "clips" / "jfk.flac")
    demo.add_argument("--output", type=Path, default=ROOT / "demo_output")
    demo.add_argument("--style", help="style preset (default: the model's own)")
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--no-video", action="store_true", help="render the contact sheet only")
    demo.set_defaults(run=run_demo)
    test = commands.add_parser("test", help="run all checks")
    test.add_argument("--only", choices=PARTS, action="append")
    test.add_argument(
        "--blender", choices=list(BLENDERS), action="append", help="test the add-on in these only"
    )
    test.set_defaults(run=run_test)
    docs = commands.add_parser("docs", help="build the documentation's site")
    docs.set_defaults(run=run_docs)
    arguments = parser.parse_args()
    try:
        return int(arguments.run(arguments) or 0)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def default_cache() -> Path:
    """Where environments are kept: the user's cache folder."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "diffposetalk"


# The package --------------------------------------------------------------------------------------


def run_package(arguments: argparse.Namespace) -> None:
    """`package`: build and validate the extension."""
    path = package(arguments.output)
    validate(path, blender_for_validation(arguments.cache))
    print(f"{path} ({path.stat().st_size / 1024**2:.1f} MiB)")


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


def package_contents() -> Iterator[tuple[str, Path]]:
    """Names in the zip and the files they come from: the add-on on top, `backend/` and `assets/` in it."""
    yield from files_below(ROOT / "blender_addon", "")
    yield "LICENSE", ROOT / "LICENSE"
    for name in INSTALL_FILES:
        yield f"backend/{name}", ROOT / "backend" / name
    yield from files_below(ROOT / "backend" / "diffposetalk", "backend/diffposetalk/")
    assets = ROOT / "flame_assets"
    for required in ("head/head.npz", "model/config.json", "model/model.safetensors"):
        if not (assets / required).is_file():
            raise BuildError(f"{assets / required} is missing; the package cannot be made without it.")
    for name in ("head", "model", "clips"):
        yield from files_below(assets / name, f"assets/{name}/")


def files_below(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """The source files below a folder, without what Python or an editor left there."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") or part in ("__pycache__", "build") for part in relative.parts)
        if path.is_file() and not hidden and not path.name.endswith((".pyc", ".part", ".egg-info")):
            yield prefix + relative.as_posix(), path


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


def blender_for_validation(cache: Path) -> list[str]:
    """The command of Blender's own extension tool: from an installed Blender, else from its wheel."""
    blender = find_blender()
    if blender:
        return [blender, "--command", "extension"]
    python = blender_environment(cache, DEMO_BLENDER)
    return [str(python), str(extension_tool(python))]


def extension_tool(python: Path) -> Path:
    """Blender's extension tool inside the wheel that is installed beside this interpreter."""
    found = sorted(python.parents[1].glob("**/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    if not found:
        raise BuildError(f"Blender's extension tool is not in {python.parents[1]}.")
    return found[-1]


def validate(path: Path, tool: list[str]) -> None:
    """Let Blender itself check the zip. Raises BuildError."""
    done = subprocess.run(
        [*tool, "validate", str(path)], env=clean_environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise BuildError(f"Blender does not accept {path}: {(done.stdout + done.stderr).strip()}")


# The demo -----------------------------------------------------------------------------------------


def run_demo(arguments: argparse.Namespace) -> None:
    """`demo`: package, install, generate, key, export and render."""
    stages = Stages()
    if not arguments.audio.is_file():
        raise BuildError(f"There is no recording {arguments.audio}.")
    with stages("set up environments"):
        backend = backend_environment(arguments.cache)
        command, described = blender_command(arguments.cache)
    with stages("build the extension"):
        extension = package(DIST)
        validate(extension, blender_for_validation(arguments.cache))
    output = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    for earlier in [*output.glob("talking_head.*"), output / "contact_sheet.png"]:
        earlier.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="diffposetalk-demo-") as private, stages(f"run in {described}"):
        make = [*command(ROOT / "demo" / "make_talking_head.py"), "--extension", str(extension)]
        make += [
            "--audio",
            str(arguments.audio.resolve()),
            "--output",
            str(output),
            "--seed",
            str(arguments.seed),
        ]
        make += ["--frames", str(Path(private) / "frames")]
        make += ["--style", arguments.style] if arguments.style else []
        make += ["--no-video"] if arguments.no_video else []
        environment = clean_environment(
            BLENDER_USER_RESOURCES=str(Path(private) / "blender"), DIFFPOSETALK_BACKEND_PYTHON=str(backend)
        )
        checked(make, environment)
        sheet = [
            str(backend),
            str(ROOT / "demo" / "contact_sheet.py"),
            "--frames",
            str(Path(private) / "frames"),
        ]
        sheet += ["--audio", str(arguments.audio.resolve()), "--output", str(output / "contact_sheet.png")]
        checked(sheet, clean_environment())
    print(f"\nThe demo is in {output}:")
    for path in sorted(output.iterdir()):
        print(f"  {path.name:24} {path.stat().st_size / 1024:10,.0f} KiB")


class Stages:
    """Announces the stages of a long command and says how long each took."""

    def __call__(self, name: str) -> Stages:
        self.name = name
        return self

    def __enter__(self) -> None:
        print(f"== {self.name}", flush=True)
        self.began = time.monotonic()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            print(f"== {self.name}: {time.monotonic() - self.began:.1f} s", flush=True)


def find_blender() -> str | None:
    """An installed Blender that is new enough, or None."""
    blender = shutil.which("blender")
    if blender is None:
        return None
    done = subprocess.run([blender, "--version"], capture_output=True, text=True)
    found = re.search(r"Blender (\d+)\.(\d+)", done.stdout)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_BLENDER:
        return None
    return blender


def blender_command(cache: Path):  # type: ignore[no-untyped-def]
    """How to run a script in Blender, as a function of the script, and what that Blender is."""
    blender = find_blender()
    if blender:
        options = ["--background", "--factory-startup", "--python-exit-code", "1", "--python"]
        return (lambda script: [blender, *options, str(script), "--"]), blender
    python = blender_environment(cache, DEMO_BLENDER)
    return (lambda script: [str(python), str(script), "--"]), f"Blender {DEMO_BLENDER} (bpy wheel)"


# The documentation --------------------------------------------------------------------------------


def run_docs(arguments: argparse.Namespace) -> None:
    """`docs`: build the site."""
    build_site(arguments.cache)
    print(SITE / "index.html")


def build_site(cache: Path) -> None:
    """Build docs/ and the pages that it leads to into `SITE`, with references read from the code.

    Raises:
        BuildError: a page has an error, or a link leads nowhere; they are printed.
    """
    python = environment(cache, "docs", DOCUMENTATION_TOOLS)
    shutil.rmtree(SITE, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="diffposetalk-docs-") as private:
        options = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(ROOT / "docs"), "-d", private]
        checked(
            [str(python), "-B", "-m", "sphinx", *options, str(ROOT), str(SITE)],
            clean_environment(),
        )


# The tests ----------------------------------------------------------------------------------------


def run_test(arguments: argparse.Namespace) -> int:
    """`test`: all checks; ends with their total on a line of its own."""
    parts = arguments.only or PARTS
    blenders = arguments.blender or list(BLENDERS)
    total = Total()
    stages = Stages()
    with stages("set up environments"):
        backend = backend_environment(arguments.cache)
        pythons = {version: blender_environment(arguments.cache, version) for version in blenders}
        tool = [str(pythons[blenders[-1]]), str(extension_tool(pythons[blenders[-1]]))]
    extension: Path | None = None
    with stages("build the extension"):
        try:
            extension = package(DIST)
            validate(extension, tool)
            total.check("package", True)
        except BuildError as error:
            total.check(f"package: {error}", False)
    environment = clean_environment(
        DIFFPOSETALK_BACKEND_PYTHON=str(backend),
        DIFFPOSETALK_MODEL=str(ROOT / "flame_assets" / "model"),
        DIFFPOSETALK_BLENDER_EXTENSION_TOOL=tool[-1],
        DIFFPOSETALK_BLENDER_PYTHON=tool[0],
        **({"DIFFPOSETALK_ADDON_ZIP": str(extension)} if extension else {}),
    )
    if "lint" in parts:
        for name, command in {
            "ruff check": ["ruff", "check", "."],
            "ruff format": ["ruff", "format", "--check", "."],
            "mypy": ["mypy"],
        }.items():
            with stages(name):
                done = subprocess.run([str(backend), "-m", *command], cwd=ROOT, env=environment)
            total.check(name, done.returncode == 0)
    if "docs" in parts:
        with stages("build the documentation"):
            try:
                build_site(arguments.cache)
                total.check("documentation", True)
            except BuildError as error:
                total.check(f"documentation: {error}", False)
    # Two at a time where there are processors for it; the windows last, whose Debian folders may have to be made first.
    suites = [Suite(backend, folder) for name, folder in BACKEND_SUITES.items() if name in parts]
    if "survival" in parts and sys.platform == "linux":  # it looks into /proc
        for version, python in pythons.items():
            # What depends on Blender itself is tried in each version, the rest in the newest only.
            only = () if version == list(pythons)[-1] else ("-m", "each_blender")
            suites.append(Suite(python, "tests/system/survival", f"Blender {version}", only))
    if "addon" in parts:
        for version, python in pythons.items():
            suites.append(Suite(python, "tests/addon", f"Blender {version}"))
    with ThreadPoolExecutor(LANES) as lanes, ThreadPoolExecutor(1) as aside:
        if "window" in parts:
            for release, blender in WINDOW_RELEASES.items():
                where = aside.submit(window_folder, arguments.cache, release)
                suites.append(
                    Suite(
                        backend, "tests/system/window", f"Blender {blender} of Debian {release}", where=where
                    )
                )
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // LANES))
        for outcome in [lanes.submit(run_suite, suite, environment) for suite in suites]:
            total.add(outcome.result())
    for failure in total.failures:
        print(f"failed: {failure}")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)
    return 1 if total.failed or not total.passed else 0


class Total:
    """What passed, failed and was skipped over all checks."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0
        self.failures: list[str] = []

    def check(self, name: str, passed: bool) -> None:
        """Count one check."""
        self.passed += passed
        self.failed += not passed
        if not passed:
            self.failures.append(name)

    def add(self, outcome: Outcome) -> None:
        """Count what came of a suite; one that breaks off counts as a failure."""
        self.passed += outcome.passed
        self.failed += outcome.failed
        self.skipped += outcome.skipped
        if outcome.failed:
            self.failures.append(f"{outcome.failed} in {outcome.suite}")
        elif outcome.status:
            self.check(f"{outcome.suite}: exit status {outcome.status}", False)


@dataclass(frozen=True)
class Suite:
    """Tests of a folder, for an interpreter; they wait for variables that are still being found out."""

    python: Path
    folder: str
    blender: str = ""
    options: tuple[str, ...] = ()
    where: Future[dict[str, str]] | None = None

    def __str__(self) -> str:
        return f"{self.folder} in {self.blender}" if self.blender else self.folder


@dataclass(frozen=True)
class Outcome:
    """What came of a suite; status is pytest's exit status."""

    suite: Suite
    passed: int
    failed: int
    skipped: int
    status: int


def run_suite(suite: Suite, environment: dict[str, str]) -> Outcome:
    """Run a suite and, when it has ended, print all it said."""
    if suite.where is not None:
        environment = environment | suite.where.result()
    print(f"== {suite} begins", flush=True)
    began = time.monotonic()
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory(prefix="diffposetalk-test-") as private:
        report, said = Path(private) / "report.xml", Path(private) / "said.txt"
        options = ["-p", "no:cacheprovider", f"--junitxml={report}", "--durations=5"]
        options += [f"--basetemp={private}/tmp", *suite.options]
        command = [str(suite.python), "-m", "pytest", suite.folder, *options]
        with said.open("wb") as output:
            status = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            ).returncode
        if report.is_file():
            for counted in xml.etree.ElementTree.parse(report).iter("testsuite"):
                tests, failures, errors, left_out = (
                    int(counted.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")
                )
                failed += failures + errors
                skipped += left_out
                passed += max(0, tests - failures - errors - left_out)
        text = said.read_text(encoding="utf-8", errors="replace")
    print(f"{text}== {suite}: {time.monotonic() - began:.1f} s", flush=True)
    return Outcome(suite, passed, failed, skipped, status)


def window_folder(cache: Path, release: str) -> dict[str, str]:
    """Variables that tell the tests where a real Blender is, or why there is none."""
    try:
        found = {"DIFFPOSETALK_WINDOW_ROOT": str(window_root(cache, release))}
    except UnavailableError as reason:
        print(f"not here: {reason}")
        return {"DIFFPOSETALK_WINDOW_MISSING": str(reason)}
    # The manual shows the stable release's pictures.
    return {**found, "DIFFPOSETALK_SCREENSHOTS": str(SCREENSHOTS)} if release == "trixie" else found


# Environments -------------------------------------------------------------------------------------


def backend_environment(cache: Path) -> Path:
    """Interpreter of an environment with the backend, as users have it, and the tools for development."""
    pinned = (ROOT / "backend" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = [line for line in pinned if line and not line.startswith("#")]
    python = environment(
        cache,
        "backend",
        [*requirements, *DEVELOPMENT_TOOLS, *TRAINING_TOOLS, *TRACKING_TOOLS, *CLUSTER_TOOLS],
    )
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
    # From a copy: building leaves files beside the source, and older ones there would be packed again.
    with tempfile.TemporaryDirectory(prefix="diffposetalk-source-") as private:
        for name, path in source:
            target = Path(private) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        install(cache, python, ["--no-deps", "--force-reinstall", private])
    marker.write_text(digest.hexdigest())


def blender_environment(cache: Path, version: str) -> Path:
    """Interpreter of an environment with Blender as a module, its system libraries in place."""
    ensure_system_libraries()
    return environment(cache, f"blender-{version}", [*BLENDERS[version], *TEST_TOOLS])


def environment(cache: Path, name: str, requirements: Sequence[str]) -> Path:
    """Interpreter of a virtual environment with these requirements, made now if it is not there.

    It is made under another name and renamed when complete, so that a half-made one is never used; its
    programs are therefore run as modules, by its interpreter.
    """
    key = hashlib.sha256("\n".join([PYTHON_FOR_BLENDER, sys.platform, *requirements]).encode()).hexdigest()[
        :12
    ]
    final = cache / "environments" / f"{name}-{key}"
    if not python_in(final).exists():
        print(f"making the environment {final}", flush=True)
        part = final.with_name(f"{final.name}.part-{os.getpid()}")
        try:
            make_environment(cache, part)
            install(cache, python_in(part), list(requirements))
            try:
                part.rename(final)
            except OSError:
                if not python_in(final).exists():  # else another run was quicker
                    raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return python_in(final)


def python_in(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def make_environment(cache: Path, folder: Path) -> None:
    """Make an empty virtual environment with the Python that Blender's wheels need."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    uv = uv_program(cache)
    if uv:
        checked([*uv, "venv", "--quiet", "--python", PYTHON_FOR_BLENDER, str(folder)], uv_environment())
        return
    own = sys.version.startswith(PYTHON_FOR_BLENDER + ".")
    python = sys.executable if own else shutil.which(f"python{PYTHON_FOR_BLENDER}")
    if python is None:
        raise BuildError(f"Python {PYTHON_FOR_BLENDER} is needed, as Blender uses it. Install it, or uv.")
    checked([python, "-m", "venv", str(folder)], clean_environment())


def install(cache: Path, python: Path, requirements: Iterable[str]) -> None:
    """Install into an environment, by uv where it can be had (a tenth of the time), else by pip."""
    uv = uv_program(cache)
    if uv:
        checked([*uv, "pip", "install", "--quiet", "--python", str(python), *requirements], uv_environment())
    else:
        checked([str(python), "-m", "pip", "install", "--quiet", *requirements], clean_environment())


def uv_program(cache: Path) -> list[str] | None:
    """How to run uv: the installed one, else one that pip installs into the cache; None if neither works."""
    if shutil.which("uv"):
        return ["uv"]
    folder = cache / "uv"
    python = python_in(folder)
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(python), "-m", "pip", "install", "--quiet", "uv"],
            ):
                subprocess.run(command, check=True, env=clean_environment(), capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        (folder / "complete").touch()
    return [str(python), "-m", "uv"]


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


def ensure_system_libraries() -> None:
    """Have the shared libraries that Blender needs on Linux: install them by apt where that can be done."""
    missing = missing_packages()
    if not missing:
        return
    commands = [["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *missing]]
    if shutil.which("apt-get") and os.geteuid() == 0:
        for command in commands:
            checked(command, clean_environment(DEBIAN_FRONTEND="noninteractive"))
        missing = missing_packages()
    if missing:
        raise BuildError(
            f"System libraries are missing: {', '.join(missing)} (as Debian names them). "
            f"Install them: sudo {' '.join(commands[-1])}"
        )


def missing_packages() -> list[str]:
    """Debian's names of what Blender needs and this system lacks."""
    if sys.platform != "linux":
        return []
    missing = []
    for library, name in SYSTEM_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(name)
    if not any(glob.glob(pattern) for pattern in MESA_DRIVERS):
        missing.append("libgl1-mesa-dri")
    return missing


def window_root(cache: Path, release: str) -> Path:
    """The folder of a Debian release with Blender and an X server, made now if it is not there.

    Everything that is mounted in it meanwhile is mounted in a name space that ends with the command; so nothing
    is ever mounted when a half-made folder is deleted.

    Raises:
        UnavailableError: it cannot be made on this machine.
    """
    key = hashlib.sha256(" ".join([release, *WINDOW_PACKAGES]).encode()).hexdigest()[:12]
    final = cache / "windows" / f"{release}-{key}"
    if sys.platform != "linux" or os.geteuid() != 0:
        raise UnavailableError(
            "Real windows are tested as root on Linux (chroot and mounts): use sudo, or CI."
        )
    if final.is_dir():
        return final
    if not shutil.which("debootstrap") and shutil.which("apt-get"):
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "debootstrap"]):
            subprocess.run(command, env=clean_environment(DEBIAN_FRONTEND="noninteractive"))
    for program, package in (("debootstrap", "debootstrap"), ("unshare", "util-linux")):
        if not shutil.which(program):
            raise UnavailableError(f"{program} is missing. Install it: apt-get install {package}")
    part = final.with_name(f"{final.name}.part-{os.getpid()}")
    part.mkdir(parents=True)
    make = f"""
        debootstrap --variant=minbase {release} "$0" {WINDOW_MIRROR}
        echo force-unsafe-io > "$0/etc/dpkg/dpkg.cfg.d/fast"
        echo 'Acquire::Check-Valid-Until "false";' > "$0/etc/apt/apt.conf.d/mirror"
        mount -t proc proc "$0/proc"
        mount --rbind /dev "$0/dev"
        chroot "$0" apt-get update
        chroot "$0" apt-get install -y --no-install-recommends {" ".join(WINDOW_PACKAGES)}
        chroot "$0" apt-get clean
    """
    print(f"making {final} (a few minutes, 1.4 GB)", flush=True)
    log = cache / "windows" / f"{release}.log"
    try:
        with log.open("wb") as output:
            done = subprocess.run(
                ["unshare", "--mount", "--propagation", "private", "sh", "-ec", make, str(part)],
                env=clean_environment(DEBIAN_FRONTEND="noninteractive"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if done.returncode:
            last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
            raise UnavailableError(
                f"Debian's Blender could not be installed (is there a network?). {last} See {log}."
            )
        part.rename(final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return final


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


if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036 - told in words to whoever has an older one
        sys.exit("error: Python 3.10 or newer is needed.")
    sys.exit(main())
