# SPDX-License-Identifier: GPL-3.0-or-later
"""NumPy, SciPy and chumpy objects out of pickles, without running any code of these libraries' unpicklers.

A pickle may only assemble the inert stand-ins below. What array they stand for is worked out afterwards, and
only for the objects that are asked for, from bytes that are really in the file.

Chumpy, an abandoned Python 2 library, wraps the arrays of older body model files. Its objects keep their value
or what it is computed from in their attributes: `Ch` the array as `x`; `Select` an array `a` from which it takes
the entries `idxs` in the shape `preferred_shape`; `reshape` an array `a` and the `newshape`; `MatVecMult` a matrix
`mtx` and a vector `vec`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse

from ..files.allow_list import load_pickle

MAX_ENTRIES = 20_000_000
"""Largest array worked out; FLAME's largest has 6 million entries, SMPL-X’s 15 million."""
MAX_NESTING = 16
"""Chumpy objects inside one another."""


class NotAnArray(ValueError):  # noqa: N818 - says what it is
    """An object of the file is not an array of numbers, or one that cannot be had without its library."""


class _StandIn:
    """Takes the place of an object of another library; what the pickle says of it arrives as attributes."""

    def __init__(self, *_: Any) -> None:
        pass


class _PickledDtype:
    """Stands for numpy.dtype: a code such as `f8` and a byte order."""

    code, order = "", "="

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else str(code)

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        self.order = order.decode("latin1") if isinstance(order, bytes) else str(order)

    def dtype(self) -> np.dtype[Any]:
        if self.code[:1] not in ("b", "i", "u", "f") or not self.code[1:].isdigit() or int(self.code[1:]) > 8:
            raise NotAnArray(f"holds entries of the kind {self.code[:20]!r}, not numbers")
        try:
            return np.dtype(self.code).newbyteorder("=" if self.order == "|" else self.order)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise NotAnArray("holds entries of an unknown kind") from error


class _PickledArray(_StandIn):
    """Stands for numpy.ndarray: shape, kind and bytes, or the entries of an object array."""

    shape: tuple[int, ...] = ()
    kind: Any = None
    fortran = False
    content: Any = b""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.kind, self.fortran, self.content = state

    def array(self) -> np.ndarray:
        if not isinstance(self.kind, _PickledDtype):
            raise NotAnArray("is not complete")
        content = self.content.encode("latin1") if isinstance(self.content, str) else self.content
        if not isinstance(content, (bytes, bytearray)):
            raise NotAnArray("holds objects, not numbers")
        flat = np.frombuffer(content, self.kind.dtype())
        return flat.reshape(_shape(self.shape), order="F" if self.fortran else "C")


class _PickledMatrix(_StandIn):
    """Stands for SciPy's csc and csr matrices."""

    kind: Any = scipy.sparse.csc_matrix

    def matrix(self, depth: int) -> Any:
        state = self.__dict__
        shape = _shape(state.get("_shape", state.get("shape")))
        if len(shape) != 2 or max(shape, default=0) > MAX_ENTRIES:
            raise NotAnArray("is a sparse matrix without a sensible shape")
        parts = tuple(_array(state.get(name), depth) for name in ("data", "indices", "indptr"))
        matrix = type(self).kind(parts, shape=shape)  # not what the file may call its kind
        matrix.check_format(full_check=True)  # indices outside the matrix would be read outside memory
        return matrix


class _Chumpy(_StandIn):
    kind = ""

    def array(self, depth: int) -> np.ndarray:
        state = self.__dict__
        if self.kind == "Ch" and "x" in state:
            return _array(state["x"], depth)
        if self.kind == "Select" and {"a", "idxs"} <= state.keys():
            chosen = _array(state["a"], depth).ravel()[_array(state["idxs"], depth).ravel().astype(np.int64)]
            return chosen.reshape(_shape(state.get("preferred_shape") or chosen.shape))
        if self.kind == "MatVecMult" and {"mtx", "vec"} <= state.keys():
            matrix = state["mtx"]
            left = matrix.matrix(depth + 1) if isinstance(matrix, _PickledMatrix) else _array(matrix, depth)
            return np.asarray(left @ _array(state["vec"], depth).ravel()).ravel()
        if self.kind == "reshape" and {"a", "newshape"} <= state.keys():
            return _array(state["a"], depth).reshape(_shape(state["newshape"]))
        raise NotAnArray(f"is a chumpy “{self.kind}”, whose value cannot be had without chumpy")


class _Unused(_StandIn):
    """Stands for objects that files carry beside what is read here, such as PyTorch tensors."""

    def __setstate__(self, state: Any) -> None:
        pass


def _numpy_scalar(kind: Any, content: Any = b"") -> Any:
    return _numpy_from_buffer(content, kind, (), "C")


def _numpy_from_buffer(content: Any, kind: Any, shape: Any, order: Any) -> Any:
    array = _PickledArray()
    array.kind, array.content, array.shape, array.fortran = kind, content, shape, order == "F"
    return array


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Protocol 2 of Python 3 writes bytes as text."""
    if encoding != "latin1" or not isinstance(text, str):
        raise NotAnArray("is not text in latin1")
    return text.encode("latin1")


def _reconstructor(kind: Any, *_: Any) -> Any:
    """Protocols 0 and 1 make objects through copyreg."""
    if not (isinstance(kind, type) and issubclass(kind, (_PickledMatrix, _Chumpy, _Unused))):
        raise NotAnArray("is made of something unknown")
    return kind()


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    names: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "dtype"): _PickledDtype,
        ("numpy", "ndarray"): _PickledArray,
        ("_codecs", "encode"): _encode,
        ("torch._utils", "_rebuild_tensor_v2"): _Unused,
        ("torch.storage", "_load_from_bytes"): _Unused,
        ("collections", "OrderedDict"): dict,
        ("numpy", "matrix"): _PickledArray,
        ("numpy.matrixlib.defmatrix", "matrix"): _PickledArray,
    }
    for module in ("numpy.core", "numpy._core"):
        names[f"{module}.multiarray", "_reconstruct"] = _PickledArray
        names[f"{module}.multiarray", "scalar"] = _numpy_scalar
        names[f"{module}.numeric", "_frombuffer"] = _numpy_from_buffer
    for module in ("__builtin__", "builtins"):
        names[module, "set"] = set
        names[module, "object"] = _Unused
        names[module, "bytearray"] = bytearray
    for module in ("copy_reg", "copyreg"):
        names[module, "_reconstructor"] = _reconstructor
    rows_first = type("_PickledRowMatrix", (_PickledMatrix,), {"kind": scipy.sparse.csr_matrix})
    for kind, stand_in in (("csc", _PickledMatrix), ("csr", rows_first)):
        for module in (f"scipy.sparse.{kind}", f"scipy.sparse._{kind}", "scipy.sparse"):
            names[module, f"{kind}_matrix"] = stand_in
            names[module, f"{kind}_array"] = stand_in
    for module, kinds in _CHUMPY.items():
        for kind in kinds.split():
            names[module, kind] = type(f"_Chumpy{kind}", (_Chumpy,), {"kind": kind})
    return names


# Chumpy's classes that body model files may hold. Those not understood do no harm where nothing asks for them.
_CHUMPY = {
    "chumpy.ch": "Ch MatVecMult add subtract multiply divide dot sum",
    "chumpy.reordering": "Select reshape transpose concatenate",
    "chumpy": "Ch",
}
_ALLOWED = _allowed()


def read_pickled(data: BinaryIO, what: str) -> Any:
    """What a pickle of arrays holds: Python's own containers, with stand-ins for `array_of`.

    Raises:
        ModelError: `pickle_refused` or `pickle_damaged`, as `allow_list.load_pickle`.
    """
    return load_pickle(data, _ALLOWED, encoding="latin1", what=what)


def array_of(thing: Any) -> np.ndarray:
    """The numbers that an object out of `read_pickled` (or an array) stands for.

    Raises:
        NotAnArray: with the end of a sentence about the object.
    """
    try:
        return _array(thing, 0)
    except NotAnArray:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, MemoryError) as error:
        raise NotAnArray("is damaged") from error


def content_of(thing: Any) -> Any:
    """The single object inside an object array of one entry, as `numpy.save` makes of a dictionary."""
    if isinstance(thing, _PickledArray) and isinstance(thing.content, list) and len(thing.content) == 1:
        return thing.content[0]
    return thing


def _array(thing: Any, depth: int) -> np.ndarray:
    if depth > MAX_NESTING:
        raise NotAnArray("is nested too deeply")
    if isinstance(thing, _PickledArray):
        inner = content_of(thing)
        return thing.array() if inner is thing else _array(inner, depth + 1)
    if isinstance(thing, _PickledMatrix):
        matrix = thing.matrix(depth + 1)
        if matrix.shape[0] * matrix.shape[1] > MAX_ENTRIES:
            raise NotAnArray("is too large")
        return np.asarray(matrix.todense())
    if isinstance(thing, _Chumpy):
        return thing.array(depth + 1)
    if isinstance(thing, (np.ndarray, int, float, list, tuple)):
        array = np.asarray(thing)
        if array.dtype.kind in "biuf":
            return array
    raise NotAnArray("is not an array of numbers")


def _shape(shape: Any) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes):
        raise NotAnArray("has a negative size")
    return sizes
