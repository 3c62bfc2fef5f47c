# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend process as Blender starts it, with the times of what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class BackendProcess:
    """`diffposetalk serve` over its pipes. `started`: `time.perf_counter()` when it was started."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "diffposetalk", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.calls = 0
        self.call("initialize", {"protocol": 1, "client": "benchmark", "version": "0"})

    def call(
        self, method: str, params: dict[str, Any], on_notification: Callable[[dict], None] | None = None
    ) -> dict[str, Any]:
        """Call and wait for the answer."""
        assert self.process.stdin and self.process.stdout
        self.calls += 1
        request = {"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("id") == self.calls and "method" not in message:
                if "error" in message:
                    raise RuntimeError(message["error"]["message"])
                return message["result"]
            if on_notification:
                on_notification(message)
        raise RuntimeError("the backend left")

    def peak_mib(self) -> float:
        """Most memory the process has held (MiB); NaN where the system does not tell."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return float("nan")
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024

    def close(self) -> None:
        """End the process."""
        self.call("shutdown", {})
        self.process.wait()

    def generate(self, audio: Path, folder: Path, seconds: float | None = None) -> tuple[float, float]:
        """Generate a take; (seconds to the first finished window, seconds in all)."""
        began = time.perf_counter()
        first: list[float] = []

        def heard(message: dict) -> None:
            if message.get("method") == "window" and not first:
                first.append(time.perf_counter() - began)

        params = {"audio": os.fspath(audio), "output_dir": os.fspath(folder), "seeds": [0]}
        self.call("generate", params | ({"audio_seconds": seconds} if seconds else {}), heard)
        return first[0], time.perf_counter() - began
