# SPDX-License-Identifier: GPL-3.0-or-later
"""A real backend process, and a client that waits for each reply."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from typing import Any

from support.waiting import PATIENCE


class Client:
    """One backend process; messages that are not the awaited reply are kept in `notifications`."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            command or (sys.executable, "-m", "diffposetalk", "serve"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self.notifications: list[dict[str, Any]] = []
        self.log: list[bytes] = []
        self.last_id = 0
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_log, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.messages.put(json.loads(line))

    def _read_log(self) -> None:
        assert self.process.stderr
        self.log.extend(self.process.stderr)

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, method: str, **params: Any) -> int:
        self.last_id += 1
        message = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        self.write(json.dumps(message).encode() + b"\n")
        return self.last_id

    def reply(self, request: int | str | None) -> dict[str, Any]:
        while True:
            message = self.messages.get(timeout=PATIENCE)
            assert message["jsonrpc"] == "2.0"
            if "method" in message:
                self.notifications.append(message)
            else:
                assert message["id"] == request, message
                return message

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.reply(self.send(method, **params))

    def result(self, method: str, **params: Any) -> dict[str, Any]:
        reply = self.call(method, **params)
        assert "error" not in reply, reply
        return reply["result"]

    def error(self, method: str, **params: Any) -> dict[str, Any]:
        reply = self.call(method, **params)
        assert "result" not in reply, reply
        assert reply["error"]["message"] and "\n" not in reply["error"]["message"]
        return reply["error"]

    def kind(self, method: str, **params: Any) -> str:
        return self.error(method, **params)["data"]["kind"]

    def wait_for(self, method: str) -> dict[str, Any]:
        """The next notification of this name."""
        while True:
            message = self.messages.get(timeout=PATIENCE)
            assert "method" in message, message
            self.notifications.append(message)
            if message["method"] == method:
                return message["params"]

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(PATIENCE)


def greet(client: Client) -> dict[str, Any]:
    return client.result("initialize", protocol=1, client="test", version="0.1.0")
