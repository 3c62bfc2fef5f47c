# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is checked: style, types, pages, and the tests in all Blenders, two things at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .blender import extension_tool
from .documentation import build_site
from .environments import backend_environment, blender_environment
from .errors import BuildError
from .package import package, validate
from .paths import DIST, ROOT
from .processes import clean_environment
from .stages import Stages
from .windows import WINDOW_RELEASES, window_folder

PARTS = ["lint", "docs", "backend", "fuzz", "build", "addon", "survival", "window"]
BACKEND_SUITES = {"backend": "tests/backend", "fuzz": "tests/system/fuzz", "build": "tests/build"}
LINT = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
}
QUICK_PARTS = ["addon", "lint", "backend", "build"]
QUICK_OPTIONS = {
    "backend": ("-m", "not slow", "--ignore=tests/backend/train"),
    "build": ("-m", "not slow"),
    "addon": ("-m", "not engine and not slow"),
}
"""What `--quick` leaves out of a suite: training, and what waits for the backend to make motion."""
LANES = min(2, os.cpu_count() or 1)
"""Suites of tests that run at a time."""


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
    """What came of a suite; skipped: how often for which reason; status: pytest's exit status."""

    name: str
    passed: int
    failed: int
    skipped: Counter[str] = field(default_factory=Counter)
    status: int = 0


class Total:
    """What passed, failed and was skipped over all checks."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self.skipped: Counter[str] = Counter()
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
        self.skipped.update({f"{outcome.name}: {why}": count for why, count in outcome.skipped.items()})
        if outcome.failed:
            self.failures.append(f"{outcome.failed} in {outcome.name}")
        elif outcome.status:
            self.check(f"{outcome.name}: exit status {outcome.status}", False)

    def lines(self) -> list[str]:
        """What was skipped and why, what failed, and the total as the last line."""
        return [
            *(f"skipped: {count} in {what}" for what, count in sorted(self.skipped.items())),
            *(f"failed: {failure}" for failure in self.failures),
            f"{self.passed} passed, {self.failed} failed, {self.skipped.total()} skipped",
        ]


def run_tests(cache: Path, parts: Sequence[str], blenders: Sequence[str], quick: bool) -> int:
    """Run checks and print their total; returns the exit status.

    Args:
        parts: of `PARTS`.
        blenders: the versions that the add-on is tested in.
        quick: leave out what takes long (`QUICK_OPTIONS`).
    """
    total = Total()
    stages = Stages()
    with stages("set up environments"):
        backend = backend_environment(cache)
        pythons = {version: blender_environment(cache, version) for version in blenders}
        tool = [str(pythons[blenders[-1]]), str(extension_tool(pythons[blenders[-1]]))]
    extension: Path | None = None
    with stages("build the extension"):
        try:
            extension = package(DIST)
            validate(extension, tool)
            total.check("package", True)
        except BuildError as error:
            total.check(f"package: {error}", False)
    if "docs" in parts:
        with stages("build the documentation"):
            try:
                build_site(cache)
                total.check("documentation", True)
            except BuildError as error:
                total.check(f"documentation: {error}", False)
    environment = clean_environment(
        DIFFPOSETALK_BACKEND_PYTHON=str(backend),
        DIFFPOSETALK_MODEL=str(ROOT / "flame_assets" / "model"),
        DIFFPOSETALK_BLENDER_EXTENSION_TOOL=tool[-1],
        DIFFPOSETALK_BLENDER_PYTHON=tool[0],
        OMP_NUM_THREADS=str(max(1, (os.cpu_count() or 1) // LANES)),
        **({"DIFFPOSETALK_ADDON_ZIP": str(extension)} if extension else {}),
    )
    with ThreadPoolExecutor(LANES) as lanes, ThreadPoolExecutor(1) as aside:
        work: list[Callable[[], Outcome]] = []
        if "lint" in parts:
            work.append(lambda: run_lint(backend, environment))
        for suite in suites(parts, backend, pythons, quick):
            work.append(lambda suite=suite: run_suite(suite, environment))  # type: ignore[misc]
        if "window" in parts:  # last: their Debian folders may have to be made first
            for release, blender in WINDOW_RELEASES.items():
                where = aside.submit(window_folder, cache, release)
                name = f"Blender {blender} of Debian {release}"
                suite = Suite(backend, "tests/system/window", name, where=where)
                work.append(lambda suite=suite: run_suite(suite, environment))  # type: ignore[misc]
        for outcome in [lanes.submit(run) for run in work]:
            total.add(outcome.result())
    print("\n".join(total.lines()), flush=True)
    return 1 if total.failed or not total.passed else 0


def suites(parts: Sequence[str], backend: Path, pythons: dict[str, Path], quick: bool = False) -> list[Suite]:
    """The suites of these parts but the windows', in the order in which they begin."""
    left_out = QUICK_OPTIONS if quick else {}
    found = [
        Suite(backend, folder, options=left_out.get(name, ()))
        for name, folder in BACKEND_SUITES.items()
        if name in parts
    ]
    newest = list(pythons)[-1]
    if "survival" in parts and sys.platform == "linux":  # it looks into /proc
        for version, python in pythons.items():
            # What depends on Blender itself is tried in each version, the rest in the newest only.
            only = () if version == newest else ("-m", "each_blender")
            found.append(Suite(python, "tests/system/survival", f"Blender {version}", only))
    if "addon" in parts:
        for version, python in pythons.items():
            found.append(Suite(python, "tests/addon", f"Blender {version}", left_out.get("addon", ())))
    return found


def run_lint(python: Path, environment: dict[str, str]) -> Outcome:
    """Check style and types and, when all is done, print what was said."""
    began = time.monotonic()
    said, failed = "", 0
    for name, command in LINT.items():
        done = subprocess.run(
            [str(python), "-m", *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        failed += done.returncode != 0
        said += f"== {name}\n{done.stdout}"
    print(f"{said}== style and types: {time.monotonic() - began:.1f} s", flush=True)
    return Outcome("style and types", len(LINT) - failed, failed)


def run_suite(suite: Suite, environment: dict[str, str]) -> Outcome:
    """Run a suite and, when it has ended, print all it said."""
    if suite.where is not None:
        environment = environment | suite.where.result()
    print(f"== {suite} begins", flush=True)
    began = time.monotonic()
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
        passed, failed, skipped = counted(report) if report.is_file() else (0, 0, Counter())
        text = said.read_text(encoding="utf-8", errors="replace")
    print(f"{text}== {suite}: {time.monotonic() - began:.1f} s", flush=True)
    return Outcome(str(suite), passed, failed, skipped, status)


def counted(report: Path) -> tuple[int, int, Counter[str]]:
    """What a report in JUnit's format counts: passed, failed, and skipped by the reason given."""
    passed = failed = 0
    reasons: Counter[str] = Counter()
    for suite in xml.etree.ElementTree.parse(report).iter("testsuite"):
        tests, failures, errors, skipped = (
            int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")
        )
        failed += failures + errors
        passed += max(0, tests - failures - errors - skipped)
        reasons.update(skip.get("message") or "no reason given" for skip in suite.iter("skipped"))
    return passed, failed, reasons
