# SPDX-License-Identifier: GPL-3.0-or-later
"""What `torch.save` wrote, in its zip archive or its older stream, read without running any of it.

PyTorch's own `weights_only` reader refuses code. What it does not refuse, seen with PyTorch 2.13, is kept off here:

- compressed entries, which unpack to any size (honest files hold theirs uncompressed);
- tuples nested so deeply that the stack overflows when they are hashed;
- storages said to be larger than they are, which older versions read past their end: the file is mapped, and a
  storage must be as large as its entry;
- tensors larger than their storage, by strides of 0.

And it is told of what released checkpoints hold besides tensors: `argparse.Namespace`, and paths of any operating
system, which come out as text.
"""

from __future__ import annotations

import argparse
import io
import pickle
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import ModelError
from .allow_list import inspect, refusal

MAX_PICKLE_BYTES = 64 << 20
"""Of a checkpoint without its tensors, which are stored beside the pickle; released ones have some 100 kB."""

_ZIP_MAGIC = b"PK\x03\x04"
_STREAM_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_STREAM_PICKLES = 5
"""Magic number, version, machine, the object, keys of its storages."""
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")
_REFUSED = re.compile(r"GLOBAL ([\w.]+)|(Unsupported operand)")
"""How the `weights_only` reader says that a file names code, or holds what `torch.save` never writes."""


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
            start = file.read(64)
            file.seek(0)
            zipped = start.startswith(_ZIP_MAGIC)
            if not zipped and _STREAM_MAGIC not in start:
                raise _not_a_checkpoint(what)
            sizes = _inspect_zip(file, what) if zipped else None  # of a stream PyTorch compares them itself
            for _ in range(0 if zipped else _STREAM_PICKLES):
                inspect(file, what, persistent_ids=True)
        with torch.serialization.safe_globals(_allowed()):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        return _Copies(sizes)(content)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{what} cannot be read: {error.strerror or error}.", "checkpoint_format") from error
    except pickle.UnpicklingError as error:
        match = _REFUSED.search(str(error))
        if match is None:
            raise _damaged(what) from error
        raise refusal(what, f"“{match[1]}”" if match[1] else "another kind of pickle") from error
    # Hostile bytes make zipfile and torch raise nearly anything.
    except (Exception, MemoryError) as error:
        raise _damaged(what) from error


def _inspect_zip(file: BinaryIO, what: str) -> Counter[int]:
    """Sizes of the storages, bytes."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = [
            e.filename for e in entries if e.filename.count("/") == 1 and e.filename.endswith("/data.pkl")
        ]
        if len(names) != 1:
            raise _not_a_checkpoint(what)
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
            raise refusal(what, "compressed data")
        if archive.getinfo(names[0]).file_size > MAX_PICKLE_BYTES:
            raise refusal(what, "more objects than it can need")
        inspect(io.BytesIO(archive.read(names[0])), what, persistent_ids=True)
        return Counter(e.file_size for e in entries if "/data/" in e.filename)


class _Copies:
    """Copies what was loaded out of the mapped file, which may change or go.

    Args:
        sizes: of the file's storages, of which each is taken once at most; None where they were compared already.

    Raises:
        ValueError: a storage is of another size, or a tensor larger than its storage.
    """

    def __init__(self, sizes: Counter[int] | None) -> None:
        self.sizes = sizes
        self.storages: dict[tuple[int, int], torch.UntypedStorage] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, dict):
            return {key: self(item) for key, item in value.items()}
        return type(value)(map(self, value)) if type(value) in (list, tuple) else value

    def _tensor(self, value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        key = storage.data_ptr(), storage.nbytes()
        if value.numel() * value.itemsize > storage.nbytes():
            raise ValueError("tensor larger than its storage")
        if key not in self.storages:
            if self.sizes is not None:
                self.sizes[key[1]] -= 1
                if self.sizes[key[1]] < 0:
                    raise ValueError("storage of another size")
            self.storages[key] = storage.clone()
        layout = value.storage_offset(), value.shape, value.stride()
        return torch.empty(0, dtype=value.dtype).set_(self.storages[key], *layout)


def _allowed() -> list[Any]:
    def path(*parts: Any) -> str:
        return "/".join(map(str, parts))

    modules = ("pathlib", "pathlib._local")
    return [argparse.Namespace, *((path, f"{module}.{name}") for module in modules for name in _PATHS)]


def _damaged(what: str) -> ModelError:
    return ModelError(f"{what} is cut off or damaged.", "pickle_damaged")


def _not_a_checkpoint(what: str) -> ModelError:
    return ModelError(f"{what} is not a checkpoint as torch.save writes it (.pt).", "checkpoint_format")
