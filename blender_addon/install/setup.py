# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the backend's packages into an environment of the add-on's own, with uv and by locked checksums.

A new environment becomes the one in use after a backend in it has generated a second of motion. So there is either a
working environment or the one from before.
"""

import collections
import contextlib
import importlib.util
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.translations import pgettext_rpt as rpt_

from ..client import BackendClient, BackendError, Call, backend_environment
from ..data import bundled
from ..data.errors import UserError
from ..version import VERSION
from . import environment
from . import sources as package_sources
from . import uv as uv_program
from .course import Job, Steps
from .sources import Sources

PYTHONS = ((3, 11), (3, 14))  # oldest and newest that the locked packages are made for
MANAGED_PYTHON = "3.11"  # uv's own, where Blender's cannot serve
ONLY_BINARY = ("--only-binary", ":all:")
LOG_LINES = 400
ANSWER_SECONDS = 600.0  # of silence of a backend that is checked
CHECK_SECONDS = 1.0  # of the bundled recording
FRAMES = 25  # that they give
FACTS = ("python", "torch", "device", "chosen_device", "check_seconds")  # of the check, that are noted
SPARE_DISK = 300_000_000  # bytes that must be free beyond what is planned


class SetupJob(Job):
    """The installation under way; while packages are fetched, its progress is by how the disk fills.

    log: the last lines that the tools said.
    notes: what is unusual about what was installed.
    """

    def __init__(
        self,
        sources: Sources | None = None,
        extras: tuple[environment.Extra, ...] = (),
        *,
        anew: bool = False,
        online: bool | None = None,
    ) -> None:
        """Check that it can be done; nothing is started before the first `poll`.

        Args:
            sources: where packages come from.
            extras: besides those that the environment of before has.
            anew: repair: nothing of uv's cache is used, as a file there may be damaged.
            online: whether the network may be used; Blender's own permission when None.

        Raises:
            UserError: Blender may not go online, the disk is too small, or the package brings no backend.
        """
        self.sources = sources or Sources()
        self.sources.check()
        online = bpy.app.online_access if online is None else online
        if not online and not self.sources.wheels_only:
            raise UserError(
                "Setting up the backend downloads Python packages, and Blender may not go online. Turn on Allow "
                "Online Access in Preferences, System; or choose a folder of wheels; or set Backend Python to an "
                "interpreter that has them."
            )
        if not environment.REQUIREMENTS.is_file() or not environment.LOCK.is_file():
            raise UserError(
                "This add-on was not installed from a package with a backend in it. Install it again."
            )
        before = environment.current_environment()
        names = {extra.name for extra in extras} | set(before.extras if before is not None else ())
        self.extras = tuple(environment.EXTRAS[name] for name in sorted(names))
        self.plan = package_sources.plan(self.sources, tuple(sorted(names)))
        super().__init__(rpt_("Looking for uv"))
        self.log: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self.notes: list[str] = []
        self._anew = anew
        self._began = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        self._client: BackendClient | None = None
        self._folder = environment.environments_folder()
        self._disks = {self._folder: shutil.disk_usage(self._folder).free}
        free = self._disks[self._folder]
        if free < self.plan.disk + SPARE_DISK and not self.sources.wheels_only:
            raise UserError(
                f"The backend needs {package_sources.size_text(self.plan.disk + SPARE_DISK)} on the disk of "
                f"“{self._folder}”, and {package_sources.size_text(free)} are free."
            )
        self._environment = self._folder / f"e-{os.urandom(3).hex()}"  # short: Windows limits paths

    def _file_error(self, error: OSError) -> UserError:
        where = f": {error.filename}" if error.filename else ""
        return UserError(f"The backend could not be set up: {error.strerror or error}{where}.")

    def _tidy_up(self) -> None:
        """What was fetched is kept in uv's cache for the next time, and the environment from before stays."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._client is not None:
            self._client.stop()
        if self.state != "done":
            shutil.rmtree(self._environment, ignore_errors=True)
        ends = {"done": "Done.", "cancelled": "Cancelled."}
        self.log.append(ends.get(self.state, f"Failed: {self.failure}"))
        with contextlib.suppress(OSError):  # it is for reading afterwards only
            (self._folder / environment.LOG_FILE).write_text("\n".join(self.log) + "\n", encoding="utf-8")

    def _course(self) -> Steps:
        with environment.alone(self._folder):
            yield from self._run()

    def _run(self) -> Steps:
        self._remove_leftovers()
        self.log.append(str(self.plan))
        uv = yield from self._uv()
        if self._anew:
            self.text = rpt_("Emptying uv's cache of the backend's packages")
            clean = [str(uv), "cache", "clean", *self._names()]
            yield from self._command(clean, "uv's cache cannot be emptied")
        self.progress = 0.02
        yield from self._make_environment(uv)
        python = str(environment.python_in(self._environment))
        yield from self._install(uv, python)
        self.progress = 0.9
        for extra in self.extras:
            self.text = rpt_("Checking {name}").format(name=extra.title)
            yield from self._command(
                [python, "-c", f"import {', '.join(extra.modules)}"],
                f"{extra.title} could be installed and does not run here. {extra.hint}",
            )
        self._use((yield from self._check(python)))

    def _remove_leftovers(self) -> None:
        current = environment.current_environment()
        for path in self._folder.glob("e-*"):
            if current is None or path != current.folder:
                shutil.rmtree(path, ignore_errors=True)

    def _uv(self) -> Generator[None, None, Path]:
        """uv: one that is here, else the one that the package names, fetched by pip and checked."""
        uv = uv_program.find_uv(self.sources, self._folder)
        if uv is not None:
            self.log.append(f"uv: {uv}")
            return uv
        self.text = rpt_("Downloading uv")
        wheels = self._environment / "uv"
        wheels.mkdir(parents=True)
        python = sys.executable
        if importlib.util.find_spec("pip") is None:
            python = str(environment.python_in(self._environment / "pip"))
            yield from self._command(
                [sys.executable, "-m", "venv", str(self._environment / "pip")],
                "Blender's Python has no pip to fetch uv with. Where Python comes from the system's packages, install "
                "uv or its venv package (Debian and Ubuntu: python3-venv); or choose a uv program, or a wheel folder "
                "with uv's wheel in it, in the preferences",
            )
        options = ["--quiet", "--no-deps", *ONLY_BINARY, "--require-hashes", "--dest", str(wheels)]
        yield from self._command(
            [python, "-m", "pip", "download", *options, "--requirement", str(uv_program.UV_LOCK)],
            "uv, which installs the packages, could not be fetched. Check the connection, and try again",
        )
        [wheel] = wheels.glob("uv-*.whl")
        program = uv_program.unpack_uv(wheel, self._folder)
        shutil.rmtree(self._environment)
        self.log.append(f"uv: {program}")
        return program

    def _make_environment(self, uv: Path) -> Steps:
        """An empty environment of Blender's Python, or of one of uv's own where that cannot serve."""
        self.text = rpt_("Making an environment")
        command = [str(uv), "venv", "--no-project", "--relocatable", str(self._environment), "--python"]
        failure = "An environment could not be made"
        if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
            try:
                yield from self._command([*command, sys.executable], failure)
                return
            except UserError:
                if self.sources.wheels_only:
                    raise
                shutil.rmtree(self._environment, ignore_errors=True)
        self.text = rpt_("Fetching Python {version}").format(version=MANAGED_PYTHON)
        self.log.append("Blender's Python cannot serve; uv fetches one of its own.")
        yield from self._command([*command, MANAGED_PYTHON, "--managed-python"], failure)

    def _install(self, uv: Path, python: str) -> Steps:
        """Fetch and install the packages: all with checksums, PyTorch by the build for this machine."""
        self._watch_disk(Path((yield from self._output([str(uv), "cache", "dir"]))))
        pip = [str(uv), "pip"]
        to = ["install", "--python", python, "--no-deps", *ONLY_BINARY]
        failure = (
            "The packages could not be installed. Check the connection and the free disk space, and try again; what "
            "was fetched is kept"
        )
        locks = [environment.LOCK, *(extra.lock for extra in self.extras)]
        listed = [part for lock in locks for part in ("--requirement", str(lock))]
        self.text = rpt_("Downloading and installing packages")
        yield from self._command([*pip, *to, "--require-hashes", *listed], failure)
        torch_lock = environment.TORCH_LOCK
        build = self.sources.torch_options()
        if not self.sources.torch_is_locked:
            self.text = rpt_("Choosing PyTorch's build")
            torch_lock = self._environment / environment.TORCH_LOCK.name
            wanted = self._environment / "torch.in"
            lines = environment.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
            wanted.write_text(
                "\n".join(line for line in lines if line.startswith("torch==")) + "\n", encoding="utf-8"
            )
            options = ["--quiet", "--python", python, "--generate-hashes", "--no-annotate", "--no-header"]
            options += [*build, "--constraints", str(environment.REQUIREMENTS), *ONLY_BINARY]
            options += [f"--no-emit-package={name}" for name in self._names() if name != "torch"]
            yield from self._command([*pip, "compile", *options, str(wanted), "-o", str(torch_lock)], failure)
        text = torch_lock.read_text(encoding="utf-8")
        listed_torch = re.findall(r"^torch==\S+", text, re.MULTILINE)
        self.log.extend(listed_torch)
        if self.plan.build == "cpu" and re.search(
            r"^nvidia-", text, re.MULTILINE
        ):  # an index without CPU builds
            self.notes.append(
                rpt_("The index has only PyTorch's CUDA build: more was fetched than was said.")
            )
        hashed = all(line.endswith("\\") for line in text.splitlines() if line[:1].isalnum())
        checks = ["--require-hashes"] if hashed else []
        self.text = rpt_("Downloading and installing PyTorch")
        yield from self._command([*pip, *to, *checks, *build, "--requirement", str(torch_lock)], failure)

    def _names(self) -> list[str]:
        names: list[str] = []
        for path in (environment.REQUIREMENTS, environment.LOCK, *(extra.lock for extra in self.extras)):
            names += re.findall(r"^([A-Za-z0-9._-]+)==", path.read_text(encoding="utf-8"), re.MULTILINE)
        return sorted(set(names))

    def _check(self, python: str) -> Generator[None, None, dict[str, Any]]:
        """Generate a second of motion in a backend of the new environment: on its device, or on the processor."""
        self.text = rpt_("Starting the backend")
        self._client = client = BackendClient(python, backend_environment(bundled.BACKEND_DIRECTORY), VERSION)
        greeting = yield from self._answer(client.greeting)
        device = "auto"
        try:
            seconds = yield from self._generate(client, device)
        except BackendError as error:
            if greeting["device"] == "cpu" or error.kind == "died":
                raise
            self.log.append(f"{greeting['device']}: {error}")
            self.notes.append(f"The device {greeting['device']} does not work; the processor is used.")
            device = "cpu"
            seconds = yield from self._generate(client, device)
        client.stop()
        used = greeting["device"] if device == "auto" else device
        self.log.append(f"One second of motion took {seconds:.1f} s on {used}.")
        return {**greeting, "chosen_device": device, "check_seconds": round(seconds, 2)}

    def _generate(self, client: BackendClient, device: str) -> Generator[None, None, float]:
        self.text = rpt_("Loading the model")
        model = {"model": str(bundled.MODEL_DIRECTORY), "device": device}
        yield from self._answer(client.call("load_model", model, ANSWER_SECONDS))
        self.text, self.progress = rpt_("Generating a second of motion"), 0.95
        output = self._environment / "check"
        output.mkdir(exist_ok=True)
        began = time.monotonic()
        asked = {"audio": str(bundled.EXAMPLE_CLIP), "audio_seconds": CHECK_SECONDS, "seeds": [0]}
        call = client.call("generate", {**asked, "output_dir": str(output)}, ANSWER_SECONDS)
        answer = yield from self._answer(call)
        seconds = time.monotonic() - began
        with np.load(answer["takes"][0]["path"], allow_pickle=False) as clip:
            motion = np.concatenate([clip["exp"], clip["pose"]], axis=1)
        shutil.rmtree(output, ignore_errors=True)
        if len(motion) != FRAMES or not np.isfinite(motion).all() or not motion.std(axis=0).any():
            raise BackendError("The backend runs, but what it generates is no motion.", "internal")
        return seconds

    def _use(self, checked: dict[str, Any]) -> None:
        before = environment.current_environment()
        size = sum(path.stat().st_size for path in self._environment.rglob("*") if path.is_file())
        names = tuple(extra.name for extra in self.extras)
        facts = {
            "folder": self._environment.name,
            "version": VERSION,
            "key": environment.packages_key(names),
            "extras": list(names),
            **{name: checked[name] for name in FACTS},
            "seconds": round(time.monotonic() - self._began, 1),
            "bytes": size,
            "made": time.strftime("%Y-%m-%dT%H:%M:%S"),
        }
        part = self._folder / f"{environment.CURRENT}-{os.getpid()}.part"
        part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        os.replace(part, self._folder / environment.CURRENT)
        if before is not None and before.folder != self._environment:
            shutil.rmtree(before.folder, ignore_errors=True)  # what is in use is removed the next time

    def _watch_disk(self, cache: Path) -> None:
        """Look from now on how the disks of environment and cache fill."""
        there = next((path for path in (cache, *cache.parents) if path.is_dir()), self._folder)
        places = {path.stat().st_dev: path for path in (self._folder, there)}
        self._disks = {path: shutil.disk_usage(path).free for path in places.values()}

    def _fill(self) -> None:
        """Move the bar from 5 % to 90 % as the disks fill."""
        with contextlib.suppress(OSError):
            filled = sum(free - shutil.disk_usage(path).free for path, free in self._disks.items())
            self.progress = max(self.progress, 0.05 + 0.85 * min(1.0, filled / max(1, self.plan.disk)))

    def _answer(self, call: Call) -> Generator[None, None, dict[str, Any]]:
        """Wait for the new backend's answer. Raises BackendError where it has none."""
        while not call.done:
            call.client.poll()
            yield
        return call.result

    def _output(self, command: list[str]) -> Generator[None, None, str]:
        yield from self._command(command, "uv does not work here")
        return self.log.pop()

    def _command(self, command: list[str], failure: str) -> Steps:
        """Run a command and keep what it says in the log.

        Raises:
            UserError: it failed; `failure` and its last line say why.
        """
        self._process = process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.sources.environment(),
            cwd=self._folder,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        lines: queue.Queue[str | None] = queue.Queue()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(line.decode("utf-8", "replace").rstrip())
            lines.put(None)

        threading.Thread(target=read, name="diffposetalk-setup", daemon=True).start()
        installing = "install" in command
        said: list[str] = []
        while True:
            try:
                line = lines.get_nowait()
            except queue.Empty:
                if installing:
                    self._fill()
                yield
                continue
            if line is None:
                break
            if line.strip():
                said.append(package_sources.without_secrets(line))
                self.log.append(said[-1])
            if line.startswith("Downloading "):
                self.text = line
        if process.wait() != 0:
            raise UserError(f"{failure}. {_cause(said)}".strip())


def _cause(said: list[str]) -> str:
    """The lines with which a tool says why it failed, as one."""
    causes = [
        line.strip(" ×╰─▶│├hint:")
        for line in said
        if re.match(r"\s*(error:|×|cause|Caused by|├─▶|╰─▶|ERROR)", line)
    ]
    return " ".join(causes[:4]) or (said[-1] if said else "")
