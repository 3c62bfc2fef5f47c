# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be measured: a model, the motion files of another system, a baseline, or the recorded motion itself.

A subject gives, for each reference recording, one clip a run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch

from ..errors import DataError, MotionError
from ..generation.batching import generate_lines
from ..generation.line import Line
from ..generation.options import GenerationOptions
from ..motion.clip import MotionClip, from_vectors
from ..motion.formats import read_motion
from ..networks.model import DiffPoseTalk
from ..styles import MIN_REFERENCE_FRAMES, StyleRequest, extract_style
from ..train.recordings import check_length
from .phone_average import PhoneAverage
from .references import Reference

Convert = Callable[[MotionClip], MotionClip]


SPEAKER = "speaker"
"""Style of a model: that of another recording of the same speaker."""
_SEED = re.compile(r"^(?P<id>.*)-seed(?P<seed>\d+)$")


class Subject(Protocol):
    """Something that speaks.

    Attributes:
        name: its row in tables.
        runs: clips it gives for each recording.
        notes: what a reader of its figures should know.
    """

    name: str
    runs: int
    notes: list[str]

    def takes(self, references: Sequence[Reference]) -> Iterator[tuple[int, list[MotionClip]]]:
        """(index of the reference, one clip a run), in any order."""
        ...


@dataclass
class ModelSubject:
    """A model, run with `runs` seeds, all takes of all recordings batched together.

    Attributes:
        style: `speaker`, or any word that names a style (`config.STYLE_WORDS`).
        options: how takes are made, the first of whose seeds counts.
        to_reference, from_reference: conversion of motion from and to the model's basis, where the references speak
            another.
    """

    model: DiffPoseTalk
    name: str
    runs: int = 10
    style: str = SPEAKER
    options: GenerationOptions = field(default_factory=GenerationOptions)
    to_reference: Convert = field(default=lambda clip: clip)
    from_reference: Convert = field(default=lambda clip: clip)
    notes: list[str] = field(default_factory=list)

    def takes(self, references: Sequence[Reference]) -> Iterator[tuple[int, list[MotionClip]]]:
        """Generate; run r of reference i has the options' first seed + r * len(references) + i."""
        first = self.options.seeds[0]

        def line(index: int, reference: Reference) -> Line:
            seeds = tuple(first + run * len(references) + index for run in range(self.runs))
            options = replace(self.options, seeds=seeds)
            style = self.style_of(references, index)
            return Line(reference.audio(), options, style, self.style, self._shape(reference))

        lines = (line(index, reference) for index, reference in enumerate(references))
        for index, clips in generate_lines(self.model, lines):
            yield index, [self.to_reference(clip) for clip in clips]

    def style_of(self, references: Sequence[Reference], index: int) -> torch.Tensor | None:
        """The style vector that a reference is spoken in; with `speaker` never from the reference itself.

        Raises:
            StyleError: the preset is not known, or the file cannot be used.
        """
        if self.style != SPEAKER:
            return StyleRequest.parse(self.style).resolve(self.model)
        for other in (*references[index + 1 :], *references[:index]):
            motion = other.motion if other.speaker == references[index].speaker else None
            if motion is not None and len(motion) >= MIN_REFERENCE_FRAMES:
                return extract_style(self.model, self.from_reference(motion))
        default = self.model.config.sampling.style
        used = f"the model's preset “{default}” is used." if default else "no style is used."
        note = f"No other recording of the speaker has motion to take the style from: {used}"
        self.notes += [] if note in self.notes else [note]
        return StyleRequest("preset", default).resolve(self.model) if default else None

    def _shape(self, reference: Reference) -> torch.Tensor | None:
        motion = reference.motion
        if motion is None or motion.shape is None or motion.basis != self.model.config.basis:
            return None
        return torch.as_tensor(motion.shape, dtype=torch.float32)


class MotionFolder:
    """Motion files that some system made for the references, named like them.

    One file ID.npz (or Live Link ID.csv) a recording; several runs as subfolders that each hold all of them, or as
    ID-seed0.npz, ID-seed1.npz, … as our own command line names takes. Where ids are paths, their last part will do if
    no two share it.

    Raises:
        DataError: kind data_missing; the folder is not there, or lacks recordings in some run.
    """

    def __init__(
        self, folder: str | Path, references: Sequence[Reference], name: str = "", fps: float | None = None
    ) -> None:
        self.folder = Path(folder)
        self.name = name or self.folder.name
        self.fps = fps
        self.notes: list[str] = []
        if not self.folder.is_dir():
            raise DataError(f"There is no folder of motion files at “{folder}”.", "data_missing")
        self._files = self._find([reference.id for reference in references])
        self.runs = len(self._files)

    @staticmethod
    def speaks(folder: str | Path, references: Sequence[Reference]) -> bool:
        """Whether any file below the folder is named like one of the references."""
        stems = {path.stem for suffix in ("*.npz", "*.csv") for path in Path(folder).rglob(suffix)}
        names = {match["id"] if (match := _SEED.match(stem)) else stem for stem in stems} | stems
        return any(Path(reference.id).name in names for reference in references)

    def _find(self, ids: list[str]) -> list[dict[str, Path]]:
        """Files by id, of each run; ids that are paths may also be named by their last part, where that is unique."""
        names, last = {id: id for id in ids}, {id: Path(id).name for id in ids}
        runs = self._runs(ids)
        if not runs and len(set(last.values())) == len(ids):
            names, runs = last, self._runs(list(last.values()))
        for run, files in runs or [("", {})]:
            missing = [id for id in ids if names[id] not in files]
            if missing:
                named = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
                where = f"“{self.folder}”" + (f", run {run}," if run else "")
                raise DataError(
                    f"{where} lacks {len(missing)} of {len(ids)} recordings: {named}. Files must be named like the "
                    "references (ID.npz).",
                    "data_missing",
                )
        return [{id: files[names[id]] for id in ids} for _, files in runs]

    def _runs(self, names: list[str]) -> list[tuple[str, dict[str, Path]]]:
        """(run, its files by name): one run, one a seed, or one a subfolder; empty if no name is met."""
        wanted = set(names)
        whole = _motion_files(self.folder)
        seeds: dict[int, dict[str, Path]] = {}
        for stem, path in whole.items():
            if match := _SEED.match(stem):
                seeds.setdefault(int(match["seed"]), {})[match["id"]] = path
        folders = sorted(path for path in self.folder.iterdir() if path.is_dir())
        for candidates in (
            [("", whole)],
            [(f"seed {seed}", seeds[seed]) for seed in sorted(seeds)],
            [(path.name, _motion_files(path)) for path in folders],
        ):
            runs = [(run, files) for run, files in candidates if wanted & files.keys()]
            if runs:
                return runs
        return []

    def takes(self, references: Sequence[Reference]) -> Iterator[tuple[int, list[MotionClip]]]:
        """Read the files.

        Raises:
            MotionError: a file is damaged, not finite, not as long as its recording, or of another basis.
        """
        for index, reference in enumerate(references):
            clips = []
            seconds = reference.audio().seconds
            for files in self._files:
                path = files[reference.id]
                clip = read_motion(path, fps=self.fps, seconds=seconds)
                check_length(clip, seconds, path.name)
                if reference.motion is not None and clip.basis != reference.motion.basis:
                    raise MotionError(
                        f"“{path.name}” is in the {clip.basis} basis, the references are in "
                        f"{reference.motion.basis}. Convert it first: diffposetalk convert motion.",
                        "motion_basis",
                    )
                clips.append(clip)
            yield index, clips


def _motion_files(folder: Path) -> dict[str, Path]:
    """Motion files below a folder by their path-like names, as `Reference.id` has them."""
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for suffix in ("*.csv", "*.npz")
        for path in sorted(folder.rglob(suffix))
    }


@dataclass
class PhoneAverageSubject:
    """The per-phone average of a tracked speaker; speaks only what has phones."""

    average: PhoneAverage
    basis: str = "arkit"
    name: str = "per-phone average"
    runs: int = 1
    notes: list[str] = field(default_factory=list)

    def takes(self, references: Sequence[Reference]) -> Iterator[tuple[int, list[MotionClip]]]:
        """Look the phones up. Raises DataError if a recording has none."""
        for index, reference in enumerate(references):
            if not reference.phones:
                raise DataError(
                    f"{reference.id} has no phones, which the per-phone average speaks from. "
                    "Give them in index.json, or --align a transcript.",
                    "data_phones",
                )
            frames = reference.audio().frames
            exp, pose = from_vectors(self.average.motion(reference.phones, frames))
            yield index, [MotionClip(exp, pose, basis=self.basis)]


@dataclass
class Recorded:
    """The references' own motion: the real speaker's column."""

    name: str = "recorded"
    runs: int = 1
    notes: list[str] = field(default_factory=list)

    def takes(self, references: Sequence[Reference]) -> Iterator[tuple[int, list[MotionClip]]]:
        """Those that have motion."""
        for index, reference in enumerate(references):
            if reference.motion is not None:
                yield index, [reference.motion]
