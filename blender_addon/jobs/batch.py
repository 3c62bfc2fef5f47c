# SPDX-License-Identifier: GPL-3.0-or-later
"""Many lines from Blender's console or `blender --background`: a list of jobs, each generated, keyed and exported.

A job that fails is noted, and the rest goes on.
"""

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import bpy

from ..client import BackendError
from ..data.errors import UserError, explained
from ..data.text_file import read_text
from ..takes import audio_strip, showing
from ..takes.audio_strip import AudioSpan
from . import motion_exchange, style_list
from .exporting import EXPORTER_OF
from .generation import GenerationJob, GenerationSettings, Speech

_NUMBERS = dict.fromkeys(("seed", "takes"), int) | dict.fromkeys(
    ("start", "audio_start", "audio_seconds"), float
)
PASSED_OVER = {"output", "note"}  # columns that `diffposetalk batch` reads of the same list


@dataclass(frozen=True)
class BatchJob:
    """One line.

    audio: path of the recording.
    object: name of the head or character that speaks it.
    style: as `generate` takes it; None is the model's own.
    seed, takes: the takes' seeds are seed, seed + 1, ...
    start: scene frame where the speech begins.
    export: path to write, or several; the endings say what: .fbx, .abc, .glb, .usdc, and of the motion .csv (Live
        Link Face), .json (ARKit curves), .npz.
    audio_start, audio_seconds: part of the recording.
    """

    audio: str
    object: str
    style: Any = None
    seed: int = 0
    takes: int = 1
    start: float = 1.0
    export: tuple[str, ...] = ()
    audio_start: float = 0.0
    audio_seconds: float | None = None


@dataclass
class BatchResult:
    """What came of one job.

    state: "done" or "failed".
    error: why it failed, or which exports did.
    """

    row: int
    job: dict[str, Any]
    state: str = "done"
    error: str = ""
    actions: list[str] = field(default_factory=list)
    exports: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


def read_jobs(
    source: str | Path | Iterable[BatchJob | dict[str, Any]],
) -> tuple[list[tuple[int, BatchJob]], list[BatchResult]]:
    """Jobs from a CSV or JSON file, or from Python objects.

    A CSV file (comma, semicolon or tab) has a header with the names of `BatchJob`'s fields, and several exports with
    `;` between them; a JSON file is a list of objects. Relative paths count from the file's folder.

    Returns:
        (row number from 1 on, job), and results of the rows that cannot be one.

    Raises:
        UserError: the file cannot be read at all.
    """
    folder: Path | None = None
    if isinstance(source, str | Path):
        path = Path(bpy.path.abspath(str(source)))
        source, folder = _file_rows(path), path.parent
    jobs, bad = [], []
    for number, row in enumerate(source, 1):
        try:
            jobs.append((number, _job(row, folder)))
        except UserError as error:
            given = row if isinstance(row, dict) else {"row": str(row)}
            bad.append(BatchResult(number, given, "failed", str(error)))
    return jobs, bad


def _file_rows(path: Path) -> list[Any]:
    with explained(f"The job list “{path}” cannot be read"):
        text = read_text(path)
    if path.suffix.lower() == ".json":
        try:
            rows = json.loads(text)
        except ValueError as error:
            raise UserError(f"The job list “{path.name}” is not JSON: {error}.") from error
        if not isinstance(rows, list):
            raise UserError(f"The job list “{path.name}” is not a list of objects.")
        return rows
    header, *_ = text.split("\n", 1)
    delimiter = max(",;\t", key=header.count)  # spreadsheets write what their language wants
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        missing = {"audio", "object"} - set(reader.fieldnames or ())
        if missing:
            raise UserError(f"The job list “{path.name}” has no column “{sorted(missing)[0]}”.")
        return list(reader)
    except csv.Error as error:
        raise UserError(f"The job list “{path.name}” is not CSV: {error}.") from error


def _job(row: Any, folder: Path | None) -> BatchJob:
    """A row as a job. Raises UserError."""
    if isinstance(row, BatchJob):
        return row
    if not isinstance(row, dict):
        raise UserError("It is neither a BatchJob nor an object with its fields.")
    known = {f.name for f in fields(BatchJob)}
    if None in row:  # as the reader of CSV calls them
        raise UserError("It has more entries than the list has columns.")
    unknown = {str(name) for name in row} - known - PASSED_OVER
    if unknown:
        raise UserError(f"There is no field “{sorted(unknown)[0]}”.")
    values: dict[str, Any] = {k: v for k, v in row.items() if k in known and v not in ("", None)}
    for name in ("audio", "object"):
        if not values.get(name):
            raise UserError(f"“{name}” is missing.")
        values[name] = values[name].name if isinstance(values[name], bpy.types.Object) else str(values[name])
    for name, kind in _NUMBERS.items():
        if name in values:
            try:
                number = float(values[name])
                if not math.isfinite(number):
                    raise ValueError
                values[name] = kind(number)
            except (TypeError, ValueError) as error:
                raise UserError(f"“{name}” is not a number: {values[name]!r}.") from error
    exports = values.get("export", ())
    values["export"] = tuple(exports.split(";") if isinstance(exports, str) else map(str, exports))
    if folder is not None:
        values["audio"] = _absolute(values["audio"], folder)
        values["export"] = tuple(_absolute(path.strip(), folder) for path in values["export"])
        values["style"] = style_list.asked_style(values.get("style"), partial(_absolute, folder=folder))
    job = BatchJob(**values)
    if job.takes < 1:
        raise UserError("“takes” is less than 1.")
    for path in job.export:
        if Path(path).suffix.lower() not in {*EXPORTER_OF, *motion_exchange.FORMATS}:
            raise UserError(f"“{path}” has no ending that can be exported.")
    return job


def _absolute(path: str, folder: Path) -> str:
    return bpy.path.abspath(path) if path.startswith("//") else str(folder / path)


def run_batch(
    source: str | Path | Iterable[BatchJob | dict[str, Any]],
    settings: GenerationSettings,
    scene: bpy.types.Scene,
    place_sound: bool = False,
    on_progress: Callable[[int, int, BatchResult], None] | None = None,
    report: str | Path | None = None,
) -> list[BatchResult]:
    """Generate, key and export each job in turn.

    Args:
        settings: of all jobs; their own style and seeds replace its.
        on_progress: called after each job with its number, the number of all, and its result.
        report: JSON file that is written anew after each job.

    Returns:
        A result for each row, in the rows' order.

    Raises:
        UserError: the list or the report's place cannot be used.
    """
    jobs, results = read_jobs(source)
    target = Path(bpy.path.abspath(str(report))) if report is not None else None
    if target is not None and not target.parent.is_dir():
        raise UserError(f"The folder “{target.parent}” for the report does not exist.")
    total = len(jobs) + len(results)
    for done, (number, job) in enumerate(jobs, len(results) + 1):
        result = _run_job(number, job, settings, scene, place_sound)
        results.append(result)
        _write_report(target, results, total)
        if on_progress is not None:
            on_progress(done, total, result)
    _write_report(target, results, total)
    return sorted(results, key=lambda result: result.row)


def _run_job(
    number: int,
    job: BatchJob,
    settings: GenerationSettings,
    scene: bpy.types.Scene,
    place_sound: bool,
) -> BatchResult:
    """One job, whatever goes wrong."""
    began = time.monotonic()
    result = BatchResult(number, asdict(job))
    try:
        item = scene.objects.get(job.object)
        if item is None:
            elsewhere = " in this scene" if job.object in bpy.data.objects else ""
            raise UserError(f"There is no object “{job.object}”{elsewhere}.")
        whole = job.audio_start == 0.0 and job.audio_seconds is None
        path = audio_strip.check_audio_path(job.audio)
        span = AudioSpan(path, job.audio_start, job.audio_seconds, job.start)
        seeds = tuple(range(job.seed, job.seed + job.takes))
        options = replace(settings.options, seeds=seeds, style=style_list.asked_style(job.style))
        speech = Speech(span, (item,), place_sound and whole)
        generation = GenerationJob(scene, [speech], replace(settings, options=options))
        generation.complete()
        keyed = generation.results[0]
        result.actions = [action.name for by_take in keyed.actions for action in by_take]
        result.warnings = keyed.warnings
        _export(job.export, item, (int(keyed.start_frame), keyed.last_frame), result)
    except (UserError, BackendError) as error:
        result.state, result.error = "failed", str(error)
    except Exception as error:  # one job must not end the night's batch
        result.state, result.error = "failed", f"{type(error).__name__}: {error}"
    result.seconds = round(time.monotonic() - began, 2)
    return result


def _export(
    paths: Sequence[str], item: bpy.types.Object, frames: tuple[int, int], result: BatchResult
) -> None:
    """Write a job's files; one that cannot be written does not keep the others from being."""
    failures = []
    for path in paths:
        try:
            folder = Path(bpy.path.abspath(path)).parent
            with explained(f"The folder “{folder}” cannot be made"):
                folder.mkdir(parents=True, exist_ok=True)
            export = EXPORTER_OF.get(Path(path).suffix.lower())
            if export is not None:
                written = export.write([item], path, frames)
            else:
                [action] = showing.chosen_takes([item])
                job = motion_exchange.ExportMotionJob(action, path)
                job.complete()
                written = job.path
            result.exports.append(str(written))
        except (UserError, BackendError) as error:
            failures.append(str(error))
    if failures:
        result.state, result.error = "failed", " ".join(failures)


def _write_report(target: Path | None, results: list[BatchResult], total: int) -> None:
    """The report as far as it goes. Raises UserError."""
    if target is None:
        return
    content = {
        "jobs": total,
        "done": sum(result.state == "done" for result in results),
        "failed": sum(result.state == "failed" for result in results),
        "results": [asdict(result) for result in sorted(results, key=lambda result: result.row)],
    }
    with explained(f"The report “{target}” cannot be written"):
        target.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
