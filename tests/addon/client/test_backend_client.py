# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's process and calls to it, without Blender: the real backend, and ones that misbehave."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.paths import ROOT
from support.waiting import PATIENCE

sys.path.insert(0, str(ROOT / "blender_addon"))

from client import BackendClient, BackendError, backend_environment
from client import client as client_module

BACKEND = ROOT / "backend"
GREETING = '{"jsonrpc": "2.0", "id": 1, "result": {"protocol": 1, "version": "0.1.0"}}'


@pytest.fixture
def start():
    """Function that starts a client and stops it after the test."""
    clients = []

    def start(python, environment=None):
        clients.append(BackendClient(str(python), environment or backend_environment(BACKEND), "0.1.0"))
        return clients[-1]

    yield start
    for client in clients:
        client.stop()
        assert not client.process.alive


@pytest.fixture
def misbehaving(tmp_path):
    """Function that makes a program to start instead of the backend's Python, running `code`."""

    def make(code):
        path = tmp_path / "python"
        path.write_text(f"#!{sys.executable}\nimport sys, time\n{code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def error_of(call):
    with pytest.raises(BackendError) as caught:
        call.wait()
    return caught.value


def test_handshake_and_calls(start, backend_python, recordings):
    client = start(backend_python)
    told = client.greeting.wait()
    assert told["protocol"] == 1 and told["devices"][-1] == "cpu"
    first = client.call("probe_audio", {"path": str(recordings / "speech.wav")})
    second = client.call("probe_audio", {"path": str(recordings / "notes.wav")})
    assert error_of(second).kind.startswith("audio_")
    assert abs(first.wait()["seconds"] - 2.0) < 0.01
    assert error_of(client.call("no_such_method", {})).message
    assert client.alive


def test_what_lies_in_the_current_folder_is_not_run(start, backend_python, recordings, tmp_path, monkeypatch):
    """A module of a downloaded project's folder; that folder is still where relative paths begin."""
    for name in ("soundfile", "json", "torch", "sitecustomize", "diffposetalk"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')")
    (tmp_path / "speech.wav").write_bytes((recordings / "speech.wav").read_bytes())
    monkeypatch.chdir(tmp_path)
    client = start(backend_python)
    assert client.call("probe_audio", {"path": "speech.wav"}).wait()["name"] == "speech.wav"
    folder = Path(client.process.folder)
    assert not list(folder.iterdir()) and stat.S_IMODE(folder.stat().st_mode) == 0o700
    told = error_of(client.call("load_model", {"model": "models/mine"}))
    assert str(tmp_path / "models" / "mine") in told.message
    client.stop()
    assert not folder.exists() and not (tmp_path / "was run").exists()


def test_no_python_that_is_started_imports_from_the_current_folder(tmp_path):
    (tmp_path / "pip.py").write_text("print('run')")
    command = [sys.executable, "-m", "pip", "--version"]
    done = subprocess.run(
        command, cwd=tmp_path, env=backend_environment(None), capture_output=True, text=True
    )
    assert "run" not in done.stdout.split()


def test_the_working_folder_goes_with_a_backend_whose_blender_is_gone(start, backend_python):
    client = start(backend_python)
    client.greeting.wait()
    folder = Path(client.process.folder)
    client.process.close_input()
    client.process._process.wait(10.0)  # without the client's own tidying
    assert not folder.exists()


def test_paths_at_any_depth_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    style = {"mix": [{"motion": "a.npz"}, {"preset": "calm"}], "amounts": [0.5, 0.5]}
    params = {"audio": "b/../c.wav", "style": style, "source": {"file": "d.mp4"}, "seeds": [0], "shape": None}
    assert client_module._absolute(params) == {
        "audio": str(tmp_path / "b" / ".." / "c.wav"),
        "style": {"mix": [{"motion": str(tmp_path / "a.npz")}, {"preset": "calm"}], "amounts": [0.5, 0.5]},
        "source": {"file": "d.mp4"},
        "seeds": [0],
        "shape": None,
    }


def test_the_backend_ends_with_its_client(start, backend_python):
    client = start(backend_python)
    client.greeting.wait()
    client.process.close_input()
    assert client.process.wait(PATIENCE) == 0


def test_no_such_program(start, tmp_path):
    with pytest.raises(BackendError, match="cannot be started: No such file") as caught:
        start(tmp_path / "nothing" / "python")
    assert caught.value.kind == "start" and "preferences" in caught.value.message


def test_a_file_that_is_no_program(start, tmp_path):
    (tmp_path / "python").write_text("hello")
    with pytest.raises(BackendError, match="Permission denied"):
        start(tmp_path / "python")


def test_a_python_without_the_backend(start):
    error = error_of(start(sys.executable, backend_environment(None)).greeting)
    assert error.kind == "not_installed" and "“diffposetalk”" in error.message and "Set Up" in error.message


def test_a_program_that_says_something_else(start, misbehaving):
    error = error_of(start(misbehaving("print('Welcome to Python!', flush=True); time.sleep(600)")).greeting)
    assert error.kind == "protocol" and "Welcome to Python!" in error.message


@pytest.mark.parametrize(
    "line",
    [
        *("[]", "17", '{"id": 1}', "\\xff\\xfe", "[" * 100_000),
        '{"jsonrpc": "2.0", "id": {"a": []}, "result": {}}',
        '{"jsonrpc": "2.0", "id": 1, "result": 7}',
        '{"jsonrpc": "2.0", "id": 1, "error": "no"}',
        '{"jsonrpc": "2.0", "method": "progress", "params": [1]}',
    ],
    ids=lambda line: line[:60],
)
def test_json_that_is_not_the_protocol(start, misbehaving, line):
    error = error_of(start(misbehaving(f"print({line!r}, flush=True); time.sleep(600)")).greeting)
    assert error.kind == "protocol"


def test_a_program_that_ends_at_once(start, misbehaving):
    error = error_of(start(misbehaving("print('no libc', file=sys.stderr); sys.exit(3)")).greeting)
    assert error.kind == "died" and "exit code 3" in error.message and "no libc" in error.message


def test_a_backend_that_hangs(start, misbehaving):
    client = start(misbehaving(f"sys.stdin.readline(); print({GREETING!r}, flush=True); time.sleep(600)"))
    client.greeting.wait()
    call = client.call("load_model", {}, timeout=0.3)
    waiting = client.call("generate", {})
    assert error_of(call).kind == "timeout" and "load_model" in call.error.message
    assert error_of(waiting).kind == "timeout"
    assert not client.alive
    assert error_of(client.call("probe_audio", {})).kind == "timeout"


def test_a_backend_that_dies_in_a_call(start, backend_python):
    client = start(backend_python)
    client.greeting.wait()
    call = client.call("load_model", {"model": "/nowhere"})
    os.kill(client.process.pid, signal.SIGKILL)
    assert error_of(call).kind in ("died", "model_missing", "model_invalid")
    client.process.wait(PATIENCE)
    after = error_of(client.call("probe_audio", {"path": "x"}))
    assert after.kind == "died" and "SIGKILL" in after.message and "memory" in after.message


def test_another_protocol_version(start, backend_python):
    client = start(backend_python)
    error = error_of(client.call("initialize", {"protocol": 99}))
    assert error.kind == "protocol_mismatch" and "99" in error.message


def test_environment_does_not_leak_blenders_python(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/blender/python")
    monkeypatch.setenv("PYTHONPATH", "/blender/scripts")
    environment = backend_environment(Path("/package/backend"))
    assert "PYTHONHOME" not in environment and environment["PYTHONPATH"] == str(Path("/package/backend"))
    assert "PYTHONPATH" not in backend_environment(None)


def test_a_backend_of_another_version_is_refused_with_what_to_do(start, misbehaving):
    other = GREETING.replace("0.1.0", "0.0.9")
    client = start(misbehaving(f"print({other!r}, flush=True); sys.stdin.read()"))
    error = error_of(client.greeting)
    assert error.kind == "version" and "0.0.9" in error.message and "Upgrade Backend" in error.message
    assert not client.alive and error_of(client.call("probe_audio", {"path": ""})).kind == "version"


def test_a_poll_returns_however_much_was_said(start, misbehaving):
    """What takes long to take in is taken in over several polls, in order."""
    notices = 'print(\'{"jsonrpc": "2.0", "method": "progress", "params": {"id": 2, "done": %d}}\' % i)'
    code = f"print('{GREETING}')\nfor i in range(40): {notices}\nsys.stdout.flush(); time.sleep(60)"
    client = start(misbehaving(code))
    seen, in_one_poll = [], []

    def slow(method, params):
        time.sleep(2 * client_module.POLL_LIMIT_SECONDS)
        seen.append(params["done"])

    client.call("generate", {}, on_notice=slow)
    deadline = time.monotonic() + PATIENCE
    while len(seen) < 40 and time.monotonic() < deadline:
        before = len(seen)
        client.poll()
        in_one_poll.append(len(seen) - before)
    assert seen == list(range(40)) and max(in_one_poll) == 1
