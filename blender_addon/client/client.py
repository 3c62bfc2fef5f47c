# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON-RPC 2.0 calls to the backend as objects that are done sooner or later.

Nothing happens behind the caller's back: `poll` takes in what the backend has said since the last time,
completes calls and passes progress on, all on the calling thread. An interactive caller polls from a timer;
a script uses `Call.wait`, which polls in a loop.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import BackendError
from .process import MessageProcess

PROTOCOL_VERSION = 1
CANCELLED_CODE = -32800
HANDSHAKE_SECONDS = 180.0  # a cold disk takes its time to load torch
POLL_SECONDS = 0.02
POLL_GAP_SECONDS = 1.0  # that one poll adds to a silence at most: the machine, or Blender, may have slept
POLL_LIMIT_SECONDS = 0.01  # after which what else the backend has said waits for the next poll
LEAVE_SECONDS = 2.0  # for a backend that was told to end

PATHS = frozenset(
    [
        *("audio", "denoiser", "file", "head", "model", "motion", "neutral", "output", "output_dir", "path"),
        *("shape", "statistics", "style_encoder", "target", "tracker", "vector", "video"),
    ]
)
"""Names of parameters that are paths, at any depth but in `DESCRIPTIONS`."""
FOLDERS = frozenset(
    f"DIFFPOSETALK_{name}" for name in ("CACHE", "DATA", "HEAD", "HUBERT", "MODEL", "STYLES", "TRACKER")
)
"""Variables in which the backend is told folders and files."""
DESCRIPTIONS = frozenset(["source"])  # what is kept as it is

Notified = Callable[[str, dict[str, Any]], None]


class Call:
    """One request: its answer, or the error it ended with."""

    def __init__(
        self,
        client: "BackendClient",
        call_id: int,
        method: str,
        timeout: float | None,
        on_notice: Notified | None,
    ) -> None:
        self.client = client
        self.id = call_id
        self.method = method
        self.timeout = timeout
        self.silence = 0.0  # seconds without any word of the backend
        self.on_notice = on_notice
        self.done = False
        self.error: BackendError | None = None
        self._value: dict[str, Any] = {}

    @property
    def result(self) -> dict[str, Any]:
        """The answer of a call that is done.

        Raises:
            BackendError: the call failed.
        """
        if self.error is not None:
            raise self.error
        return self._value

    def wait(self) -> dict[str, Any]:
        """Block until the call is done and return its answer.

        Raises:
            BackendError: the call failed.
        """
        while not self.done:
            self.client.poll()
            if not self.done:
                time.sleep(POLL_SECONDS)
        return self.result

    def cancel(self) -> None:
        """Ask the backend to give the call up; it then ends with an error of kind `cancelled`."""
        if not self.done:
            self.client.call("cancel", {"id": self.id})

    def _finish(self, value: dict[str, Any] | None = None, error: BackendError | None = None) -> None:
        self.done, self._value, self.error = True, value or {}, error


class BackendClient:
    """A backend process and the calls under way to it."""

    def __init__(self, python: str, environment: dict[str, str], client_version: str) -> None:
        """Start `python -m diffposetalk serve` and send the handshake.

        Returns at once; `greeting` is the handshake's call.

        Raises:
            BackendError: of kind `start`.
        """
        self.python = python
        self._calls: dict[int, Call] = {}
        self._next_id = 1
        self._end: BackendError | None = None
        self._polled = time.monotonic()
        self._version = client_version
        self.loaded: tuple[object, dict[str, Any]] | None = None  # model and device, and what was said of it
        self.process = MessageProcess([python, "-m", "diffposetalk", "serve"], environment)
        self.greeting = self.call(
            "initialize",
            {"protocol": PROTOCOL_VERSION, "client": "blender_addon", "version": client_version},
            timeout=HANDSHAKE_SECONDS,
        )

    @property
    def alive(self) -> bool:
        return self._end is None and self.process.alive

    @property
    def log(self) -> list[str]:
        return list(self.process.log)

    def call(
        self,
        method: str,
        params: dict[str, Any],
        timeout: float | None = None,
        on_notice: Notified | None = None,
    ) -> Call:
        """Send a request.

        Args:
            timeout: seconds of silence after which the backend counts as hung and is killed; whatever it says about
                this or another call counts as a sign of life. None waits for ever.
            on_notice: called by `poll` with the method and parameters of each notification about this call.
        """
        call = Call(self, self._next_id, method, timeout, on_notice)
        self._next_id += 1
        if self._end is not None:
            call._finish(error=self._end)
            return call
        self._calls[call.id] = call
        self.process.send({"jsonrpc": "2.0", "id": call.id, "method": method, "params": _absolute(params)})
        return call

    def poll(self) -> None:
        """Take in what the backend has said, for `POLL_LIMIT_SECONDS` at most; never blocks."""
        now = time.monotonic()
        gap, self._polled = min(now - self._polled, POLL_GAP_SECONDS), now
        for call in self._calls.values():
            call.silence += gap
        while self._end is None and not self.process.events.empty():
            if time.monotonic() - now > POLL_LIMIT_SECONDS:
                break
            kind, value = self.process.events.get()
            for call in self._calls.values():
                call.silence = 0.0
            if kind == "message":
                self._receive(value)
            elif kind == "garbage":
                self._close(
                    f"The backend's Python “{self.python}” answered something that is not the backend's protocol: "
                    f"“{value}”. Set Backend Python in the add-on's preferences to the interpreter that has the "
                    "backend installed.",
                    "protocol",
                )
            else:
                self._close(*self._explain_death())
        for call in list(self._calls.values()):
            if call.timeout is not None and call.silence > call.timeout:
                self._close(
                    f"The backend did not answer “{call.method}” in time and was stopped. Try again; if it happens "
                    "again, check the backend in the add-on's preferences.",
                    "timeout",
                )

    def stop(self) -> None:
        """End the process: politely, then not."""
        if self._end is None:
            self.process.send({"jsonrpc": "2.0", "id": 0, "method": "shutdown", "params": {}})
            self.process.close_input()
            self.process.wait(LEAVE_SECONDS)
            self._close("The backend was stopped.", "died")
        self.process.kill()

    def kill(self) -> None:
        """End the process at once; calls under way fail."""
        self._close("The backend was stopped.", "died")

    def _receive(self, message: dict[str, Any]) -> None:
        if "method" in message:
            params = message.get("params", {})
            call_id = params.get("id")
            call = self._calls.get(call_id) if isinstance(call_id, int) else None
            if call is not None and call.on_notice is not None:
                call.on_notice(message["method"], params)
            return
        call = self._calls.pop(message["id"], None) if message.get("id") is not None else None
        if call is None:
            return
        error = message.get("error")
        if error is None:
            call._finish(value=message["result"])
            if call is self.greeting and call.result.get("version") != self._version:
                self._refuse(call)
        else:
            data = error.get("data")
            kind = str(data.get("kind", "internal")) if isinstance(data, dict) else "internal"
            if error.get("code") == CANCELLED_CODE:
                kind = "cancelled"
            call._finish(error=BackendError(str(error.get("message", "The backend failed.")), kind))

    def _refuse(self, greeting: Call) -> None:
        """End a backend of another version than the add-on's."""
        other = greeting.result.get("version")
        self._close(
            f"The backend is version {other}, the add-on {self._version}. Press Upgrade Backend in the add-on's "
            "preferences; or, where Backend Python is set there, install the backend of this version into it.",
            "version",
        )
        greeting._finish(error=self._end)

    def _close(self, message: str, kind: str) -> None:
        if self._end is None:
            self._end = BackendError(message, kind)
        self.process.kill()
        for call in self._calls.values():
            call._finish(error=self._end)
        self._calls.clear()

    def _explain_death(self) -> tuple[str, str]:
        """Why a backend that closed its output is gone: (message, kind)."""
        code = self.process.wait(LEAVE_SECONDS)
        log = "\n".join(self.process.log)
        if "No module named" in log and not self.greeting.done:
            missing = log.rsplit("No module named", 1)[1].strip().splitlines()[0].strip(" '\"")
            return (
                f"The backend's Python “{self.python}” lacks the package “{missing}”. Press Set Up Backend in the "
                "add-on's preferences, or set Backend Python to the interpreter that has the backend installed.",
                "not_installed",
            )
        if code is not None and code < 0:
            known = {member.value: member.name for member in signal.Signals}
            name = known.get(-code, f"signal {-code}")
            # Libraries that get no memory abort or crash, and the system ends what takes too much.
            short = name in ("SIGKILL", "SIGABRT", "SIGSEGV", "SIGBUS")
            hint = " The machine may have run out of memory." if short else ""
            text = f"The backend was ended from outside ({name}).{hint} Nothing was changed; try again."
            return text, "died"
        last = next((line for line in reversed(self.process.log) if line.strip()), "it said nothing")
        advice = "Check Backend Python in the add-on's preferences."
        if self.greeting.done:
            advice = "Nothing was changed; try again."
        return f"The backend ended with exit code {code}: {last}. {advice}", "died"


def _absolute(value: Any, name: str = "") -> Any:
    """Parameters with their paths made absolute: the backend works in a folder of its own."""
    if isinstance(value, dict):
        return {key: item if key in DESCRIPTIONS else _absolute(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    if name in PATHS and isinstance(value, str) and value:
        return str(Path(value).absolute())
    return value


def backend_environment(bundled_backend: Path | None) -> dict[str, str]:
    """The environment to start the backend in.

    Blender's own settings of Python do not fit another interpreter and are left out. Neither it nor any Python that is
    started with this environment imports what lies in the current folder; folders that variables name are absolute.

    Args:
        bundled_backend: folder whose package `diffposetalk` is to be used, so that add-on and backend are of
            one version; None to use the one installed in the interpreter.
    """
    astray = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")
    environment = {key: value for key, value in os.environ.items() if key not in astray}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling torch anew takes 10 s at every start
    environment.update(PYTHONUTF8="1", PYTHONNOUSERSITE="1")
    environment["PYTHONSAFEPATH"] = "1"  # since Python 3.11: nothing is imported from the current folder
    for key in environment.keys() & FOLDERS:
        environment[key] = str(Path(environment[key]).absolute())
    if bundled_backend is not None:
        environment["PYTHONPATH"] = str(bundled_backend)
    return environment
