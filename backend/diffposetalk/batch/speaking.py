# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs through one model: many in one device batch, done ones skipped, failures collected while the rest goes on.

Every clip is written whole and carries the key of what it was made from, so the output folder itself says what is
done: there is no journal that a killed process could leave in disagreement with it. Recordings are read as there is
room for them in the batch, and a job is forgotten once its clips are written: memory does not grow with the manifest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..errors import Cancelled, DeviceError, DiffPoseTalkError, OutputError
from ..files.digest import file_sha256
from ..generation.batching import generate_lines
from ..generation.draft import refuse_settings
from ..generation.line import Line
from ..generation.options import GenerationOptions
from ..generation.speak import load_shape
from ..motion.clip import MotionClip
from ..networks.model import DiffPoseTalk
from ..sound.audio import load_speech, probe
from ..styles.chosen import chosen_style
from .manifest import Job
from .output_folder import clip_path
from .take_key import KEY_NAME, TakeKeys, stored_key

log = logging.getLogger(__name__)

MADE, SKIPPED, FAILED = "made", "skipped", "failed"


@dataclass
class Outcome:
    """What became of a job.

    Attributes:
        row, audio, output: of the job. status: made, skipped (all of it was done before) or failed.
        clips: paths inside the output folder, those of earlier runs among them.
        made: how many of them are new. seconds: of speech times new takes.
        kind, message: of the error, where it failed. attempts: how often it was tried.
    """

    row: int
    audio: str
    output: str
    status: str
    clips: list[str] = field(default_factory=list)
    made: int = 0
    seconds: float = 0.0
    kind: str = ""
    message: str = ""
    attempts: int = 1


@dataclass
class _Work:
    job: Job
    options: GenerationOptions
    """Of the takes to be made."""
    keys: dict[int, str]
    seconds: float = 0.0


class Speaker:
    """Runs jobs through a model into a folder.

    Args:
        options: of all jobs; what a job has of its own goes before.
        folder: made where it is not there; held by the caller (see `output_folder`).
        overwrite: replace clips there that no batch has made.
        retries: how often a job that failed is tried again, after the others.
    """

    def __init__(
        self,
        model: DiffPoseTalk,
        folder: Path,
        options: GenerationOptions | None = None,
        *,
        overwrite: bool = False,
        retries: int = 1,
    ) -> None:
        self.model, self.folder = model, folder
        self.options = options or GenerationOptions()
        self.overwrite, self.retries = overwrite, retries
        self.keys = TakeKeys(model)

    def run(
        self,
        jobs: Iterable[Job],
        report: Callable[[Outcome], None],
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Make all clips that are not there yet; each job's outcome is reported once.

        Raises:
            Cancelled: `cancelled` said so. DeviceError: the device has gone, which no other job would survive.
        """
        for attempt in range(1, self.retries + 2):
            failed: list[tuple[Job, Outcome]] = []

            def on_outcome(job: Job, outcome: Outcome, attempt: int = attempt, failed: Any = failed) -> None:
                outcome.attempts = attempt
                if outcome.status == FAILED and attempt <= self.retries:
                    failed.append((job, outcome))
                else:
                    report(outcome)

            self._pass(iter(jobs), on_outcome, cancelled)
            jobs = [job for job, _ in failed]
            if not jobs:
                return

    def _pass(
        self,
        jobs: Iterator[Job],
        report: Callable[[Job, Outcome], None],
        cancelled: Callable[[], bool] | None,
    ) -> None:
        """Once through all jobs. Where a batch breaks, those in it go through one by one, to find the culprit."""
        while True:
            active: dict[int, _Work] = {}
            try:
                for index, clips in generate_lines(
                    self.model, self._lines(jobs, active, report), cancelled=cancelled
                ):
                    work = active.pop(index)
                    report(work.job, self._written(work, clips))
                return
            except Exception as error:
                if _ends_all(error):
                    raise
                log.warning("a batch broke (%s); its %d lines are tried one by one", error, len(active))
            for work in active.values():
                report(work.job, self._alone(work, cancelled))

    def _lines(
        self, jobs: Iterator[Job], active: dict[int, _Work], report: Callable[[Job, Outcome], None]
    ) -> Iterator[Line]:
        """Lines of the jobs that have something to be made; the others are reported on the way."""
        index = 0
        for job in jobs:
            try:
                work = self._missing(job)
                line = None if work is None else self._line(work)
            except Exception as error:
                report(job, _failure(job, error))
                continue
            if work is None or line is None:
                report(job, Outcome(job.row, job.audio, job.output, SKIPPED, _names(job)))
                continue
            active[index] = work
            index += 1
            yield line

    def _missing(self, job: Job) -> _Work | None:
        """The takes of a job that are not there yet; None where all are."""
        try:
            digest = file_sha256(job.audio)
        except OSError:
            probe(job.audio)  # says what is wrong with it
            raise
        # What the job says itself, else what is said of all jobs.
        own = {option.name: getattr(job, option.name, None) for option in fields(GenerationOptions)}
        options = replace(self.options, **{name: value for name, value in own.items() if value is not None})
        keys = {seed: self.keys.key(job, replace(options, seeds=(seed,)), digest) for seed in job.seeds}
        missing = []
        for seed, key in keys.items():
            path = clip_path(self.folder, job.clip_name(seed))
            there = stored_key(path)
            if there == "" and not self.overwrite:
                raise OutputError(
                    f"“{job.clip_name(seed)}” is there already and was not made by a batch; choose another name, "
                    "move it away or allow overwriting.",
                    "output_exists",
                )
            if there != key:
                missing.append(seed)
        return _Work(job, replace(options, seeds=tuple(missing)), keys) if missing else None

    def _line(self, work: _Work) -> Line:
        job, options = work.job, work.options
        refuse_settings(self.model, options)
        audio = load_speech(job.audio, job.audio_start, job.audio_seconds)
        work.seconds = audio.seconds
        return Line(audio, options, *chosen_style(self.model, options.style), load_shape(options.shape))

    def _written(self, work: _Work, clips: list[MotionClip]) -> Outcome:
        job = work.job
        try:
            for seed, clip in zip(work.options.seeds, clips, strict=True):
                clip.provenance[KEY_NAME] = work.keys[seed]
                clip.save(clip_path(self.folder, job.clip_name(seed)))
        except Exception as error:
            return _failure(job, error)
        seconds = round(work.seconds * len(clips), 3)
        return Outcome(job.row, job.audio, job.output, MADE, _names(job), len(clips), seconds)

    def _alone(self, work: _Work, cancelled: Callable[[], bool] | None) -> Outcome:
        try:
            [(_, clips)] = generate_lines(self.model, [self._line(work)], cancelled=cancelled)
        except Exception as error:
            if _ends_all(error):
                raise
            return _failure(work.job, error)
        return self._written(work, clips)


def _names(job: Job) -> list[str]:
    return [job.clip_name(seed) for seed in job.seeds]


def _ends_all(error: Exception) -> bool:
    """Whether the batch was cancelled, or the device is of no use to other jobs either."""
    lost = isinstance(error, DeviceError) and error.kind != "out_of_memory"
    return lost or isinstance(error, Cancelled)


def _failure(job: Job, error: Exception) -> Outcome:
    if isinstance(error, DiffPoseTalkError):
        kind, message = error.kind, error.message
    elif isinstance(error, OSError):
        kind, message = "file", f"“{error.filename}”: {error.strerror or error}."
    else:
        log.error("unforeseen error in row %d", job.row, exc_info=error)
        message = f"An internal error occurred ({type(error).__name__}: {error}). See the log."
        kind = "internal"
    return Outcome(job.row, job.audio, job.output, FAILED, kind=kind, message=message)
