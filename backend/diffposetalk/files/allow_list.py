# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading pickles of other programs without trusting them.

A pickle is a program: it names functions and calls them. Here it may name what the caller lists and nothing
else, and what it names is the caller's own replacement, so that a file cannot reach any other code. Files that
would exhaust memory or the stack before a name is looked up are refused as well.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from ..errors import ModelError

Allowed = Mapping[tuple[str, str], Callable[..., Any]]
"""(module, name) as the pickle spells it (Python 2's spelling in old files) to what is called in its place."""

MAX_OPCODES = 2_000_000
"""A checkpoint of the released size has some 20,000."""
MAX_TUPLES = 50_000
"""Tuples nested deeper than this could overflow the stack when they are hashed as keys."""

_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"})
_PERSISTENT = frozenset({"PERSID", "BINPERSID"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
# Opcodes that bring in objects from outside the file past `find_class`.
_FOREIGN = frozenset({"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"})

_IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE


def load_pickle(
    data: BinaryIO,
    allowed: Allowed,
    *,
    encoding: str = "ASCII",
    what: str = "The file",
) -> Any:
    """The object that the pickle at the stream's position describes; the stream is left behind it.

    Args:
        data: seekable binary stream.
        allowed: everything that the pickle may name, with its replacement. A class is handed out as a subclass
            made for this call and a function inside an object that takes no attributes, so that a file cannot
            change either for the rest of the program.
        encoding: of Python 2's strings, as for `pickle.load`; "latin1" keeps their bytes.
        what: how messages call the file; begins with a capital letter or a quotation mark.

    Raises:
        ModelError: `pickle_refused`, naming what was asked for that is not allowed; `pickle_damaged`.
    """
    start = data.tell()
    try:
        inspect(data, what)
        data.seek(start)
        return _Unpickler(data, allowed, encoding, what).load()
    except ModelError:
        raise
    # Hostile bytes make pickle and the replacements raise nearly anything.
    except (Exception, MemoryError) as error:
        raise ModelError(f"{what} is cut off, damaged or not a pickle.", "pickle_damaged") from error


def inspect(data: BinaryIO, what: str, persistent_ids: bool = False) -> None:
    """Read the opcodes up to STOP without executing them.

    Args:
        persistent_ids: whether honest files of the kind name objects outside their pickle.

    Raises:
        ModelError: `pickle_refused`; some that no honest file needs, or more than one can need.
    """
    tuples = 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        tuples += opcode.name in _TUPLES
        if opcode.name in _FOREIGN or (opcode.name in _PERSISTENT and not persistent_ids):
            raise refusal(what, f"an object outside the file ({opcode.name})")
        if opcode.name in _PUTS and isinstance(argument, int) and argument > MAX_OPCODES:
            raise refusal(what, "more memory than it can need")
        if count > MAX_OPCODES or tuples > MAX_TUPLES:
            raise refusal(what, "more objects than it can need")


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: BinaryIO, allowed: Allowed, encoding: str, what: str) -> None:
        super().__init__(data, encoding=encoding)
        self.allowed = allowed
        self.what = what
        self.sealed: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        if key not in self.allowed:
            raise refusal(self.what, f"“{module}.{name}”")
        if key not in self.sealed:
            self.sealed[key] = _seal(self.allowed[key])
        return self.sealed[key]


class _Call:
    """A function that a pickle may call and cannot change (BUILD sets attributes on whatever it is given)."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


def _seal(target: Callable[..., Any]) -> Any:
    if not isinstance(target, type):
        return _Call(target)
    if target.__flags__ & _IMMUTABLE_TYPE:
        return target
    return type(target.__name__, (target,), {"__module__": target.__module__})


def refusal(what: str, wanted: str) -> ModelError:
    """The error of a file that asks for what no file of its kind needs."""
    shown = "".join(c if c.isprintable() else "?" for c in wanted)[:120]
    return ModelError(
        f"{what} was refused: it asks for {shown}, which no file of its kind needs. "
        "It may be hostile; nothing of it was run.",
        "pickle_refused",
    )
