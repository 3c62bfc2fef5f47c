# SPDX-License-Identifier: GPL-3.0-or-later
"""A child process that reads and writes one JSON message a line; its standard error is a log.

It works in an empty folder of its own: where Blender was started, a stranger's `soundfile.py` may lie.
Two daemon threads read its pipes into a queue and a short log. They touch nothing else, so that a single
thread (Blender's) sees every message when it asks for it.
"""

import collections
import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import Any

from .errors import BackendError

LOG_LINES = 200  # of the log's end that are kept to explain a death
MAX_GARBAGE = 120  # characters of a line that is not a message, quoted in the error
MAX_LINE = 1 << 24  # bytes of a message; paths, names and figures travel here, arrays do not
WORKING_FOLDER = "diffposetalk-run-"  # how its name begins; the backend removes what Blender no longer can
MAX_LOG_LINE = 1 << 14  # bytes; what a library says without an end is cut into lines of this length

Event = tuple[str, Any]  # ("message", dict), ("garbage", text) or ("end", None)


class MessageProcess:
    """A running child process and what it has said so far."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        """Start `command` with exactly `environment`.

        Raises:
            BackendError: of kind `start`, when there is no such program or it may not be run, or no folder can be made
                for it to work in.
        """
        if os.path.dirname(command[0]):  # not one that is looked for on the path
            command = [os.path.abspath(command[0]), *command[1:]]
        try:
            self.folder = tempfile.mkdtemp(prefix=WORKING_FOLDER)
        except OSError as error:
            raise BackendError(
                f"No temporary folder can be made for the backend to work in: {error.strerror or error}. "
                "Free some space and try again.",
                "start",
            ) from error
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=self.folder,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0) if sys.platform == "win32" else 0,
            )
        except (OSError, ValueError) as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            reason = getattr(error, "strerror", None) or str(error)
            raise BackendError(
                f"The backend's Python “{command[0]}” cannot be started: {reason}. Set Backend Python in the "
                "add-on's preferences, or press Set Up Backend there.",
                "start",
            ) from error
        self.events: queue.Queue[Event] = queue.Queue()
        self.log: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self._readers = [
            threading.Thread(target=self._read_log, name="diffposetalk-log", daemon=True),
            threading.Thread(target=self._read_messages, name="diffposetalk-messages", daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, message: dict[str, Any]) -> bool:
        """Write one message; False when nobody reads any more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def close_input(self) -> None:
        """Say that no message will follow; the backend then ends."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it may have gone already
            self._process.stdin.close()

    def wait(self, seconds: float) -> int | None:
        """Exit code, or None when the process still runs after `seconds`."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        shutil.rmtree(self.folder, ignore_errors=True)
        for reader in self._readers:  # they end with its output, unless a child of it holds that open
            reader.join(1.0)
        return code

    def kill(self) -> None:
        """End the process at once."""
        if self.alive:
            self._process.kill()
        self.close_input()
        self.wait(5.0)

    def _read_messages(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(MAX_LINE):
                text = line.decode("utf-8", "replace").strip()
                if not text:
                    continue
                message = _message(text)
                if message is None:  # nothing after it can be trusted
                    self.events.put(("garbage", text[:MAX_GARBAGE]))
                    return
                self.events.put(("message", message))
        self.events.put(("end", None))

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while line := stream.readline(MAX_LOG_LINE):
                self.log.append(line.decode("utf-8", "replace").rstrip())


def _message(text: str) -> dict[str, Any] | None:
    """A line as a reply or notification of JSON-RPC 2.0; None where it is neither."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return None
    if "method" in message:
        good = isinstance(message["method"], str) and isinstance(message.get("params", {}), dict)
        return message if good else None
    if not isinstance(message.get("id"), int | None):
        return None
    answer = message.get("error") if "error" in message else message.get("result")
    return message if isinstance(answer, dict) else None
