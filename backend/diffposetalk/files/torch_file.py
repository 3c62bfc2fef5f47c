# SPDX-License-Identifier: GPL-3.0-or-later
"""What `torch.save` wrote, read without running any of it.

Both of its formats are read here, the zip archive and the older stream, through the allow-list: tensors,
ordered dictionaries, `argparse.Namespace` and paths (of any operating system, as text) come out, anything else
is refused. PyTorch's own `weights_only` reader is not used because it had holes in versions still in use, and
because it unpacks compressed entries of any size; honest files hold theirs uncompressed.
"""

from __future__ import annotations

import argparse
import io
import math
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import ModelError
from .allow_list import Allowed, load_pickle

MAX_PICKLE_BYTES = 64 << 20
"""Of a checkpoint without its tensors, which are stored beside the pickle; released ones have some 100 kB."""

_ZIP_MAGIC = b"PK\x03\x04"
_STREAM_MAGIC, _STREAM_VERSION = 0x1950A86A20F9469CFC6C, 1001

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")


def read_torch_file(path: str | Path) -> Any:
    """The object in a file of `torch.save`, tensors on the CPU.

    Raises:
        ModelError: `checkpoint_missing`; `checkpoint_format`, not such a file; `pickle_refused`, it asks for
            code; `pickle_damaged`, cut off or damaged.
    """
    path = Path(path)
    what = f"“{path.name}”"
    if not path.is_file():
        raise ModelError(f"There is no checkpoint “{path}”.", "checkpoint_missing")
    try:
        with path.open("rb") as file:
            start = file.read(len(_ZIP_MAGIC))
            file.seek(0)
            size = path.stat().st_size
            return (_read_zip if start == _ZIP_MAGIC else _read_stream)(file, size, what)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{what} cannot be read: {error.strerror or error}.", "checkpoint_format") from error
    # Hostile bytes make zipfile and tensor arithmetic raise nearly anything.
    except (Exception, MemoryError) as error:
        raise ModelError(f"{what} is cut off or damaged.", "pickle_damaged") from error


class _Budget:
    """Bytes that the tensors of a file may still take: together no more than the file has."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, count: Any, dtype: Any) -> int:
        if not isinstance(dtype, torch.dtype) or type(count) is not int or count < 0:
            raise ValueError("storage")
        wanted = count * dtype.itemsize
        self.left -= wanted
        if self.left < 0:
            raise ValueError("storages larger than the file")
        return wanted


def _read_zip(file: BinaryIO, size: int, what: str) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(names) != 1:
            raise _not_a_checkpoint(what)
        folder = names[0].removesuffix("data.pkl")
        budget = _Budget(size)
        storages: dict[str, torch.Tensor] = {}

        def read(name: str, limit: int) -> bytes:
            entry = archive.getinfo(folder + name)
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > limit:
                raise ModelError(
                    f"{what} was refused: it holds compressed or oversized data, which torch.save never writes.",
                    "pickle_refused",
                )
            return archive.read(entry)

        def persistent_load(pid: Any) -> torch.Tensor:
            _, kind, key, _, count = pid
            if key not in storages:
                dtype = kind()
                wanted = budget.take(count, dtype)
                data = bytearray(read(f"data/{key}", wanted))
                if len(data) != wanted:
                    raise ValueError("storage of another size")
                storages[key] = torch.frombuffer(data, dtype=dtype) if wanted else torch.empty(0, dtype=dtype)
            return storages[key]

        if folder + "byteorder" in archive.namelist() and read("byteorder", 16) != b"little":
            raise ModelError(f"{what} was saved on a big-endian machine, which is not supported.")
        data = io.BytesIO(read("data.pkl", MAX_PICKLE_BYTES))
        return load_pickle(data, _allowed(), what=what, persistent_load=persistent_load)


def _read_stream(file: BinaryIO, size: int, what: str) -> Any:
    try:
        if load_pickle(file, {}, what=what) != _STREAM_MAGIC or load_pickle(file, {}) != _STREAM_VERSION:
            raise _not_a_checkpoint(what)
    except ModelError as error:
        raise (error if error.kind == "pickle_refused" else _not_a_checkpoint(what)) from error
    machine = load_pickle(file, {}, what=what)
    if not machine["little_endian"]:
        raise ModelError(f"{what} was saved on a big-endian machine, which is not supported.")
    budget = _Budget(size)
    storages: dict[str, torch.Tensor] = {}

    def persistent_load(pid: Any) -> torch.Tensor:
        _, kind, key, _, count, view = pid
        if view is not None:
            raise ValueError("view of a storage")
        if key not in storages:
            dtype = kind()
            budget.take(count, dtype)
            storages[key] = torch.zeros(count, dtype=dtype)  # its data follow the pickle
        return storages[key]

    result = load_pickle(file, _allowed(), what=what, persistent_load=persistent_load)
    for key in load_pickle(file, {}, what=what):
        storage = storages[key]
        data = file.read(8 + storage.nbytes)
        if len(data) != 8 + storage.nbytes or int.from_bytes(data[:8], "little") != len(storage):
            raise ValueError("storage cut off")
        if len(storage):
            storage.copy_(torch.frombuffer(bytearray(data[8:]), dtype=storage.dtype))
    return result


def _allowed() -> Allowed:
    allowed: dict[tuple[str, str], Callable[..., Any]] = {
        ("argparse", "Namespace"): argparse.Namespace,
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _view,
        ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    }
    for name, dtype in _STORAGES.items():
        allowed["torch", name] = lambda dtype=dtype: dtype
    for module in ("pathlib", "pathlib._local"):
        for name in _PATHS:
            allowed[module, name] = lambda *parts: "/".join(map(str, parts))
    return allowed


def _view(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """A tensor over a storage; never larger than it, as views that repeat elements would be."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, torch.Tensor) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("tensor")
    if math.prod(size) > len(storage):
        raise ValueError("tensor larger than its storage")
    return torch.as_strided(storage, size, stride, offset)


def _not_a_checkpoint(what: str) -> ModelError:
    return ModelError(f"{what} is not a checkpoint as torch.save writes it (.pt).", "checkpoint_format")
