# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged messages to the backend, and damaged answers to the add-on."""

from __future__ import annotations

import json
import queue
import random
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import ROOT
from support.tiny_model import save_tiny_model
from support.waiting import PATIENCE

from diffposetalk.errors import DiffPoseTalkError
from diffposetalk.server import jsonrpc
from diffposetalk.server.failures import explain
from diffposetalk.server.methods import Backend

from .mutation import changed_json, damage
from .targets import what_is_wrong_with
from .watch import watched

sys.path.insert(0, str(ROOT / "blender_addon"))

from client import BackendClient
from client import client as client_module
from client import process as process_module

MESSAGES = 500
QUICK = settings(max_examples=200, deadline=None, derandomize=True, database=None)


class OneByOne:
    """Both ends of a connection: a line goes in only when the one before has been answered."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        self.asked = 0
        self.replies: queue.Queue[dict[str, Any]] = queue.Queue()
        self.said: list[dict[str, Any]] = []
        self.rest = b""

    def readline(self, limit: int) -> bytes:
        """A damaged message, then one that must be answered in any case."""
        if not self.rest:
            if self.asked:
                self.wait()
            if not self.lines:
                return b""
            self.asked += 1
            sentinel = {
                "jsonrpc": "2.0",
                "id": f"sentinel {self.asked}",
                "method": "cancel",
                "params": {"id": "-"},
            }
            self.rest = self.lines.pop(0) + b"\n" + json.dumps(sentinel).encode() + b"\n"
        end = self.rest.find(b"\n") + 1
        line, self.rest = self.rest[: min(end, limit)], self.rest[min(end, limit) :]
        return line

    def wait(self) -> None:
        """Until the last sentinel has been answered."""
        while True:
            reply = self.replies.get(timeout=PATIENCE)
            self.said.append(reply)
            if reply.get("id") == f"sentinel {self.asked}":
                return

    def write(self, data: bytes) -> None:
        """Each write is one message on one line."""
        assert data.endswith(b"\n") and data.count(b"\n") == 1
        message = json.loads(data)
        assert message["jsonrpc"] == "2.0" and (
            ("result" in message) != ("error" in message) or "method" in message
        )
        self.replies.put(message)

    def flush(self) -> None:
        """Nothing is kept back."""


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A folder and good calls of every method in it."""
    folder = tmp_path_factory.mktemp("protocol")
    model = save_tiny_model(folder / "model")
    noise = 0.2 * np.random.default_rng(0).standard_normal(16_000)
    soundfile.write(folder / "a line.wav", noise, 16_000)
    audio, out = str(folder / "a line.wav"), str(folder / "out")
    backend = Backend()
    lines = [
        _call("initialize", protocol=1, client="test", version="1"),
        _call("load_model", model=str(model), device="cpu"),
        _call("generate", audio=audio, output_dir=out, seeds=[0]),
    ]
    ends = OneByOne([json.dumps(line).encode() for line in lines])
    _serve(backend, ends)
    [take] = next(m["result"]["takes"] for m in ends.said if "takes" in m.get("result", {}))
    motion = take["path"]
    good = [
        *lines,
        _call("probe_audio", path=audio),
        _call("generate", audio=audio, output_dir=out, seeds=[1], style={"preset": "calm"}, steps=2, sampler="ddim"),
        _call("generate", audio=audio, output_dir=out, seeds=[1], audio_start=0.2, audio_seconds=0.5, head_pose=False),
        _call("regenerate", audio=audio, motion=motion, output_dir=out, start=2, stop=20, seeds=[1]),
        _call("regenerate", audio=audio, motion=motion, output_dir=out, start=2, stop=20, seeds=[1],
              hold=[{"groups": ["lips"], "start": 3, "stop": 5}]),
        _call("extract_style", motion=motion, output=f"{out}/a.dptstyle", source={"kind": "motion"}, notes=["b"]),
        _call("preview_reference", motion=motion, output=f"{out}/plot.png", start_frame=0),
        _call("mix_styles", styles=[{"preset": "calm"}, {"motion": motion}], amounts=[0.5, 0.5], output=f"{out}/m.npy"),
        _call("tracking_status", tracker=audio),
        _call("find_faces", video=audio, output_dir=out),
        _call("track_video", video=audio, output_dir=out, face=[0.5, 0.5], neutral=audio),
        _call("check_lip_sync", audio=audio, motion=motion, phones=[["M", 0.1, 0.2], ["AA", 0.2, 0.4]]),
        _call("align_transcript", audio=audio, transcript="hello"),
        _call("export_motion", motion=motion, output=f"{out}/a.csv", fps=25.0),
        _call("import_motion", path=motion, output=f"{out}/b.npz", calibrate=True),
        _call("convert_flame", path=audio, output=f"{out}/head.npz"),
        _call("convert_checkpoint", denoiser=audio, style_encoder=audio, statistics=audio, output=f"{out}/paper"),
        _call("fetch_tracker", allow_online=False),
        _call("cancel", id=3),
        _call("shutdown"),
    ]  # fmt: skip
    assert {call["method"] for call in good} == set(backend.methods())
    return folder, good


def _call(name: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": name, "method": name, "params": params}


def _serve(backend: Backend, ends: OneByOne) -> None:
    """Answer all lines, a new connection after each that was closed as asked for."""
    while ends.lines or ends.rest:
        connection = jsonrpc.Connection(ends, ends, backend.methods(), explain)  # type: ignore[arg-type]
        backend.connection = connection
        connection.serve()
        for waiting in connection._waiting.values():
            waiting.put(None)
        for worker in connection._workers:
            worker.join(PATIENCE)
            assert not worker.is_alive()
        if connection.closing:  # the sentinel after a “shutdown” is not read any more
            ends.rest, ends.asked = b"", 0
    while not ends.replies.empty():
        ends.said.append(ends.replies.get())


def damaged_messages(good: list[dict[str, Any]], count: int, seed: int) -> list[bytes]:
    """Good messages with other values and names, and some with other bytes."""
    lines = []
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        message = {**chance.choice(good), "id": number}
        if chance.random() < 0.3:
            lines.append(damage(json.dumps(message).encode(), chance))
            continue
        part = {**message, "params": changed_json(message["params"], chance)}
        whole = part if chance.random() < 0.8 else changed_json(message, chance)
        lines.append(json.dumps(whole).encode())
    return lines


def test_messages_to_the_backend(
    requests: tuple[Path, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, good = requests
    monkeypatch.setenv("DIFFPOSETALK_MODEL", str(folder / "model"))
    monkeypatch.chdir(folder)
    outside = set(tmp_path.parent.iterdir())
    backend = Backend()
    begin = [json.dumps(call).encode() for call in good[:2]]
    ends = OneByOne([*begin, *damaged_messages(good, MESSAGES, seed=3)])
    threads = threading.active_count()
    with watched(folder, prevent_only=True):
        _serve(backend, ends)
    answers = [message for message in ends.said if "method" not in message]
    faults = [m for m in answers if "error" in m and what_is_wrong_with(m["error"]["message"])]
    assert not faults, faults[:3]
    unforeseen = [m for m in answers if "error" in m and m["error"]["data"]["kind"] == "internal"]
    assert not unforeseen, unforeseen[:5]
    assert max(Counter(m["id"] for m in answers if isinstance(m["id"], int)).values()) <= 2
    assert sum("result" in m for m in answers) > 50  # some are as good as before
    assert threading.active_count() <= threads + 4
    assert set(tmp_path.parent.iterdir()) == outside


class StillProcess:
    """A process that says what the test puts into its queue."""

    def __init__(self, *_: Any) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.log: list[str] = []
        self.alive = True
        self.pid = 0

    def send(self, message: dict[str, Any]) -> bool:
        """Heard by nobody."""
        return True

    def kill(self) -> None:
        """Ends it."""
        self.alive = False

    def wait(self, seconds: float) -> int:
        """It has ended well."""
        return 0


ANSWERS = [
    {"jsonrpc": "2.0", "id": 1, "result": {"protocol": 1, "version": "0", "device": "cpu", "devices": ["cpu"]}},
    {"jsonrpc": "2.0", "id": 2, "result": {"takes": [{"seed": 1, "path": "/a", "frames": 3, "fps": 25.0}]}},
    {"jsonrpc": "2.0", "id": 2, "error": {"code": -32000, "message": "No.", "data": {"kind": "audio_missing"}}},
    {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "What?", "data": {"kind": "parse_error"}}},
    {"jsonrpc": "2.0", "method": "progress", "params": {"id": 2, "stage": "motion", "done": 1, "total": 4}},
    {"jsonrpc": "2.0", "method": "window", "params": {"id": 2, "take": 0, "start": 0, "frames": 9, "path": "/a"}},
]  # fmt: skip


def hear(text: str) -> BackendClient:
    """What becomes of a client that hears a line."""
    client = BackendClient("python", {}, "0")
    client.call("generate", {}, on_notice=lambda method, told: None)
    message = process_module._message(text)
    client.process.events.put(("garbage", text[:120]) if message is None else ("message", message))
    client.poll()
    client.poll()
    for call in [client.greeting]:
        if call.done and call.error is None:
            assert isinstance(call.result, dict)
        elif call.error is not None:
            assert "Traceback" not in call.error.message and isinstance(call.error.kind, str)
    return client


def test_answers_to_the_addon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MessageProcess", StillProcess)
    ended = 0
    for number in range(MESSAGES):
        chance = random.Random(f"answers {number}")
        answer = chance.choice(ANSWERS)
        if chance.random() < 0.3:
            text = damage(json.dumps(answer).encode(), chance).decode("utf-8", "replace")
        else:
            text = json.dumps(changed_json(answer, chance))
        ended += not hear(text).alive
    assert 50 < ended < MESSAGES  # nonsense ends it; what is merely strange does not


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@QUICK
@given(JSON)
def test_any_json_is_answered_in_words(value: Any) -> None:
    try:
        jsonrpc.parse_message(json.dumps(value).encode())
    except jsonrpc.RpcError as error:
        assert not what_is_wrong_with(error.message)


@QUICK
@given(st.sampled_from(sorted(Backend().methods())), JSON)
def test_any_params_are_checked(name: str, params: Any) -> None:
    try:
        jsonrpc.bind_params(Backend().methods()[name].function, params)
    except DiffPoseTalkError as error:
        assert not what_is_wrong_with(error.message)
    except jsonrpc.RpcError as error:
        assert error.code == jsonrpc.INVALID_PARAMS and not what_is_wrong_with(error.message)


@QUICK
@given(st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]), JSON))
def test_any_json_is_heard_by_the_addon(value: Any) -> None:
    text = json.dumps({"jsonrpc": "2.0", **value})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_module, "MessageProcess", StillProcess)
        hear(text)
