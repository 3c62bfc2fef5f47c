# SPDX-License-Identifier: GPL-3.0-or-later
"""A child process that reads and writes one JSON message a line; its standard error is a log.

Two daemon threads read its pipes into a queue and a short log. They touch nothing else, so that a single
thread (Blender's) sees every message when it asks for it.
"""

import collections
import contextlib
import json
import queue
import subprocess
import sys
import threading
from typing import Any

from .errors import BackendError

LOG_LINES = 200  # of the log's end that are kept to explain a death
MAX_GARBAGE = 120  # characters of a line that is not a message, quoted in the error

Event = tuple[str, Any]  # ("message", dict), ("garbage", text) or ("end", None)


class MessageProcess:
    """A running child process and what it has said so far."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        """Start `command` with exactly `environment`.

        Raises:
            BackendError: of kind `start`, when there is no such program or it may not be run.
        """
        self.command = command
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0) if sys.platform == "win32" else 0,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BackendError(
                f"The backend's Python “{command[0]}” cannot be started: {reason}. Set Backend Python in the "
                "add-on's preferences, or press Set Up Backend there.",
                "start",
            ) from error
        self.events: queue.Queue[Event] = queue.Queue()
        self.log: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self._log_reader = threading.Thread(target=self._read_log, name="diffposetalk-log", daemon=True)
        self._log_reader.start()
        threading.Thread(target=self._read_messages, name="diffposetalk-messages", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def send(self, message: dict[str, Any]) -> bool:
        """Write one message; False when nobody reads any more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")
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
        self._log_reader.join(1.0)
        return code

    def kill(self) -> None:
        """End the process at once."""
        if self.alive:
            self._process.kill()
        self.wait(5.0)

    def _read_messages(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode("utf-8", "replace").strip()
            if not text:
                continue
            try:
                message = json.loads(text)
            except ValueError:
                message = None
            if isinstance(message, dict) and message.get("jsonrpc") == "2.0":
                self.events.put(("message", message))
            else:
                self.events.put(("garbage", text[:MAX_GARBAGE]))
        self.events.put(("end", None))

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line.decode("utf-8", "replace").rstrip())
