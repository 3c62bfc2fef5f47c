# SPDX-License-Identifier: GPL-3.0-or-later
"""NumPy files from elsewhere: motion, style vectors, identity coefficients; damaged, hostile and far too large."""

from __future__ import annotations

import io
import os
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffposetalk.convert.flame import convert_flame
from diffposetalk.errors import DiffPoseTalkError, StyleError
from diffposetalk.files.array_file import read_arrays
from diffposetalk.generation.speak import load_shape
from diffposetalk.motion.clip import load_motion
from diffposetalk.styles import load_style_vector
from diffposetalk.styles.library import list_styles


def motion_arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "exp": rng.random((30, 50), np.float32),
        "pose": rng.random((30, 6), np.float32),
        "fps": np.float32(25),
        "basis": np.array("arkit"),
        "provenance": np.array('{"synthetic": true}'),
        "shape": np.zeros(100, np.float32),
    }


def read_style(path: Path) -> Any:
    return load_style_vector(path, 128)


READERS: dict[str, Callable[[Path], Any]] = {"motion": load_motion, "shape": load_shape, "style": read_style}


def whole(kind: str) -> bytes:
    """A good file for a reader."""
    buffer = io.BytesIO()
    if kind == "style":
        np.save(buffer, np.ones(128, np.float32))
    else:
        np.savez_compressed(buffer, **motion_arrays())
    return buffer.getvalue()


def test_plain_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.array("text"))
    arrays = read_arrays(tmp_path / "a.npz", ("x", "z"), 1000)
    assert list(arrays) == ["x"] and arrays["x"].tolist() == [0, 1, 2]
    np.save(tmp_path / "b.npy", np.arange(3))
    assert read_arrays(tmp_path / "b.npy", ("",), 1000)[""].tolist() == [0, 1, 2]
    with pytest.raises(ValueError):
        read_arrays(tmp_path / "b.npy", ("",), 100)
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "c.npy", ("",), 100)


@pytest.mark.parametrize("kind", READERS)
def test_cut_off_and_flipped(kind: str, tmp_path: Path) -> None:
    path, data, read = tmp_path / "x.npz", whole(kind), READERS[kind]
    path.write_bytes(data)
    read(path)
    rng = np.random.default_rng(1)
    damaged = [data[:cut] for cut in range(0, len(data), max(1, len(data) // 60))]
    for _ in range(300):
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        damaged.append(bytes(flipped))
    for content in damaged:  # each is read or refused
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read(path)
            except DiffPoseTalkError as error:
                assert "\n" not in error.message


@pytest.mark.parametrize("kind", READERS)
def test_objects_are_not_unpickled(kind: str, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    objects = np.array([Hostile()] * 128, object)
    np.savez(tmp_path / "a.npz", exp=objects, pose=objects, shape=objects, allow_pickle=True)
    np.save(tmp_path / "b.npy", objects, allow_pickle=True)
    for name in ("a.npz", "b.npy"):
        with pytest.raises(DiffPoseTalkError):
            READERS[kind](tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", READERS)
def test_small_files_do_not_unpack_to_gigabytes(kind: str, tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 50)}
    )
    path = tmp_path / "claims.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("exp", "pose", "shape"):
            archive.writestr(name + ".npy", header.getvalue() + bytes(100))
    with pytest.raises(DiffPoseTalkError):
        READERS[kind](path)
    path.write_bytes(header.getvalue() + bytes(100))
    with pytest.raises(DiffPoseTalkError):
        READERS[kind](path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """Two gigabytes of zeros in two megabytes."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        np_file = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            np_file, {"descr": "<f4", "fortran_order": False, "shape": (5_000_000, 50)}
        )
        with archive.open("exp.npy", "w", force_zip64=True) as file:
            file.write(np_file.getvalue())
            for _ in range(80):
                file.write(bytes(20_000_000))
    with pytest.raises(DiffPoseTalkError):
        load_motion(path)
    with pytest.raises(ValueError):
        read_arrays(path, ("exp",), 1 << 30)


@pytest.mark.parametrize("kind", [*READERS, "library", "flame"])
@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_what_a_directory_claims_is_not_believed(kind: str, packing: int, tmp_path: Path) -> None:
    """Hundreds of megabytes of zeros in some kilobytes, of which the directory says 20 kB."""
    path = hollow_archive(tmp_path / ("a.dptstyle" if kind == "library" else "a.npz"), packing)
    readers = {**READERS, "library": read_library, "flame": convert_head}
    tracemalloc.start()
    try:
        with pytest.raises(DiffPoseTalkError):
            readers[kind](path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def hollow_archive(path: Path, packing: int) -> Path:
    """An archive whose directory claims 20 kB of members that unpack to 64 MB each."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (50, 100)})
    with zipfile.ZipFile(path, "w", packing, compresslevel=9) as archive:
        for name in ("exp", "vector", "meta", "shape", "v_template"):
            with archive.open(f"{name}.npy", "w") as file:
                file.write(header.getvalue())
                for _ in range(16):
                    file.write(bytes(1 << 22))
        for entry in archive.filelist:
            entry.file_size = 20_128
    return path


def read_library(path: Path) -> None:
    """As `diffposetalk style list` does; what cannot be read is told with it."""
    problems = [entry.problem for entry in list_styles(path.parent)]
    assert len(problems) == 1 and problems[0]
    raise StyleError(problems[0])


def convert_head(path: Path) -> None:
    convert_flame(path, path.with_name("head.npz"))


def test_an_archive_of_a_million_members_is_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(25_000):
            archive.writestr(str(number), b"")
    with pytest.raises(ValueError):
        read_arrays(path, ("exp",), 1 << 30)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", np.zeros((30, 49))),
        ("exp", np.zeros((0, 50))),
        ("exp", np.full((30, 50), np.inf)),
        ("exp", np.array(["a"] * 30)),
        ("exp", np.zeros(30, [("a", "f4"), ("b", "f4")])),
        ("pose", np.zeros((29, 6))),
        ("fps", np.float32("nan")),
        ("fps", np.zeros(3)),
        ("fps", np.array("fast")),
        ("basis", np.array("other")),
        ("shape", np.zeros(99)),
        ("provenance", np.array("{")),
        ("provenance", np.array('{"a":' * 20_000)),
    ],
)
def test_motion_of_the_wrong_kind(name: str, value: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{**motion_arrays(), name: value})
    with pytest.raises(DiffPoseTalkError) as caught:
        load_motion(tmp_path / "x.npz")
    assert caught.value.kind.startswith("motion") and "\n" not in caught.value.message
