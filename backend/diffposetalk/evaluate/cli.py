# SPDX-License-Identifier: GPL-3.0-or-later
"""`diffposetalk evaluate`: measure a model, other systems' motion and baselines on held-out recordings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, DiffPoseTalkError, ModelError, OutputError
from ..generation.arguments import (
    add_generation_arguments,
    add_model_arguments,
    chosen_options,
    load_chosen_model,
)

if TYPE_CHECKING:
    from ..head.geometry import FaceRegions
    from ..head.head_model import HeadModel
    from ..motion.clip import MotionClip
    from ..networks.model import DiffPoseTalk
    from ..train.recording import Skipped
    from .references import Reference
    from .results import Corpus, Evaluation
    from .subjects import ModelSubject, Subject

PHONE_AVERAGE_CLIPS = 300
"""Training clips that the per-phone average is taken from."""
STYLE_SECONDS = 8.0
"""Of speech that is said in every style, two windows of the style encoder."""
NAMED = 5
"""Recordings left out that are named, at most."""
LONG_TAKES = 4
"""At most, of the long recording."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `diffposetalk evaluate`."""
    parser.add_argument(
        "data",
        type=Path,
        help="recordings kept out of training, with their motion: a folder of (sound, motion) pairs, a list, an "
        "LMDB, a corpus with phones, or a folder of corpora",
    )
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--split",
        choices=("validation", "test"),
        default="validation",
        help="which recordings: those kept out of training, or those listed for testing (default: validation)",
    )
    what.add_argument("--no-model", action="store_true", help="measure motion files and baselines only")
    what.add_argument(
        "--motions",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="motion files of another system, named like the recordings; may be given again",
    )
    what.add_argument("--motions-fps", type=float, help="frame rate of motion files that do not state it")
    what.add_argument(
        "--baseline", action="store_true", help="add the per-phone average of the training clips"
    )
    what.add_argument(
        "--regressor",
        type=Path,
        metavar="MODEL",
        help="add a plain regressor, trained with --ablation regressor",
    )
    what.add_argument("--head", type=Path, help="head asset to measure on (default: the bundled one)")
    what.add_argument(
        "--model-head", type=Path, help="head asset of the model, where it speaks another basis than --head"
    )
    how = parser.add_argument_group("how the model speaks")
    how.add_argument(
        "--style",
        default="speaker",
        help="“speaker” (of another recording of the same speaker), “none”, a preset, or a clip (.npz) or vector "
        "(.npy) (default: speaker)",
    )
    how.add_argument("--runs", type=int, default=10, help="runs with different seeds (default: 10)")
    how.add_argument("--seed", type=int, default=0, help="first seed (default: 0)")
    add_generation_arguments(how)
    add_model_arguments(how)
    more = parser.add_argument_group("how much")
    more.add_argument("--clips", type=int, help="recordings a corpus (default: all)")
    more.add_argument(
        "--align", action="store_true", help="align transcripts (NAME.txt) where phones are missing"
    )
    more.add_argument(
        "--noise", type=float, metavar="DB", help="add noise to the sound at this signal-to-noise ratio (dB)"
    )
    more.add_argument(
        "--long-seconds",
        type=float,
        default=60.0,
        help="length of the long recording for seams, blinks and head motion (s; 0: none; default: 60)",
    )
    more.add_argument(
        "--styles",
        metavar="NUMBER|FOLDER",
        help="measure style retrieval among this many drawn styles, or among the motion clips of a folder "
        "(default: not at all)",
    )
    out = parser.add_argument_group("results")
    out.add_argument("--report", type=Path, help="write a report page (.html)")
    out.add_argument("--json", type=Path, help="write all figures (.json)")
    out.add_argument("--pictures", type=int, default=3, help="recordings pictured a corpus (default: 3)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, write the report; returns the exit status."""
    for path in (arguments.report, arguments.json):
        if path is not None and (path.is_dir() or not path.resolve().parent.is_dir()):
            raise OutputError(f"“{path}” cannot be written: name a file in a folder that exists.")
    if arguments.runs < 1 or (arguments.clips is not None and arguments.clips < 1) or arguments.pictures < 0:
        raise DiffPoseTalkError("Runs and clips are at least one, pictures at least none.", "settings_runs")
    if arguments.no_model and not (arguments.motions or arguments.baseline or arguments.regressor):
        raise DiffPoseTalkError(
            "Nothing to measure: --no-model needs --motions, --baseline or --regressor.", "settings_runs"
        )
    if arguments.report:
        from .plots import require_matplotlib

        require_matplotlib()
    from ..head.head_model import load_head
    from .results import to_json, to_text

    head = load_head(arguments.head)
    evaluation = gather(arguments, head)
    sys.stdout.write(to_text(evaluation))
    if arguments.json:
        _write(arguments.json, to_json(evaluation))
    if arguments.report:
        from .report import write_report

        _tell("drawing the report")
        print(write_report(evaluation, arguments.report, head))
    return 0


def gather(arguments: argparse.Namespace, head: HeadModel) -> Evaluation:
    """Everything that the arguments ask for, measured."""
    from ..head.geometry import FaceRegions
    from .evaluation import evaluate
    from .references import passed_over, read_references, with_noise
    from .results import Corpus, Evaluation

    regions = FaceRegions(head)
    skipped: list[Skipped] = []
    try:
        corpora = read_references(
            arguments.data,
            head,
            split=arguments.split,
            limit=arguments.clips,
            align=arguments.align,
            on_skip=skipped.append,
        )
    except DataError as error:
        if error.kind == "data_split" and skipped:
            raise DataError(
                f"{error.message} First: {skipped[0].id}: {skipped[0].reason}", error.kind
            ) from error
        raise
    _check_basis(corpora, head)
    subject = None if arguments.no_model else _model_subject(arguments, head)
    average = _phone_average(arguments, head) if arguments.baseline else None
    regressor = _regressor(arguments) if arguments.regressor else None
    evaluation = Evaluation(_settings(arguments, head, subject), [])
    if skipped:
        evaluation.notes.append(
            f"{len(skipped)} recordings are left out. "
            + " ".join(f"{one.id}: {one.reason}" for one in skipped[:NAMED])
            + (" …" if len(skipped) > NAMED else "")
        )
    others = passed_over(arguments.data)
    if others:
        evaluation.notes.append(f"Not measured, as they have no index.json with phones: {', '.join(others)}.")
    spoken_for: set[str] = set()
    for name, references in corpora.items():
        if arguments.noise is not None:
            references = [with_noise(reference, arguments.noise) for reference in references]
        has_motion = any(reference.motion is not None for reference in references)
        subjects = _subjects(arguments, references, subject, regressor, average, has_motion, spoken_for)
        if not any(reference.phones for reference in references):
            evaluation.notes.append(
                f"{name}: no phones, so articulation is not measured. Give them in index.json, or transcripts "
                "and --align."
            )
        seconds = sum(reference.audio().seconds for reference in references)
        corpus = Corpus(name, references, [], seconds)
        for one in subjects:
            corpus.figures.append(
                evaluate(one, references, regions, bool(arguments.report), _progress(f"{one.name} on {name}"))
            )
        corpus.pictured = _pictured(corpus, arguments.pictures)
        evaluation.corpora.append(corpus)
    missed = [folder for _, folder in _motion_folders(arguments) if str(folder) not in spoken_for]
    if missed:
        raise DataError(
            f"“{missed[0]}” holds no motion named like the recordings (ID.npz or ID-seed0.npz).",
            "data_missing",
        )
    if subject is not None:
        _measure_model_alone(arguments, head, regions, subject, evaluation.corpora, evaluation)
    return evaluation


def _pictured(corpus: Corpus, count: int) -> list[int]:
    """Recordings evenly spread over a corpus, one of which gives way to the worst."""
    from .references import spread

    worst = corpus.worst()
    if count < 2 or worst is None or len(corpus.references) <= count:
        return spread(list(range(len(corpus.references))), count)
    others = [index for index in range(len(corpus.references)) if index != worst]
    return sorted([worst, *spread(others, count - 1)])


def _subjects(
    arguments: argparse.Namespace,
    references: list[Reference],
    model: ModelSubject | None,
    regressor: Subject | None,
    average: Subject | None,
    has_motion: bool,
    spoken_for: set[str],
) -> list[Subject]:
    """Who speaks on a corpus."""
    from .subjects import MotionFolder, Recorded

    subjects: list[Subject] = [Recorded()] if has_motion else []
    if model is not None:
        subjects.append(model)
    if regressor is not None:
        subjects.append(regressor)
    for name, folder in _motion_folders(arguments):
        if not folder.is_dir() or MotionFolder.speaks(folder, references):
            subjects.append(MotionFolder(folder, references, name, arguments.motions_fps))
            spoken_for.add(str(folder))
    if average is not None and all(reference.phones for reference in references):
        subjects.append(average)
    return subjects


def _motion_folders(arguments: argparse.Namespace) -> list[tuple[str, Path]]:
    """(name or "", folder) of each --motions."""
    parsed = []
    for given in arguments.motions:
        name, equals, folder = given.partition("=")
        if not equals or Path(given).is_dir():
            name, folder = "", given
        parsed.append((name, Path(folder)))
    return parsed


def _check_basis(corpora: dict[str, list[Reference]], head: HeadModel) -> None:
    for references in corpora.values():
        for reference in references:
            if reference.motion is not None and reference.motion.basis != head.basis:
                raise ModelError(
                    f"The motion of {reference.id} is in the {reference.motion.basis} basis, the head it would be "
                    f"measured on shows {head.basis}. Give a head of its basis: --head FILE.npz.",
                    "head_basis",
                )


def _model_subject(arguments: argparse.Namespace, head: HeadModel) -> ModelSubject:
    """The model, with conversions where it does not speak the head's basis."""
    from .subjects import ModelSubject

    options = chosen_options(arguments, (arguments.seed,))
    model = load_chosen_model(arguments)
    to_reference, from_reference = _conversions(arguments, head, model)
    return ModelSubject(
        model,
        model.config.name,
        runs=arguments.runs,
        style=arguments.style,
        options=options,
        to_reference=to_reference,
        from_reference=from_reference,
    )


def _regressor(arguments: argparse.Namespace) -> Subject:
    from ..networks.checkpoint import load_model
    from .regressor import RegressorSubject

    return RegressorSubject(load_model(arguments.regressor, arguments.device))


def _conversions(
    arguments: argparse.Namespace, head: HeadModel, model: DiffPoseTalk
) -> tuple[Callable[[MotionClip], MotionClip] | None, Callable[[MotionClip], MotionClip] | None]:
    if model.config.basis == head.basis:
        return None, None
    if arguments.model_head is None:
        raise ModelError(
            f"The model speaks the {model.config.basis} basis, the head that is measured on shows {head.basis}. "
            "Give a head of the model's basis to convert from: --model-head FILE.npz.",
            "head_basis",
        )
    from ..head.basis_conversion import convert, correspond

    own = _model_head(arguments, head, model)
    there, back = correspond(own, head), correspond(head, own)
    return (
        lambda clip: convert(clip, own, head, there)[0],
        lambda clip: convert(clip, head, own, back)[0],
    )


def _model_head(arguments: argparse.Namespace, head: HeadModel, model: DiffPoseTalk) -> HeadModel:
    """The head that shows the model's own basis."""
    from ..head.head_model import load_head

    if model.config.basis == head.basis:
        return head
    own = load_head(arguments.model_head)
    if own.basis != model.config.basis:
        raise ModelError(
            f"“{arguments.model_head}” shows the {own.basis} basis; the model speaks {model.config.basis}.",
            "head_basis",
        )
    return own


def _phone_average(arguments: argparse.Namespace, head: HeadModel) -> Subject:
    """The per-phone average of the data's training clips.

    Raises:
        DataError: there are none with phones and motion.
    """
    from ..motion.clip import to_vectors
    from .phone_average import fit_phone_average
    from .references import read_references
    from .subjects import PhoneAverageSubject

    corpora = read_references(
        arguments.data,
        head,
        split="train",
        limit=PHONE_AVERAGE_CLIPS,
        align=arguments.align,
        on_skip=lambda skipped: None,  # told of already
    )
    spoken = [
        (reference.phones, to_vectors(reference.motion, 54))
        for references in corpora.values()
        for reference in references
        if reference.phones and reference.motion is not None and reference.motion.basis == head.basis
    ]
    if not spoken:
        raise DataError(
            "The per-phone average needs training recordings with phones and motion; this data has none.",
            "data_phones",
        )
    return PhoneAverageSubject(
        fit_phone_average(spoken), head.basis, notes=[f"averaged from {len(spoken)} training recordings"]
    )


def _measure_model_alone(
    arguments: argparse.Namespace,
    head: HeadModel,
    regions: FaceRegions,
    subject: ModelSubject,
    corpora: list[Corpus],
    evaluation: Evaluation,
) -> None:
    """The long recording and the following of styles, which need the model itself."""
    from ..head.geometry import FaceRegions
    from .long_take import evaluate_long_take, joined_speech
    from .style_following import drawn_style_references, evaluate_style_following, read_style_references

    model = subject.model
    own = _model_head(arguments, head, model)
    own_regions = regions if own is head else FaceRegions(own)
    references = corpora[0].references
    if arguments.long_seconds > 0:
        _tell("the long recording")
        seeds = [arguments.seed + take for take in range(min(arguments.runs, LONG_TAKES))]
        evaluation.long_take = evaluate_long_take(
            model,
            joined_speech(references, arguments.long_seconds),
            subject.style_of(references, 0),
            own_regions,
            replace(subject.options, seeds=tuple(seeds)),
        )
    if arguments.styles and arguments.styles != "0":
        _tell("styles")
        if arguments.styles.isdecimal():
            clips = drawn_style_references(references, max(2, int(arguments.styles)))
            clips = [subject.from_reference(clip) for clip in clips] if subject.from_reference else clips
        else:
            clips = read_style_references(arguments.styles)
        evaluation.style = evaluate_style_following(
            model,
            clips,
            joined_speech(references, STYLE_SECONDS),
            own_regions,
            subject.options,
        )


def _settings(arguments: argparse.Namespace, head: HeadModel, subject: ModelSubject | None) -> dict[str, str]:
    """What a reader must know to judge or repeat the evaluation."""
    from datetime import datetime, timezone

    from ..version import VERSION

    settings: dict[str, str] = {}
    if subject is not None:
        config = subject.model.config
        defaults = config.sampling
        settings |= {
            "Model": config.name,
            "Weights": f"SHA-256 {subject.model.sha256[:16]}…",
            "Basis": config.basis + ("" if config.basis == head.basis else f", converted to {head.basis}"),
            "Runs": f"{arguments.runs}, seeds from {arguments.seed}",
            "Style": "of another recording of the speaker"
            if arguments.style == "speaker"
            else arguments.style,
            "Sampling": f"{arguments.sampler or defaults.sampler}, {arguments.steps or defaults.steps} steps",
            "Guidance": f"speech {_or(arguments.speech_guidance, defaults.speech_guidance):g}, "
            f"style {_or(arguments.style_guidance, defaults.style_guidance):g}",
        }
    settings |= {
        "Data": arguments.data.resolve().name
        + ("" if arguments.noise is None else f", with noise at {arguments.noise:g} dB"),
        "Head": str(head.arrays.get("name", arguments.head or "bundled")),
        "Made": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC by diffposetalk {VERSION}",
    }
    return settings


def _or(given: float | None, default: float) -> float:
    return default if given is None else given


def _progress(title: str) -> Callable[[int, int], None]:
    """Tells each tenth of the recordings on standard error."""

    def tell(done: int, total: int) -> None:
        if done == total or done * 10 // total != (done - 1) * 10 // total:
            _tell(f"{title}: {done} of {total}")

    return tell


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write “{path}”: {error.strerror}.") from error
    print(path)
