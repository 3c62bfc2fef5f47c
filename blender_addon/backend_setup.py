# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the backend's packages into a virtual environment of the add-on's own.

The environment is made under another name and takes its place only after a backend in it has loaded the
bundled model; so there is either a working environment or the one from before.
"""

import collections
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import bpy

from . import presets
from .backend_client import BackendClient, BackendError, Call, backend_environment
from .errors import UserError
from .version import VERSION

OLDEST_PYTHON = (3, 10)
LOG_LINES = 400
LOAD_SECONDS = 600.0
REQUIREMENTS = presets.BACKEND_DIRECTORY / "requirements.txt"


def environments_folder() -> Path:
    """The folder of the add-on's own that holds the environment; it outlives updates of the add-on."""
    return Path(bpy.utils.extension_path_user(__package__, path="backend", create=True))


def python_in(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def installed_python() -> Path | None:
    """The interpreter of the environment that Set Up Backend made, or None."""
    try:
        python = python_in(environments_folder() / "environment")
    except (OSError, ValueError):
        return None  # the add-on does not run as an extension: it has no folder
    return python if python.is_file() else None


class SetupJob:
    """The installation under way.

    state: "running", "done", "failed" or "cancelled".
    text: the step it is at.
    log: the last lines that the tools said.
    failure: why it failed; its text says what to do.
    """

    def __init__(self) -> None:
        """Check that it can be done.

        Raises:
            UserError: Blender may not go online, or the package brings no backend.
        """
        if not bpy.app.online_access:
            raise UserError(
                "Setting up the backend downloads Python packages, and Blender may not go online. Turn "
                "on Allow "
                "Online Access in Preferences, System; or set Backend Python to an interpreter that has them."
            )
        if not REQUIREMENTS.is_file():
            raise UserError(
                "This add-on was not installed from a package with a backend in it. Install it again."
            )
        if sys.version_info < OLDEST_PYTHON:
            raise UserError(f"The backend needs Python {'.'.join(map(str, OLDEST_PYTHON))} or newer.")
        self.state = "running"
        self.text = "Making a virtual environment"
        self.progress = 0.0
        self.log: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self.failure: Exception | None = None
        self._cancelled = False
        self._process: subprocess.Popen[bytes] | None = None
        self._client: BackendClient | None = None
        self._folder = environments_folder()
        self._part = self._folder / f"environment-{os.getpid()}.part"
        self._steps = self._run()

    def poll(self) -> str:
        """Go on as far as possible without waiting, and return the state."""
        if self.state != "running":
            return self.state
        try:
            if self._cancelled:
                self._end("cancelled")
            else:
                next(self._steps)
        except StopIteration:
            self._end("done")
        except (UserError, BackendError) as error:
            self._end("failed", error)
        except OSError as error:
            self._end(
                "failed", UserError(f"The backend could not be set up: {error.strerror}: {error.filename}.")
            )
        return self.state

    def cancel(self) -> None:
        """Stop; the environment from before stays."""
        self._cancelled = True

    def _end(self, state: str, failure: Exception | None = None) -> None:
        self.state, self.failure = state, failure
        self._steps.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._client is not None:
            self._client.stop()
        shutil.rmtree(self._part, ignore_errors=True)

    def _run(self) -> Generator[None, None, None]:
        shutil.rmtree(self._part, ignore_errors=True)
        yield from self._command(
            [sys.executable, "-m", "venv", str(self._part)],
            "A virtual environment could not be made. Where Python comes from the system's packages, "
            "install its "
            "venv package (Debian and Ubuntu: python3-venv)",
        )
        python = str(python_in(self._part))
        self.text = "Downloading and installing packages"
        yield from self._command(
            [
                python,
                "-m",
                "pip",
                "install",
                "--no-input",
                "--disable-pip-version-check",
                "-r",
                str(REQUIREMENTS),
            ],
            "The backend's packages could not be installed. Check the connection and the free disk "
            "space, and try "
            "again",
        )
        self.text = "Checking the backend"
        self._client = BackendClient(python, backend_environment(presets.BACKEND_DIRECTORY), VERSION)
        yield from self._answer(self._client.greeting)
        model = {"model": str(presets.MODEL_DIRECTORY), "device": "cpu"}
        yield from self._answer(self._client.call("load_model", model, LOAD_SECONDS))
        self._client.stop()
        final = self._folder / "environment"
        old = self._folder / f"environment-{os.getpid()}.old"
        if final.exists():
            final.rename(old)
        self._part.rename(final)
        shutil.rmtree(old, ignore_errors=True)

    def _answer(self, call: Call) -> Generator[None, None, None]:
        """Wait for the new backend's answer. Raises BackendError where it has none."""
        while not call.done:
            call.client.poll()
            yield
        call.result  # noqa: B018 - raises the call's error

    def _command(self, command: list[str], failure: str) -> Generator[None, None, None]:
        """Run a command and keep what it says in the log.

        Raises:
            UserError: it failed; `failure` and its last line say why.
        """
        self._process = process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=backend_environment(None),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        lines: queue.Queue[str | None] = queue.Queue()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(line.decode("utf-8", "replace").rstrip())
            lines.put(None)

        threading.Thread(target=read, name="diffposetalk-setup", daemon=True).start()
        while True:
            try:
                line = lines.get_nowait()
            except queue.Empty:
                yield
                continue
            if line is None:
                break
            self.log.append(line)
        if process.wait() != 0:
            raise UserError(f"{failure}. {self.log[-1] if self.log else ''}".strip())


@dataclass(frozen=True)
class Extra:
    """Packages beyond those that Generate needs.

    title: what they are called, for people.
    modules: what must be importable afterwards.
    by_hand: what installs them into a Python of the user's own.
    hint: what else may be missing where they are installed and do not run.
    """

    title: str
    requirements: Path
    modules: tuple[str, ...]
    by_hand: str
    hint: str


TRACKING = Extra(
    "MediaPipe and PyAV",
    presets.BACKEND_DIRECTORY / "requirements-tracking.txt",
    ("av", "mediapipe"),
    'pip install "diffposetalk[tracking]" or mediapipe and av',
    "On Debian and Ubuntu they need libgles2, libegl1 and libgl1",
)
ALIGNMENT = Extra(
    "PocketSphinx",
    presets.BACKEND_DIRECTORY / "requirements-alignment.txt",
    ("pocketsphinx",),
    "pip install pocketsphinx",
    "See the log above",
)


class ExtraSetupJob(SetupJob):
    """Installing further packages into the environment that Set Up Backend has made."""

    def __init__(self, extra: Extra) -> None:
        """Check that it can be done.

        Raises:
            UserError: Blender may not go online, or the backend runs in an interpreter of the user's own.
        """
        super().__init__()
        python = installed_python()
        if python is None:
            raise UserError(
                "The add-on has no backend environment of its own to install into. Press Set Up Backend first; in a "
                f"Python of your own, run: {extra.by_hand}."
            )
        self.text = f"Downloading and installing {extra.title}"
        self.extra, self._python = extra, str(python)

    def _run(self) -> Generator[None, None, None]:
        options = ["--no-input", "--disable-pip-version-check", "-c", str(REQUIREMENTS)]
        yield from self._command(
            [self._python, "-m", "pip", "install", *options, "-r", str(self.extra.requirements)],
            "The packages could not be installed. Check the connection and the free disk space, and try again",
        )
        self.text = "Checking them"
        yield from self._command(
            [self._python, "-c", f"import {', '.join(self.extra.modules)}"],
            f"The packages are installed but do not run here. {self.extra.hint}",
        )
