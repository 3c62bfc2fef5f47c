# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend process over its pipes, as Blender talks to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.backend_process import Client, greet
from support.flame_files import write_npz, write_pickle
from support.gate import Gate
from support.made_recordings import bad_recordings
from support.paths import BUNDLED_HEAD, BUNDLED_MODEL
from support.survivors import runs
from support.waiting import PATIENCE, wait_until

from diffposetalk.head.head_model import load_head
from diffposetalk.motion.clip import load_motion
from diffposetalk.server.jsonrpc import MAX_LINE_BYTES


@pytest.fixture
def client() -> Iterator[Client]:
    """A backend before its handshake."""
    client = Client()
    yield client
    client.end()


@pytest.fixture(scope="module")
def shared_backend(tiny_model: Path) -> Iterator[Client]:
    client = Client()
    greet(client)
    client.result("load_model", model=str(tiny_model), device="cpu")
    yield client
    client.end()
    assert client.process.returncode == 0


@pytest.fixture
def held(tiny_model: Path, tmp_path: Path) -> Iterator[tuple[Client, Gate]]:
    """A backend of its own whose generations stand still before their end, and what lets them go on."""
    gate = Gate(sys.executable, tmp_path / "gate")
    client = Client(*gate.command)
    greet(client)
    client.result("load_model", model=str(tiny_model), device="cpu")
    gate.close()
    yield client, gate
    client.end()


@pytest.fixture
def backend(shared_backend: Client) -> Client:
    """A backend with the tiny model loaded."""
    shared_backend.notifications.clear()
    return shared_backend


def test_handshake(client: Client) -> None:
    answer = greet(client)
    assert answer["protocol"] == 1 and answer["version"] == "0.1.0"
    assert answer["python"] == sys.version.split()[0]
    assert answer["device"] == answer["devices"][0] and "cpu" in answer["devices"]


def test_calls_before_their_time(client: Client, recording: Path, tmp_path: Path) -> None:
    assert client.kind("probe_audio", path=str(recording)) == "not_initialized"
    assert client.kind("load_model") == "not_initialized"
    assert client.kind("initialize", protocol=99, client="test") == "protocol_mismatch"
    assert client.kind("load_model") == "not_initialized"
    greet(client)
    request = {"audio": str(recording), "output_dir": str(tmp_path), "seeds": [0]}
    assert client.kind("generate", **request) == "model_not_loaded"
    assert not list(tmp_path.iterdir())


def test_load_model(backend: Client, tiny_model: Path, tmp_path: Path) -> None:
    answer = backend.result("load_model", model=str(tiny_model))
    assert answer["name"] == "tiny" and answer["basis"] == "arkit" and answer["fps"] == 25
    assert answer["head_pose"] is True and len(answer["expression_names"]) == 50
    assert answer["styles"] == [
        {"id": "calm", "name": "Calm", "description": "Hardly moves", "measures": None}
    ]
    assert {"speech_guidance", "style_guidance", "sampler", "steps"} <= set(answer["defaults"])
    assert len(answer["sha256"]) == 64
    assert backend.kind("load_model", model=str(tmp_path)) == "model_missing"
    # A model that cannot be loaded leaves the present one in place.
    assert backend.result("load_model", model=str(tiny_model))["name"] == "tiny"


def test_probe(backend: Client, recording: Path) -> None:
    answer = backend.result("probe_audio", path=str(recording))
    assert answer["seconds"] == 6 and answer["sample_rate"] == 16_000 and answer["channels"] == 1
    assert answer["frames"] == 150 and len(answer["sha256"]) == 64


def test_motion_goes_out_and_comes_in(backend: Client, recording: Path, tmp_path: Path) -> None:
    made = backend.result("generate", audio=str(recording), output_dir=str(tmp_path), seeds=[3])
    take = load_motion(made["takes"][0]["path"])
    for suffix, kind in ((".csv", "live_link"), (".json", "arkit_curves"), (".npz", "clip")):
        out = tmp_path / f"out{suffix}"
        assert backend.result("export_motion", motion=made["takes"][0]["path"], output=str(out), fps=25.0)
        answer = backend.result("import_motion", path=str(out), output=str(tmp_path / "in.npz"))
        assert (answer["frames"], answer["fps"], answer["kind"]) == (150, 25.0, kind)
        assert np.abs(load_motion(answer["path"]).exp - take.exp).max() < 1e-5
    assert backend.kind("export_motion", motion=str(out), output=str(tmp_path / "a.fbx")) == "output_format"
    assert (
        backend.kind("import_motion", path=str(recording), output=str(tmp_path / "b.npz")) == "motion_format"
    )


def test_lip_sync_is_checked(backend: Client, recording: Path, tmp_path: Path) -> None:
    made = backend.result("generate", audio=str(recording), output_dir=str(tmp_path), seeds=[3])
    request = {"audio": str(recording), "motion": made["takes"][0]["path"], "head": str(BUNDLED_HEAD)}
    answer = backend.result("check_lip_sync", phones=[["M", 1.0, 1.1], ["AA", 1.1, 1.4]], **request)
    assert answer["source"] == "phones" and answer["words"] == []
    assert all({"frame", "start", "stop", "reason", "gap_mm"} <= mark.keys() for mark in answer["marks"])
    assert backend.result("check_lip_sync", samples=2, **request)["source"] == "model"
    assert backend.kind("check_lip_sync", phones=[["M"]], **request) == "data_phones"
    missing = request | {"motion": str(tmp_path / "none.npz")}
    assert backend.kind("check_lip_sync", phones=[], **missing) == "motion_missing"
    spoken = {"audio": str(recording), "transcript": "xyzzyx"}
    assert backend.kind("align_transcript", **spoken) in ("data_transcript", "extra_missing")


def test_a_range_is_generated_again(backend: Client, recording: Path, tmp_path: Path) -> None:
    first = backend.result("generate", audio=str(recording), output_dir=str(tmp_path), seeds=[3])
    request = {
        "audio": str(recording),
        "motion": first["takes"][0]["path"],
        "output_dir": str(tmp_path),
        "seeds": [5, 6],
        "start": 40,
        "stop": 90,
    }
    backend.notifications.clear()
    answer = backend.result(
        "regenerate", hold=[{"groups": ["lips"]}, {"groups": ["head"], "start": 60}], **request
    )
    assert (answer["start"], answer["stop"]) == (40, 90)
    assert {note["method"] for note in backend.notifications} == {"progress"}
    assert {"motion", "write"} <= {note["params"]["stage"] for note in backend.notifications}
    before = load_motion(request["motion"])
    for take, seed in zip(answer["takes"], [5, 6], strict=True):
        after = load_motion(take["path"])
        assert take["seed"] == seed and take["frames"] == len(after) == len(before)
        outside = [*range(40), *range(90, len(before))]
        assert np.array_equal(after.exp[outside], before.exp[outside])
        assert np.array_equal(after.pose[outside], before.pose[outside])
        assert np.array_equal(after.pose[:, 3], before.pose[:, 3])  # the jaw goes with the lips
        assert np.array_equal(after.pose[60:, :3], before.pose[60:, :3])
        assert not np.array_equal(after.pose[40:60, :3], before.pose[40:60, :3])

    still = backend.result("regenerate", head_pose=False, **request | {"seeds": [5]})
    assert not load_motion(still["takes"][0]["path"]).pose[40:90, :3].any()

    files = sorted(tmp_path.iterdir())
    assert backend.kind("regenerate", **request, quality="draft") == "draft_missing"
    assert backend.kind("regenerate", **request | {"stop": 4000}) == "regenerate_range"
    assert backend.kind("regenerate", **request, hold=[{"groups": ["nose"]}]) == "regenerate_hold"
    assert backend.kind("regenerate", **request | {"motion": str(tmp_path / "none.npz")}) == "motion_missing"
    pending = backend.send("regenerate", **request | {"seeds": list(range(60)), "start": 0, "stop": 150})
    backend.wait_for("progress")
    backend.result("cancel", id=pending)
    assert backend.reply(pending)["error"]["data"]["kind"] == "cancelled"
    assert sorted(tmp_path.iterdir()) == files


def test_generate_streams_progress_and_windows(backend: Client, recording: Path, tmp_path: Path) -> None:
    seeds = [3, 4]
    request = backend.send("generate", audio=str(recording), output_dir=str(tmp_path), seeds=seeds)
    answer = backend.reply(request)["result"]
    assert [take["seed"] for take in answer["takes"]] == seeds
    assert answer["audio"]["frames"] == 150 and answer["seconds"] > 0

    progress = [note["params"] for note in backend.notifications if note["method"] == "progress"]
    windows = [note["params"] for note in backend.notifications if note["method"] == "window"]
    assert all(note["params"]["id"] == request for note in backend.notifications)
    assert {"speech", "motion", "write"} == {note["stage"] for note in progress}
    assert all(0 <= note["done"] <= note["total"] for note in progress)
    assert progress[-1]["done"] == progress[-1]["total"]

    takes = [load_motion(take["path"]) for take in answer["takes"]]
    assert [len(take) for take in takes] == [150, 150]
    assert [(note["take"], note["start"], note["frames"]) for note in windows] == [
        (0, 0, 100),
        (1, 0, 100),
        (0, 100, 50),
        (1, 100, 50),
    ]
    for note in windows:
        part = load_motion(note["path"])
        whole = takes[note["take"]]
        np.testing.assert_array_equal(part.exp, whole.exp[note["start"] : note["start"] + note["frames"]])
    assert takes[0].provenance["seed"] == 3 and takes[0].provenance["audio_name"] == recording.name


def test_same_seed_same_motion(backend: Client, recording: Path, tmp_path: Path) -> None:
    clips = []
    for folder in ("a", "b"):
        request = {"audio": str(recording), "output_dir": str(tmp_path / folder), "seeds": [11]}
        answer = backend.result("generate", **request, style={"preset": "calm"}, steps=3)
        clips.append(load_motion(answer["takes"][0]["path"]))
    np.testing.assert_array_equal(clips[0].exp, clips[1].exp)


def test_part_of_the_recording(backend: Client, recording: Path, tmp_path: Path) -> None:
    request = {"audio": str(recording), "audio_start": 1, "audio_seconds": 2.0, "seeds": [0]}
    answer = backend.result("generate", **request, output_dir=str(tmp_path), head_pose=False)
    assert answer["takes"][0]["frames"] == 50 and answer["audio"]["seconds"] == 2
    assert not load_motion(answer["takes"][0]["path"]).pose[:, :3].any()


def test_ten_minutes(backend: Client, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    soundfile.write(tmp_path / "long.flac", 0.1 * rng.standard_normal(600 * 16_000), 16_000)
    request = {"audio": str(tmp_path / "long.flac"), "output_dir": str(tmp_path), "seeds": [0], "steps": 1}
    answer = backend.result("generate", **request)
    assert answer["takes"][0]["frames"] == answer["audio"]["frames"] == 15_000
    windows = [note["params"] for note in backend.notifications if note["method"] == "window"]
    assert [note["start"] for note in windows] == list(range(0, 15_000, 100))


def test_bundled_model(client: Client, tmp_path: Path) -> None:
    """What the add-on does on a fresh install: the bundled model on the bundled recording."""
    greet(client)
    model = client.result("load_model", model=str(BUNDLED_MODEL))
    assert model["basis"] == "arkit" and model["head_pose"] is True
    recording = BUNDLED_MODEL.parent / "clips" / "jfk.flac"
    answer = client.result("generate", audio=str(recording), output_dir=str(tmp_path), seeds=[0])
    clip = load_motion(answer["takes"][0]["path"])
    assert len(clip) == 275 and clip.basis == "arkit"
    assert clip.exp.min() >= 0 and clip.exp.max() <= 1
    assert clip.pose[:, 3].std() > 0 and np.abs(clip.pose[:, :3]).max() < 1


def test_extract_style(backend: Client, recording: Path, tmp_path: Path) -> None:
    request = {"audio": str(recording), "output_dir": str(tmp_path), "seeds": [0]}
    motion = backend.result("generate", **request)["takes"][0]["path"]
    style = backend.result("extract_style", motion=motion, output=str(tmp_path / "style.npy"))["path"]
    assert np.load(style).shape == (16,)
    backend.result("generate", **request, style={"vector": style})
    backend.result("generate", **request, style={"motion": motion, "start_frame": 10})
    assert backend.kind("extract_style", motion=str(recording), output=style).startswith("motion")


def test_convert_flame(client: Client, tmp_path: Path) -> None:
    write_pickle(tmp_path / "flame.pkl")
    paths = {"path": str(tmp_path / "flame.pkl"), "output": str(tmp_path / "head.npz")}
    assert client.kind("convert_flame", **paths) == "not_initialized"
    greet(client)
    told = client.result("convert_flame", **paths)
    assert told["path"] == paths["output"] and told["vertices"] == 5023 and "flame" in told["name"]
    assert load_head(tmp_path / "head.npz").basis == "flame"
    (tmp_path / "notes.pkl").write_bytes(b"no pickle")
    for name, kind in (
        ("nothing.pkl", "flame_missing"),
        ("notes.pkl", "pickle_damaged"),
        ("head.npz", "flame_format"),
    ):
        wrong = {"path": str(tmp_path / name), "output": str(tmp_path / "wrong.npz")}
        assert client.kind("convert_flame", **wrong) == kind
        assert not (tmp_path / "wrong.npz").exists()
    assert (
        client.kind("convert_flame", **(paths | {"output": str(tmp_path / "no" / "head.npz")}))
        == "output_unwritable"
    )


def test_generate_for_another_head(backend: Client, recording: Path, tmp_path: Path) -> None:
    write_npz(tmp_path / "flame.npz")
    head = backend.result(
        "convert_flame", path=str(tmp_path / "flame.npz"), output=str(tmp_path / "head.npz")
    )
    settings = {"audio": str(recording), "output_dir": str(tmp_path / "out"), "seeds": [1]}
    heads = {"model": str(BUNDLED_HEAD), "target": head["path"]}
    done = backend.result("generate", **settings, heads=heads)
    clip = load_motion(done["takes"][0]["path"])
    assert clip.basis == "flame" and clip.provenance["converted_from"] == "arkit"
    assert clip.provenance["conversion_residual_mm"]["mean"] > 0
    again = settings | {"motion": done["takes"][0]["path"], "start": 50, "stop": 90, "heads": heads}
    taken = backend.result("regenerate", **again, hold=[{"groups": ["head"]}])
    part = load_motion(taken["takes"][0]["path"])
    assert part.basis == "flame" and np.array_equal(part.exp[:50], clip.exp[:50])
    assert np.array_equal(part.exp[90:], clip.exp[90:]) and np.array_equal(part.pose[:, :3], clip.pose[:, :3])
    assert (np.abs(part.exp - clip.exp)[50:90].max(axis=1) > 0).all()
    assert backend.kind("regenerate", **again, hold=[{"groups": ["lips"]}]) == "regenerate_hold"
    assert backend.kind("regenerate", **again | {"heads": None}) == "motion_basis"
    assert backend.kind("generate", **settings, heads={"model": str(BUNDLED_HEAD)}) == "settings_heads"
    heads["target"] = str(tmp_path / "none.npz")
    assert backend.kind("generate", **settings, heads=heads) == "head_missing"


def test_cancel(held: tuple[Client, Gate], recording: Path, tmp_path: Path) -> None:
    backend, gate = held
    out = tmp_path / "out"
    long = {"audio": str(recording), "output_dir": str(out), "seeds": [0, 1]}
    running = backend.send("generate", **long)
    waiting = backend.send("generate", **long)
    assert backend.wait_for("progress")["id"] == running
    # While one call runs, others are answered, a waiting one is cancelled at once, the running one soon.
    assert backend.result("probe_audio", path=str(recording))["frames"] == 150
    cancel_waiting = backend.send("cancel", id=waiting)
    assert backend.reply(waiting)["error"]["code"] == -32800
    assert backend.reply(cancel_waiting)["result"] == {"cancelled": True}
    cancel_running = backend.send("cancel", id=running)
    replies = {}
    while len(replies) < 2:
        message = backend.messages.get(timeout=PATIENCE)
        if "method" not in message:
            replies[message["id"]] = message
    assert replies[cancel_running]["result"] == {"cancelled": True}
    assert replies[running]["error"]["code"] == -32800
    assert replies[running]["error"]["data"]["kind"] == "cancelled"
    assert not list(out.iterdir())
    assert backend.result("cancel", id=running) == {"cancelled": False}
    gate.open()
    backend.result("generate", audio=str(recording), output_dir=str(out), seeds=[0])


def test_bad_recordings(backend: Client, tmp_path: Path) -> None:
    bad_recordings(tmp_path)
    kinds = {
        "empty.wav": "audio_empty",
        "text.wav": "audio_unreadable",
        "silent.wav": "audio_silent",
        "one.wav": "audio_too_short",
        "cut.wav": "audio_truncated",
        "gone.wav": "audio_missing",
        "": "audio_not_a_file",
        "nul\0.wav": "audio_missing",
    }
    output = tmp_path / "out"
    messages = set()
    for name, kind in kinds.items():
        audio = str(tmp_path) + "/" + name
        error = backend.error("generate", audio=audio, output_dir=str(output), seeds=[0])
        assert error["code"] == -32000 and error["data"]["kind"] == kind
        messages.add(error["message"])
        if kind != "audio_silent":  # known by decoding only
            assert backend.kind("probe_audio", path=audio) == kind
    assert len(messages) == len(kinds)
    assert not list(output.iterdir())


def test_bad_settings(backend: Client, recording: Path, tmp_path: Path) -> None:
    request = {"audio": str(recording), "output_dir": str(tmp_path / "out"), "seeds": [0]}
    assert backend.kind("generate", **{**request, "seeds": []}) == "settings_seed"
    assert backend.kind("generate", **{**request, "seeds": [-1]}) == "settings_seed"
    assert backend.kind("generate", **{**request, "seeds": list(range(1_000))}) == "settings_seed"
    assert backend.kind("generate", **request, speech_guidance=-1) == "settings_guidance"
    assert backend.kind("generate", **request, sampler="magic") == "settings_sampler"
    assert backend.kind("generate", **request, steps=100_000) == "settings_steps"
    assert backend.kind("generate", **request, quality="best") == "settings_quality"
    assert backend.kind("generate", **request, threshold=[2.0, 1.0, 4.0]) == "settings_threshold"
    assert backend.kind("generate", **request, style={"preset": "angry"}) == "style_preset"
    assert backend.kind("generate", **request, style={}) == "style_format"
    assert backend.kind("generate", **request, shape=str(recording)) == "shape_invalid"
    assert backend.kind("generate", **request, audio_start=99) == "audio_range"
    (tmp_path / "file").write_text("in the way")
    request["output_dir"] = str(tmp_path / "file" / "out")
    assert backend.kind("generate", **request) == "output_unwritable"


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"path": 5}, "path"),
        ({"path": None}, "path"),
        ({}, "missing"),
        ({"path": "a", "colour": "red"}, "colour"),
    ],
)
def test_wrong_params(backend: Client, params: dict[str, Any], word: str) -> None:
    error = backend.error("probe_audio", **params)
    assert error["code"] == -32602 and word in error["message"]


@pytest.mark.parametrize("digits", [308, 309, 401])
def test_numbers_of_hundreds_of_digits(backend: Client, recording: Path, tmp_path: Path, digits: int) -> None:
    request = {"audio": str(recording), "output_dir": str(tmp_path), "seeds": [0]}
    for name in ("audio_start", "speech_guidance", "steps"):
        error = backend.error("generate", **request, **{name: int("9" * digits)})
        assert digits == 308 or (error["code"] == -32602 and name in error["message"])
    assert backend.error("generate", **{**request, "seeds": [int("9" * digits)]})["code"] == -32602


def test_a_large_recording_is_hashed_aside(backend: Client, recording: Path, tmp_path: Path) -> None:
    """Others are answered while it goes on, it tells that it does, and it can be cancelled."""
    large = tmp_path / "large.wav"
    shutil.copyfile(recording, large)
    os.truncate(large, 20 << 30)  # no more on the disk than before
    probing = backend.send("probe_audio", path=str(large))
    assert backend.wait_for("progress")["id"] == probing
    told = backend.send("tracking_status")
    assert "result" in backend.reply(told)
    cancelling = backend.send("cancel", id=probing)
    replies = {}
    while len(replies) < 2:
        message = backend.messages.get(timeout=PATIENCE)
        if "method" not in message:
            replies[message["id"]] = message
    assert replies[cancelling]["result"] == {"cancelled": True}
    assert replies[probing]["error"]["code"] == -32800


def test_wrong_param_types_of_generate(backend: Client, recording: Path, tmp_path: Path) -> None:
    request = {"audio": str(recording), "output_dir": str(tmp_path), "seeds": [0]}
    for wrong in (
        {"seeds": 0},
        {"seeds": [0.5]},
        {"seeds": [True]},
        {"head_pose": 1},
        {"threshold": [1.0, 2.0]},
        {"style": "calm"},
        {"steps": "ten"},
        {"speech_guidance": "strong"},
        {"audio_start": None},
    ):
        assert backend.error("generate", **{**request, **wrong})["code"] == -32602
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"this is not JSON", -32700),
        (b"\xff\xfe\x00", -32700),
        (b'{"jsonrpc": "2.0", "id": 1,', -32700),
        (b'{"jsonrpc": "2.0", "id": NaN, "method": "cancel"}', -32700),
        (b"[" * 100_000, -32700),
        (b"x" * (MAX_LINE_BYTES + 10), -32700),
        (b"x" * (3 * MAX_LINE_BYTES), -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "cancel"}]', -32600),
        (b"42", -32600),
        (b"null", -32600),
        (b'{"id": null, "method": "cancel"}', -32600),
        (b'{"jsonrpc": "2.0", "id": null}', -32600),
        (b'{"jsonrpc": "2.0", "id": {"a": 1}, "method": "cancel"}', -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "cancel"}', -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": 7}', -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "sing"}', -32601),
        (b'{"jsonrpc": "2.0", "id": null, "method": "__class__"}', -32601),
        (b'{"jsonrpc": "2.0", "id": null, "method": "probe_audio", "params": ["a"]}', -32602),
    ],
)
def test_bad_requests_are_survived(backend: Client, recording: Path, line: bytes, code: int) -> None:
    backend.write(line + b"\n")
    assert backend.reply(None)["error"]["code"] == code
    assert backend.result("probe_audio", path=str(recording))["frames"] == 150


def test_notifications_get_no_reply(backend: Client, recording: Path) -> None:
    for line in (
        b'{"jsonrpc": "2.0", "method": "cancel", "params": {"id": 12345}}',
        b'{"jsonrpc": "2.0", "method": "no_such_method"}',
        b'{"jsonrpc": "2.0", "method": "probe_audio", "params": {"path": "nowhere"}}',
        b"",
        b"   \r",
    ):
        backend.write(line + b"\n")
    reply = backend.messages.get(timeout=PATIENCE)  # of the line of blanks: no JSON
    assert reply["error"]["code"] == -32700
    assert backend.result("probe_audio", path=str(recording))["frames"] == 150


def test_string_ids_and_ids_in_use(backend: Client, recording: Path, tmp_path: Path) -> None:
    params = {"audio": str(recording), "output_dir": str(tmp_path), "sampler": "ddpm", "seeds": [1, 2, 3]}
    line = (
        json.dumps({"jsonrpc": "2.0", "id": "mine", "method": "generate", "params": params}).encode() + b"\n"
    )
    backend.write(line)
    backend.write(line)
    assert backend.reply("mine")["error"]["code"] == -32600
    assert backend.reply("mine")["result"]["takes"]


def test_libraries_cannot_spoil_the_protocol() -> None:
    """What is printed, by Python or by C, goes to the log."""
    program = (
        "import os, sys; from diffposetalk.server import backend, process\n"
        "@backend.method()\n"
        "def probe_audio(backend, call, *, path: str):\n"
        "    print('printed'); os.write(1, b'written'); os.system('echo shouted'); return {}\n"
        "process.serve()"
    )
    client = Client(sys.executable, "-c", program)
    greet(client)
    assert client.result("probe_audio", path="") == {}
    client.result("shutdown")
    client.end()
    log = b"".join(client.log)
    assert b"written" in log and b"shouted" in log and b"printed" in log


def test_unforeseen_errors_are_survived() -> None:
    program = (
        "from diffposetalk.server import backend, process\n"
        "@backend.method()\n"
        "def probe_audio(backend, call, *, path: str):\n"
        "    if path: raise OSError(28, 'No space left on device')\n"
        "    return {}['missing']\n"
        "process.serve()"
    )
    client = Client(sys.executable, "-c", program)
    greet(client)
    error = client.error("probe_audio", path="")
    assert error["code"] == -32603 and error["data"]["kind"] == "internal" and "log" in error["message"]
    full = client.error("probe_audio", path="x")
    assert full["data"]["kind"] == "disk_full" and "disk is full" in full["message"]
    client.end()
    assert b"Traceback" in b"".join(client.log)


def test_shutdown(client: Client) -> None:
    greet(client)
    assert client.result("shutdown") == {}
    assert client.process.wait(PATIENCE) == 0


def test_end_of_input_ends_the_process_and_its_work(
    held: tuple[Client, Gate], recording: Path, tmp_path: Path
) -> None:
    client, _ = held
    client.send("generate", audio=str(recording), output_dir=str(tmp_path / "out"), seeds=[0, 1])
    client.wait_for("progress")
    client.end()
    assert client.process.returncode == 0
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ends_when_its_parent_is_killed() -> None:
    """Even while something else still holds the other end of its input open."""
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'diffposetalk', 'serve'], stdin={read_end})\n"
        "print(child.pid, flush=True); time.sleep(1000)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, pass_fds=[read_end])
    assert parent.stdout
    backend = int(parent.stdout.readline())
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocol": 1}}
    os.write(write_end, json.dumps(request).encode() + b"\n")
    assert b'"result"' in parent.stdout.readline()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not runs(backend))
    os.close(write_end)
    os.close(read_end)
