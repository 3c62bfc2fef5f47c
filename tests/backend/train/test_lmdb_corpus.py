# SPDX-License-Identifier: GPL-3.0-or-later
"""The released data's LMDB: its layout and small variations of it, damage, and pickles that would run code."""

from __future__ import annotations

import contextlib
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lmdb")

from support.released_lmdb import clip_arrays, encode, entries, write_lmdb

from diffposetalk.errors import DataError, DiffPoseTalkError, ModelError
from diffposetalk.evaluate.references import read_references
from diffposetalk.head.head_model import load_head
from diffposetalk.train.recording import Recording, Skipped
from diffposetalk.train.recordings import read_recordings


class Canary:
    """A pickle of this calls `touch` when it is loaded carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def read(folder: Path) -> tuple[dict[str, Recording], dict[str, str]]:
    skipped: list[Skipped] = []
    found = list(read_recordings(folder, on_skip=skipped.append))
    return {r.id: r for r in found}, {s.id: s.reason for s in skipped}


def same(recording: Recording, arrays: dict[str, np.ndarray]) -> None:
    motion = recording.motion
    assert motion is not None and motion.basis == "flame" and motion.fps == 25
    assert np.array_equal(motion.exp, arrays["exp"]) and np.array_equal(motion.pose, arrays["pose"])
    assert motion.shape is not None and np.allclose(motion.shape, arrays["shape"][0], atol=1e-5)
    sound = recording.sound()
    assert sound.dtype == np.float32 and sound.shape == arrays["sound"].shape
    assert np.abs(sound - arrays["sound"]).max() < 1e-4  # 16 bits


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_released_layout(tmp_path: Path, protocol: int) -> None:
    one, two = clip_arrays(250, 1), clip_arrays(100, 2)
    folder = write_lmdb(
        tmp_path / "HDTF TFHP ü" / "lmdb",
        entries("TH_00001/000", one, protocol) | entries("RD_Radio1/002", two, protocol),
    )
    lists = {"train.txt": "TH_00001/000\n", "val.txt": "RD_Radio1/002\n", "test.txt": ""}
    for name, text in lists.items():
        (folder.parent / name).write_text(text)
    for source in (folder, folder.parent):  # the folder itself, or the one above
        found, skipped = read(source)
        assert not skipped
        assert {(r.id, r.speaker, r.split) for r in found.values()} == {
            ("TH_00001/000", "TH_00001", "train"),
            ("RD_Radio1/002", "RD_Radio1", "validation"),
        }
        same(found["TH_00001/000"], one)
        same(found["RD_Radio1/002"], two)


def test_listed_for_testing_or_not_at_all(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path, entries("A/000", clip_arrays(20)) | entries("B/000", clip_arrays(20)))
    assert len(read(folder)[0]) == 2
    (tmp_path / "test.txt").write_text("A/000 12\n")
    found, skipped = read(folder)
    assert not found and skipped == {
        "A/000": "it is kept for testing.",
        "B/000": "no list of splits names it.",
    }
    [test] = read_recordings(folder, testing=True)
    assert test.id == "A/000" and test.split == "test"
    head = load_head()
    [corpus] = read_references(folder, head, split="test").values()
    assert [reference.id for reference in corpus] == ["A/000"]
    with pytest.raises(DataError, match="on for validation"):
        read_references(folder, head)


def test_small_variations(tmp_path: Path) -> None:
    arrays = clip_arrays(150)
    flat = {
        "audio": bytearray(encode(arrays["sound"][:64_000], kind="WAV")),
        "exp": np.hstack([arrays["exp"][:100], arrays["exp"][:100]]).astype(np.float64),
        "pose": arrays["pose"][:100].copy(order="F"),
        "shape": arrays["shape"][0],
    }
    nested = {
        "audio": encode(arrays["sound"][64_000:]),
        "coef": {k: arrays[k][100:] for k in ("shape", "exp", "pose")},
        "note": "text",
    }
    values = {
        "P/V 1/00000": pickle.dumps(flat, 3),
        "P/V 1/00001": pickle.dumps(nested, 5),
        "P/V 1/metadata": pickle.dumps({"n_frames": np.int64(149)}),
    }
    found, skipped = read(write_lmdb(tmp_path, values))
    assert not skipped
    motion = found["P/V 1"].motion
    assert motion is not None and len(motion) == 149
    assert np.allclose(motion.exp, arrays["exp"][:149]) and np.allclose(motion.pose, arrays["pose"][:149])
    assert np.abs(found["P/V 1"].sound() - arrays["sound"][: 149 * 640]).max() < 1e-4


def test_hostile_pickles_run_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "touched"
    good = clip_arrays(30)
    values = entries("Good/000", good)
    for name, thing in {
        "Segment/000/000": Canary(canary),
        "Sound/000/000": {"audio": Canary(canary), "coef": {}},
        "Deep/000/000": {"audio": b"", "coef": {"exp": Canary(canary)}},
    }.items():
        values[name] = pickle.dumps(thing)
    values |= entries("Metadata/000", good)
    values["Metadata/000/metadata"] = pickle.dumps(Canary(canary))
    values |= {"System/000/000": b"cos\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR."}
    found, skipped = read(write_lmdb(tmp_path / "db", values))
    assert set(found) == {"Good/000"} and not canary.exists()
    assert set(skipped) == {"Segment/000", "Sound/000", "Deep/000", "Metadata/000", "System/000"}
    assert all("refused" in reason and "nothing of it was run" in reason for reason in skipped.values())
    with pytest.raises(ModelError) as caught:
        list(read_recordings(tmp_path / "db"))
    assert caught.value.kind == "pickle_refused" and not canary.exists()
    pickle.loads(values["Segment/000/000"])  # the canary itself works
    assert canary.exists()


def changed(name: str, **changes: Any) -> bytes:
    arrays = clip_arrays(40)
    coef = {k: arrays[k] for k in ("shape", "exp", "pose")}
    segment: dict[str, Any] = {"audio": encode(arrays["sound"]), "coef": coef}
    for key, value in changes.items():
        (segment if key in segment else coef)[key] = value
    return pickle.dumps(segment)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (changed("", exp=np.full((40, 50), np.nan)), "not finite"),
        (changed("", exp=np.zeros((39, 50))), "differ in length"),
        (changed("", exp=np.zeros((40, 51))), r"shape \(40, 51\)"),
        (changed("", pose=None), "no pose"),
        (changed("", pose=np.array([{}], object)), "not an array of numbers"),
        (changed("")[:900], "cut off, damaged"),
        (pickle.dumps([1, 2]), "no segment"),
        (b"", "cut off, damaged"),
    ],
)
def test_damaged_clips_are_left_out(tmp_path: Path, value: bytes, message: str) -> None:
    values = entries("Good/000", clip_arrays(30)) | {"Bad/000/000": value}
    found, skipped = read(write_lmdb(tmp_path, values))
    assert set(found) == {"Good/000"} and set(skipped) == {"Bad/000"}
    assert re.search(message, skipped["Bad/000"]), skipped


@pytest.mark.parametrize(
    "audio",
    [b"", b"fLaC" + b"\0" * 50, encode(np.zeros(640 * 20)), encode(clip_arrays(40)["sound"])[:9000], None],
)
def test_damaged_sound_is_told_when_read(tmp_path: Path, audio: bytes | None) -> None:
    found, _ = read(write_lmdb(tmp_path, {"Bad/000/000": changed("", audio=audio)}))
    with pytest.raises(DiffPoseTalkError, match="Bad/000/000"):
        found["Bad/000"].sound()


def test_missing_segments(tmp_path: Path) -> None:
    values = entries("A/000", clip_arrays(250)) | entries("B/000", clip_arrays(250))
    del values["A/000/001"], values["B/000/002"]
    found, skipped = read(write_lmdb(tmp_path, values))
    assert not found
    assert skipped == {
        "A/000": "“A/000” of the LMDB lacks its segment 001.",
        "B/000": "“B/000” has 200 of its 250 frames.",
    }


def test_database_that_is_none_or_cut_off(tmp_path: Path) -> None:
    whole = write_lmdb(tmp_path / "whole", entries("A/000", clip_arrays(300))) / "data.mdb"
    data = whole.read_bytes()
    for name, content in {
        "empty": b"",
        "noise": bytes(range(256)) * 64,
        "cut": data[: len(data) // 2],
        "header": data[:5000],
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.mdb").write_bytes(content)
        with pytest.raises(DataError):
            read(tmp_path / name)
    with pytest.raises(DataError, match="not in the layout"):
        read(write_lmdb(tmp_path / "other", {"picture-001": b"x"}))


def test_damaged_pages_do_not_end_the_process(tmp_path: Path) -> None:
    """Any page overwritten: what comes is an error or a clip left out."""
    whole = (write_lmdb(tmp_path / "whole", entries("A/000", clip_arrays(120))) / "data.mdb").read_bytes()
    (tmp_path / "d").mkdir()
    path = tmp_path / "d" / "data.mdb"
    for page in range(2, len(whole) // 4096):
        content = bytearray(whole)
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
        path.write_bytes(content)
        with contextlib.suppress(DiffPoseTalkError):
            read(tmp_path / "d")


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_lmdb(tmp_path, entries("A/000", clip_arrays(20)))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(DataError, match=r'pip install "diffposetalk\[train\]"'):
        read(folder)
