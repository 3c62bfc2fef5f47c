# SPDX-License-Identifier: GPL-3.0-or-later
"""Pickles that ask for more than they may: refused by name, and nothing of them runs."""

from __future__ import annotations

import argparse
import builtins
import io
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffposetalk.errors import ModelError
from diffposetalk.files.allow_list import MAX_OPCODES, MAX_TUPLES, Allowed, inspect, load_pickle

ALLOWED: Allowed = {
    ("collections", "OrderedDict"): OrderedDict,
    ("argparse", "Namespace"): argparse.Namespace,
    ("pathlib", "PosixPath"): lambda *parts: "/".join(parts),
}


class Calls:
    """Pickles to a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def load(data: bytes, allowed: Allowed = ALLOWED) -> Any:
    return load_pickle(io.BytesIO(data), allowed, what="“a.pkl”")


def refused(data: bytes, allowed: Allowed = ALLOWED) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load(data, allowed)
    assert "\n" not in caught.value.message and caught.value.message.startswith("“a.pkl” ")
    return caught.value


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_allowed_loads(protocol: int) -> None:
    value = {"args": argparse.Namespace(width=3, names=["a", "b"]), "model": OrderedDict(x=(1, 2.5, None))}
    loaded = load(pickle.dumps(value, protocol))
    assert vars(loaded["args"]) == {"width": 3, "names": ["a", "b"]}
    assert loaded["model"] == value["model"]


def test_the_stream_is_left_behind_the_pickle() -> None:
    data = io.BytesIO(pickle.dumps([1]) + pickle.dumps("two") + b"rest")
    assert load_pickle(data, {}) == [1] and load_pickle(data, {}) == "two" and data.read() == b"rest"


def test_nothing_else_is_reached(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')"
    attempts = {
        "system": Calls(os.system, f"touch {ran}"),
        "eval": Calls(builtins.eval, code),
        "exec": Calls(builtins.exec, code),
        "getattr": Calls(getattr, os, "system"),
        "Popen": Calls(__import__("subprocess").Popen, ["touch", str(ran)]),
    }
    for word, attempt in attempts.items():
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            try:
                data = pickle.dumps({"model": [attempt]}, protocol)
            except TypeError:  # modules do not pickle: the name alone is enough
                data = b"cbuiltins\ngetattr\n."
            error = refused(data)
            assert error.kind == "pickle_refused" and word in error.message
    # dotted names, INST and OBJ reach `find_class` as well
    assert refused(b"\x80\x04\x8c\x08argparse\x8c\x10_sys.modules.get\x93.").kind == "pickle_refused"
    assert refused(f"(S'touch {ran}'\nios\nsystem\n.".encode()).kind == "pickle_refused"
    assert refused(f"(cos\nsystem\nS'touch {ran}'\no.".encode()).kind == "pickle_refused"
    assert not ran.exists()


def test_a_name_cannot_forge_lines_of_the_message() -> None:
    module = "os\x1b[2J\r\nerror: fine"
    data = b"\x80\x04" + b"".join(
        b"\x8c" + struct.pack("B", len(text)) + text for text in (module.encode(), b"system")
    )
    error = refused(data + b"\x93.")
    assert "\x1b" not in error.message


def test_allowed_functions_and_classes_stay_as_they_are() -> None:
    """BUILD sets attributes on what it is given; given a class or function it must not reach the original."""

    def harmless() -> str:
        return "as it was"

    allowed = {("m", "harmless"): harmless, ("argparse", "Namespace"): argparse.Namespace}
    refused(b"cm\nharmless\n(N(dS'__doc__'\nS'changed'\nstb.", allowed)
    load(b"cargparse\nNamespace\n(N(dS'__eq__'\nS'changed'\nstb.", allowed)
    assert harmless.__doc__ is None and callable(argparse.Namespace.__eq__)
    assert load(b"cm\nharmless\n)R.", allowed) == "as it was"


def test_objects_outside_the_file() -> None:
    for data in (b"Pid\n.", b"\x80\x02K\x01Q.", b"\x82\x01.", b"\x80\x05\x97."):
        assert refused(data).kind == "pickle_refused"
    inspect(io.BytesIO(b"Pid\n."), "“a.pkl”", persistent_ids=True)


def test_files_that_would_exhaust_memory_or_stack() -> None:
    assert refused(b"Nr" + struct.pack("<I", 2**32 - 1) + b".").kind == "pickle_refused"
    assert refused(b"})" + b"\x85" * (MAX_TUPLES + 1) + b"Ns.").kind == "pickle_refused"
    assert refused(b"N0" * (MAX_OPCODES // 2 + 1) + b".").kind == "pickle_refused"
    assert refused(b"\x8e" + struct.pack("<Q", 2**62) + b"abc.").kind == "pickle_damaged"


def test_damaged() -> None:
    whole = pickle.dumps({"model": list(range(100)), "name": "x" * 50})
    for cut in range(0, len(whole), 7):
        assert refused(whole[:cut]).kind == "pickle_damaged"
    for data in (b"text", b"\x80\x63.", b".", b"0.", b"(.", b"h\x05.", b"\x80\x02)R."):
        assert refused(data).kind == "pickle_damaged"
