# SPDX-License-Identifier: GPL-3.0-or-later
"""`diffposetalk batch`: all lines of a manifest, on this machine or on a Ray cluster."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..batch.manifest import read_manifest
from ..batch.report import TEXT_NAME, BatchReport, summary
from ..errors import DiffPoseTalkError
from ..generation.arguments import (
    add_generation_arguments,
    add_model_arguments,
    chosen_options,
    load_chosen_model,
)
from ..terminal import ProgressLine

EXIT_SOME_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "manifest", type=Path, help="lines to be spoken (.csv or .json); see docs/batch_and_farm.md"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the clips and the report")
    add_generation_arguments(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace clips in the folder that no batch has made"
    )
    parser.add_argument(
        "--retries", type=int, default=1, help="how often a failed line is tried again (default: 1)"
    )
    parser.add_argument("--check", action="store_true", help="read the manifest, name bad rows and stop")
    add_model_arguments(parser)
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run on a Ray cluster: its address (HOST:PORT or auto), or local for one on this machine alone",
    )
    parser.add_argument(
        "--workers", type=int, help="with --ray: models at work (default: one a GPU, else one a CPU)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the batch; returns the exit status: 0, or 1 where some lines failed."""
    if arguments.retries < 0 or (arguments.workers is not None and arguments.workers < 1):
        raise DiffPoseTalkError("Retries are 0 or more, workers 1 or more.", "settings_batch")
    jobs, bad = read_manifest(arguments.manifest)
    for row in bad:
        print(f"row {row.row}: {row.message}", file=sys.stderr)
    report = BatchReport(arguments.manifest, len(jobs), bad)
    if arguments.check:
        print(f"{len(jobs)} lines, {len(bad)} bad rows")
        return EXIT_SOME_FAILED if bad else 0
    from ..batch.output_folder import OutputFolder

    progress = ProgressLine()

    def on_outcome(outcome: Any) -> None:
        report.outcomes.append(outcome)
        if outcome.status == "failed":
            progress.remark(f"row {outcome.row}: {outcome.message}")
        progress.count(len(report.outcomes), len(jobs))

    with OutputFolder(arguments.out) as out, stopping_on_terminate():
        try:
            if arguments.ray:
                from ..batch.ray_cluster import run_on_cluster

                report.facts = run_on_cluster(arguments, jobs, out.folder, on_outcome)
            else:
                from ..batch.speaking import Speaker

                options = chosen_options(arguments)
                model = load_chosen_model(arguments)
                own = {"overwrite": arguments.overwrite, "retries": arguments.retries}
                Speaker(model, out.folder, options, **own).run(jobs, on_outcome)
                report.facts = {"model": model.config.name, "compute": model.compute.describe()}
        finally:
            progress.end()
            data = report.write(out.folder)
            print(f"{summary(data)}; report: {out.folder / TEXT_NAME}")
    return EXIT_SOME_FAILED if report.failures else 0


@contextmanager
def stopping_on_terminate() -> Iterator[None]:
    """Let SIGTERM end the body as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
