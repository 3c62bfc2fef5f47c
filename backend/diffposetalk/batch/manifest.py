# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests of lines to be spoken: CSV or JSON, one job a row; rows that cannot be used are named, the rest goes on.

Columns (CSV, with a header line) or keys (JSON, a list of objects or `{"jobs": […]}`):

- `audio`: the recording; relative paths start at the manifest's folder. The only one that is needed.
- `output`: name of the clip inside the output folder, `scene 1/ann 07`; without it the recording's name.
- `style`: a word as of `config.STYLE_WORDS`: a preset, `library:NAME`, a file, a mixture, `none`.
- `style_start_frame`: first frame of the style's motion.
- `seed`, and `takes` for that many consecutive ones; or `seeds`: a list, in CSV separated by spaces or semicolons.
- `audio_start`, `audio_seconds`: the part of the recording (s).
- `shape`: file of identity coefficients. `speech_guidance`, `style_guidance`: scales of equation 10.

Empty fields are as if they were not there. Columns of Blender's own (`FOREIGN`) are passed over; any other is an
error, because a misspelt column would go unnoticed in a thousand clips.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DiffPoseTalkError, StyleError, one_line
from ..files.file_name import has_hidden_ends, is_allowed
from ..files.text_file import read_text
from ..generation.options import GUIDANCE_LIMIT
from ..styles.request import StyleRequest

FOREIGN = frozenset({"object", "start", "start_frame", "export", "note"})
"""Columns that Blender's console reads of the same manifest, and remarks."""
EXTRA = "\0more"
"""Stands for what a row has beyond the header's columns."""
MAX_BYTES = 1 << 28
"""Of a manifest; a million rows have about 100 million bytes."""
MAX_TAKES = 64
MAX_NAME = 200
"""Characters of one part of an output's name; file systems allow 255 bytes."""


class ManifestError(DiffPoseTalkError, kind="manifest_invalid"):
    """A manifest that cannot be read at all."""


@dataclass(frozen=True)
class Job:
    """A recording to be spoken in one or more takes.

    Attributes:
        row: number in the manifest; of a CSV the line in the file as a spreadsheet numbers it (the header is 1).
        audio: the recording's path. output: name of the clip without suffix, parts separated by `/`.
        style: as `styles.resolve_style` takes it, None for the model's own.
        others: as of `GenerationOptions`.
    """

    row: int
    audio: str
    output: str
    seeds: tuple[int, ...] = (0,)
    style: dict[str, Any] | None = None
    audio_start: float = 0.0
    audio_seconds: float | None = None
    shape: str | None = None
    speech_guidance: float | None = None
    style_guidance: float | None = None

    def clip_name(self, seed: int) -> str:
        """Path of a take's clip inside the output folder: the seed is in the name where there are several."""
        return f"{self.output}.npz" if len(self.seeds) == 1 else f"{self.output}-seed{seed}.npz"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Job:
        """The job that `asdict` gave."""
        return cls(**{**data, "seeds": tuple(data["seeds"])})


COLUMNS = (
    *(field.name for field in fields(Job) if field.name != "row"),
    *("style_start_frame", "seed", "takes"),
)


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why."""

    row: int
    message: str


def read_manifest(path: str | Path) -> tuple[list[Job], list[BadRow]]:
    """The jobs of a manifest and the rows that are none; a second job for the same clip is one of those.

    Raises:
        ManifestError: not there, neither CSV nor JSON, without jobs, or with columns that do not exist.
    """
    path = Path(path)
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    jobs: list[Job] = []
    bad: list[BadRow] = []
    taken: dict[str, int] = {}
    for number, row in rows:
        try:
            job = _job(number, row, path.parent)
            # Names that differ in case or in how accents are written are one file on some systems.
            clips = [unicodedata.normalize("NFC", job.clip_name(seed)).casefold() for seed in job.seeds]
            first = next((taken[clip] for clip in clips if clip in taken), None)
            if first is not None:
                raise ValueError(f"its output “{job.output}” is already that of row {first}")
        except ValueError as error:
            bad.append(BadRow(number, one_line(str(error))))
            continue
        taken.update(dict.fromkeys(clips, number))
        jobs.append(job)
    if not jobs and not bad:
        raise ManifestError(f"The manifest “{path.name}” has no rows.")
    return jobs, bad


def output_name(text: str) -> str:
    """An output's name, checked: parts separated by `/`, which stay inside the output folder on every system.

    Raises:
        ValueError: absolute, upwards, hidden, or not a name that every file system takes.
    """
    name = unicodedata.normalize("NFC", text.strip())
    if name.lower().endswith(".npz"):
        name = name[:-4]
    parts = name.split("/")
    if name.startswith(("/", "~")) or "\\" in name or re.match(r"[A-Za-z]:", name) or ".." in parts:
        raise ValueError(f"its output “{text}” would lie outside the output folder")
    for part in parts:
        if has_hidden_ends(part):
            raise ValueError(f"its output “{text}” is not a file name")
        if not is_allowed(part):
            raise ValueError(f"its output “{text}” has characters or names that not every system allows")
        if len(part.encode()) > MAX_NAME:
            raise ValueError("its output's name is too long")
    return name


def _job(number: int, row: dict[str, Any], folder: Path) -> Job:
    """A job of a row's values. Raises ValueError with what is wrong, to be read after “row N:”."""
    values = {key: value for key, value in row.items() if value is not None and value != ""}
    if EXTRA in values:
        raise ValueError("it has more fields than the header; put quotes around texts with a comma")
    audio = _text(values, "audio")
    if audio is None:
        raise ValueError("it names no recording (audio)")
    shape = _text(values, "shape")
    return Job(
        row=number,
        audio=_path(audio, folder),
        output=output_name(_text(values, "output") or PurePosixPath(audio.replace("\\", "/")).stem),
        seeds=_seeds(values),
        style=_style(values, folder),
        audio_start=_number(values, "audio_start", 0.0) or 0.0,
        audio_seconds=_number(values, "audio_seconds", 0.0),
        shape=None if shape is None else _path(shape, folder),
        speech_guidance=_number(values, "speech_guidance", 0.0, GUIDANCE_LIMIT),
        style_guidance=_number(values, "style_guidance", 0.0, GUIDANCE_LIMIT),
    )


def _style(values: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    word, start_frame = _text(values, "style"), _whole(values, "style_start_frame", 0)
    if word is None:
        return None
    try:
        return StyleRequest.parse(word, near=folder, start_frame=start_frame).to_params()
    except StyleError as error:
        raise ValueError(f"its style cannot be read: {error.message}") from error


def _path(text: str, folder: Path) -> str:
    if "\0" in text:
        raise ValueError("it has a path with a null character")
    return str(folder / os.path.expanduser(text))


def _seeds(values: dict[str, Any]) -> tuple[int, ...]:
    given = values.get("seeds")
    if given is not None:
        if "seed" in values or "takes" in values:
            raise ValueError("it has seeds beside seed or takes; give one of them")
        listed = re.split(r"[\s;,]+", given.strip()) if isinstance(given, str) else given
        if not isinstance(listed, list):
            listed = [listed]
        seeds = [_whole({"seeds": seed}, "seeds", 0) for seed in listed]
    else:
        first, takes = _whole(values, "seed", 0) or 0, _whole(values, "takes", 1) or 1
        if takes > MAX_TAKES:
            raise ValueError(f"it has {takes} takes; at most {MAX_TAKES} can be made of one recording")
        seeds = [first + take for take in range(takes)]
    known = [seed for seed in seeds if seed is not None]
    if not known or len(set(known)) != len(known) or max(known) >= 2**63 or len(known) > MAX_TAKES:
        raise ValueError(f"its seeds must be 1 to {MAX_TAKES} different numbers from 0 to 2^63 - 1")
    return tuple(known)


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"its {name} {_shown(value)} is not a text")
    return value.strip()


def _number(values: dict[str, Any], name: str, low: float, high: float = math.inf) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, str) or type(value) in (int, float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high or not math.isfinite(number):
        limits = f"from {low:g} on" if high == math.inf else f"from {low:g} to {high:g}"
        raise ValueError(f"its {name} {_shown(value)} is not a number {limits}")
    return number


def _whole(values: dict[str, Any], name: str, low: int) -> int | None:
    value = values.get(name)
    number = value if type(value) is int else None
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,19}(\.0+)?\s*", value):
        number = int(value.split(".")[0])
    if isinstance(value, float) and value.is_integer():
        number = int(value)
    if value is not None and (number is None or number < low):
        raise ValueError(f"its {name} {_shown(value)} is not a whole number from {low} on")
    return number


def _shown(value: Any) -> str:
    return f"“{str(value)[:40]}”"


def _read(path: Path) -> str:
    try:
        return read_text(path, MAX_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ManifestError(f"The manifest “{path.name}” is too large; split it.") from error
        raise ManifestError(
            f"The manifest “{path}” cannot be read: {error.strerror}.", "manifest_missing"
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"The manifest “{path.name}” is not text in UTF-8.") from error


def _check_columns(names: Iterable[str], where: str) -> None:
    unknown = sorted(set(names) - {*COLUMNS, *FOREIGN})
    if unknown:
        raise ManifestError(
            f"{where} has “{unknown[0]}”, which is none of {', '.join(COLUMNS)}.", "manifest_columns"
        )


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    text = _read(path)
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise ManifestError(f"The manifest “{path.name}” is not a well-formed table: {error}.") from error
    _check_columns((name for name in header if name), f"The first line of the manifest “{path.name}”")
    if "audio" not in header:
        raise ManifestError(f"The manifest “{path.name}” has no column “audio”.", "manifest_columns")
    if len(set(header)) != len(header):
        raise ManifestError(f"The manifest “{path.name}” has a column twice.", "manifest_columns")
    return _csv_values(path, reader, header)


def _csv_values(path: Path, reader: Any, header: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ManifestError(
                f"The manifest “{path.name}” is not a well-formed table from line {line} on: {error}."
            ) from error
        if cells is None:
            return
        cells = [cell.strip() for cell in cells]
        if any(cells):
            beyond = {EXTRA: cells[len(header)]} if any(cells[len(header) :]) else {}
            yield line, dict(zip(header, cells, strict=False)) | beyond


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        data = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"The manifest “{path.name}” is not valid JSON: {error}.") from error
    if isinstance(data, dict):
        data = data.get("jobs")
    if not isinstance(data, list):
        raise ManifestError(f"The manifest “{path.name}” is no list of jobs.")
    for number, row in enumerate(data, start=1):
        if isinstance(row, dict):
            _check_columns(row, f"Job {number} of the manifest “{path.name}”")
            yield number, row
        else:
            yield number, {"audio": row if isinstance(row, str) else None}
