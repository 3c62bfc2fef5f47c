# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged and hostile variants of good data, the same for the same random numbers."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
NAMES = (
    "../../outside.npy",
    "/tmp/outside.npy",
    "C:\\outside.npy",
    "data.pkl",
    "",
    "a/" * 400,
    "exp.npy",
    "nul\0.npy",
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        10**40,
        -(10**40),
        0.5,
        -0.0,
        1e308,
        5e-324,
        "",
        " ",
        "\0",
        ".",
    ),
    *(
        "..",
        "/",
        "../../outside",
        "~",
        "C:\\outside",
        "//server/share",
        "/dev/zero",
        "/proc/self/mem",
        "x" * 5000,
    ),
    *(
        "\ud800",
        "日本語",
        "${HOME}",
        "$(touch outside)",
        "'; DROP",
        "<script>",
        "%s%n",
        "NaN",
        "nan",
        [],
        {},
        [[]],
    ),
    *([None] * 50, {"": None}, [[[[[[[[]]]]]]]], {"__class__": "os.system"}, list(range(200))),
)
MAX_GROWTH = 1 << 20

Mutation = Callable[[bytes, random.Random], bytes]


def damage(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, lost, added, repeated or moved."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16, 64))):
        at = chance.randrange(len(result) + 1)
        if chance.random() < 0.5:  # headers are at the front
            at = min(at, chance.randrange(200))
        length = chance.choice((1, 2, 4, 8, 64, 512))
        kind = chance.randrange(8)
        if kind == 0 and result:
            result[min(at, len(result) - 1)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            value = chance.choice(EXTREMES)
            size = chance.choice((1, 2, 4, 8))
            order = chance.choice(("little", "big"))
            result[at : at + size] = (value % (1 << (8 * size))).to_bytes(size, order)  # type: ignore[arg-type]
        elif kind == 2:
            del result[at : at + length]
        elif kind == 3:
            result[at:at] = chance.randbytes(length)
        elif kind == 4:
            result[at : at + length] = chance.randbytes(length)
        elif kind == 5 and len(result) < MAX_GROWTH:
            result[at:at] = result[at : at + length] * chance.choice((1, 2, 50))
        elif kind == 6:
            del result[at:]
        else:
            other = chance.randrange(len(result) + 1)
            piece = result[other : other + length]
            result[at : at + len(piece)] = piece
    return bytes(result)


def changed_json(value: Any, chance: random.Random) -> Any:
    """Plain data in which one place has another value, another name or is gone."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        result = dict(value)
        key = chance.choice(list(result))
        kind = chance.randrange(6)
        if kind == 0:
            del result[key]
        elif kind == 1:
            result[str(chance.choice(VALUES))[:300]] = result.pop(key)
        elif kind == 2:
            result["unknown"] = chance.choice(VALUES)
        else:
            result[key] = changed_json(result[key], chance)
        return result
    if isinstance(value, list) and value and chance.random() < 0.85:
        result_list = list(value)
        at = chance.randrange(len(result_list))
        kind = chance.randrange(5)
        if kind == 0:
            del result_list[at]
        elif kind == 1:
            result_list *= chance.choice((2, 50))
        else:
            result_list[at] = changed_json(result_list[at], chance)
        return result_list
    return chance.choice(VALUES)


def damage_json(data: bytes, chance: random.Random) -> bytes:
    """A JSON text with other values, or damaged as a text."""
    if chance.random() < 0.25:
        return damage(data, chance)
    value = changed_json(json.loads(data), chance)
    return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


def damage_zip(data: bytes, chance: random.Random) -> bytes:
    """An archive with an entry damaged, renamed, repeated, left out or swapped; or damaged as a file."""
    if chance.random() < 0.3:
        return damage(data, chance)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    at = chance.randrange(len(entries))
    name, content = entries[at]
    kind = chance.randrange(8)
    if kind == 0:
        del entries[at]
    elif kind == 1:
        entries[at] = (chance.choice(NAMES), content)
    elif kind == 2:
        entries.append((name, damage(content, chance)))
    elif kind == 3:
        entries[at] = (name, entries[chance.randrange(len(entries))][1])
    elif kind == 4:
        entries[at] = (name, b"\0" * chance.choice((0, 1, 1 << 10, 1 << 24)))
    else:
        entries[at] = (name, damage(content, chance))
    written = io.BytesIO()
    how = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(written, "w", how) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name or "empty"), content, how)
    return written.getvalue()


def damage_safetensors(data: bytes, chance: random.Random) -> bytes:
    """Weights with another header, or damaged as a file."""
    if chance.random() < 0.4:
        return damage(data, chance)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    text = json.dumps(changed_json(header, chance)).encode()
    stated = len(text) if chance.random() < 0.8 else chance.choice(EXTREMES)
    return stated.to_bytes(8, "little") + text + data[8 + length :]


def damage_table(data: bytes, chance: random.Random) -> bytes:
    """A table (CSV) with a field, a row, a separator or a quote changed; or damaged as a file."""
    if chance.random() < 0.3:
        return damage(data, chance)
    text = data.decode("utf-8")
    rows = [line.split(",") for line in text.split("\n")]
    for _ in range(chance.choice((1, 1, 3))):
        row = chance.choice(rows)
        kind = chance.randrange(7)
        if kind == 0:
            row.append(str(chance.choice(VALUES))[:6000])
        elif kind == 1 and len(row) > 1:
            del row[chance.randrange(len(row))]
        elif kind == 2:
            rows.append(list(row))
        elif kind == 3:
            chance.shuffle(row)
        else:
            row[chance.randrange(len(row))] = chance.choice(
                (str(chance.choice(VALUES)), '"', '"a\n', "1e999", "-3", "\t;")
            )
    separator = chance.choice((",", ",", ",", ";", "\t", "|"))
    return "\n".join(separator.join(row) for row in rows).encode("utf-8", "surrogatepass")
