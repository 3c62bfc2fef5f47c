# SPDX-License-Identifier: GPL-3.0-or-later
"""`diffposetalk evaluate`: measure a model, other systems' motion and baselines on held-out recordings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
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
    from ..head.head_model import HeadModel
    from ..train.recording import Skipped
    from .results import Corpus, Evaluation
    from .subjects import ModelSubject, Subject

_wrong_basis = partial(ModelError, kind="head_basis")

PHONE_AVERAGE_CLIPS = 300
"""Training clips that the per-phone average is taken from."""
STYLE_SECONDS = 8.0
"""Of speech that is said in every style, two windows of the style encoder."""
NAMED = 5
"""Recordings left out that are named, at most."""
LONG_TAKES = 4
"""At most, of the long recording."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    from ..networks.checkpoint import load_model
    from .evaluation import evaluate
    from .references import passed_over, read_references, with_noise
    from .regressor import RegressorSubject
    from .results import Corpus, Evaluation
    from .subjects import MotionFolder, Recorded

    regions = FaceRegions(head)
    skipped: list[Skipped] = []
    try:
        corpora = read_references(
            arguments.data, head, arguments.split, arguments.clips, arguments.align, skipped.append
        )
    except DataError as error:
        if error.kind == "data_split" and skipped:
            raise DataError(
                f"{error.message} First: {skipped[0].id}: {skipped[0].reason}", error.kind
            ) from error
        raise
    for references in corpora.values():
        for reference in references:
            if reference.motion is not None and reference.motion.basis != head.basis:
                raise _wrong_basis(
                    f"The motion of {reference.id} is in the {reference.motion.basis} basis, the head it would be "
                    f"measured on shows {head.basis}. Give a head of its basis: --head FILE.npz."
                )
    subject, own_head = (None, head) if arguments.no_model else _model_subject(arguments, head)
    average = _phone_average(arguments, head) if arguments.baseline else None
    speakers: list[Subject] = [] if subject is None else [subject]
    if arguments.regressor:
        speakers.append(RegressorSubject(load_model(arguments.regressor, arguments.device)))
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
    folders = [_motion_folder(given) for given in arguments.motions]
    unheard = {folder: None for folder, _ in folders}
    for name, references in corpora.items():
        if arguments.noise is not None:
            references = [with_noise(reference, arguments.noise) for reference in references]
        subjects: list[Subject] = [Recorded()] if any(r.motion is not None for r in references) else []
        subjects += speakers
        for folder, named in folders:
            if not folder.is_dir() or MotionFolder.speaks(folder, references):
                subjects.append(MotionFolder(folder, references, named, arguments.motions_fps))
                unheard.pop(folder, None)
        if average is not None and all(reference.phones for reference in references):
            subjects.append(average)
        if not any(reference.phones for reference in references):
            evaluation.notes.append(
                f"{name}: no phones, so articulation is not measured. Give them in index.json, or transcripts "
                "and --align."
            )
        corpus = Corpus(name, references, [], sum(reference.audio().seconds for reference in references))
        for one in subjects:
            on_clip = _progress(f"{one.name} on {name}")
            corpus.figures.append(evaluate(one, references, regions, bool(arguments.report), on_clip))
        corpus.pictured = _pictured(corpus, arguments.pictures)
        evaluation.corpora.append(corpus)
    if unheard:
        raise DataError(
            f"“{next(iter(unheard))}” holds no motion named like the recordings (ID.npz or ID-seed0.npz).",
            "data_missing",
        )
    if subject is not None:
        _measure_model_alone(arguments, own_head, subject, evaluation)
    return evaluation


def _pictured(corpus: Corpus, count: int) -> list[int]:
    """Recordings evenly spread over a corpus, one of which gives way to the worst."""
    from .references import spread

    worst = corpus.worst()
    if count < 2 or worst is None or len(corpus.references) <= count:
        return spread(list(range(len(corpus.references))), count)
    others = [index for index in range(len(corpus.references)) if index != worst]
    return sorted([worst, *spread(others, count - 1)])


def _motion_folder(given: str) -> tuple[Path, str]:
    name, equals, folder = given.partition("=")
    return (Path(folder), name) if equals and not Path(given).is_dir() else (Path(given), "")


def _model_subject(arguments: argparse.Namespace, head: HeadModel) -> tuple[ModelSubject, HeadModel]:
    """The model with a head that shows its own basis, and conversions where `head` shows another."""
    from ..head.basis_conversion import convert, correspond
    from ..head.head_model import load_head
    from .subjects import ModelSubject

    options = chosen_options(arguments, (arguments.seed,))
    model = load_chosen_model(arguments)
    subject = ModelSubject(model, model.config.name, arguments.runs, arguments.style, options)
    basis = model.config.basis
    if basis == head.basis:
        return subject, head
    if arguments.model_head is None:
        raise _wrong_basis(
            f"The model speaks the {basis} basis, the head that is measured on shows {head.basis}. "
            "Give a head of the model's basis to convert from: --model-head FILE.npz."
        )
    own = load_head(arguments.model_head)
    if own.basis != basis:
        raise _wrong_basis(f"“{arguments.model_head}” shows the {own.basis} basis; the model speaks {basis}.")
    there, back = correspond(own, head), correspond(head, own)
    subject.to_reference = lambda clip: convert(clip, own, head, there)[0]
    subject.from_reference = lambda clip: convert(clip, head, own, back)[0]
    return subject, own


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
        arguments.data, head, "train", PHONE_AVERAGE_CLIPS, arguments.align, lambda skipped: None
    )  # what is left out has been told of already
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
    arguments: argparse.Namespace, head: HeadModel, subject: ModelSubject, evaluation: Evaluation
) -> None:
    """The long recording and the following of styles, which need the model itself on a head of its basis."""
    from ..head.geometry import FaceRegions
    from .long_take import evaluate_long_take, joined_speech
    from .style_following import drawn_style_references, evaluate_style_following, read_style_references

    model, regions = subject.model, FaceRegions(head)
    references = evaluation.corpora[0].references
    if arguments.long_seconds > 0:
        _tell("the long recording")
        seeds = tuple(arguments.seed + take for take in range(min(arguments.runs, LONG_TAKES)))
        speech, style = joined_speech(references, arguments.long_seconds), subject.style_of(references, 0)
        options = replace(subject.options, seeds=seeds)
        evaluation.long_take = evaluate_long_take(model, speech, style, regions, options)
    if arguments.styles and arguments.styles != "0":
        _tell("styles")
        if arguments.styles.isdecimal():
            drawn = drawn_style_references(references, max(2, int(arguments.styles)))
            clips = [subject.from_reference(clip) for clip in drawn]
        else:
            clips = read_style_references(arguments.styles)
        speech = joined_speech(references, STYLE_SECONDS)
        evaluation.style = evaluate_style_following(model, clips, speech, regions, subject.options)


def _settings(arguments: argparse.Namespace, head: HeadModel, subject: ModelSubject | None) -> dict[str, str]:
    """What a reader must know to judge or repeat the evaluation."""
    from datetime import datetime, timezone

    from ..version import VERSION

    settings: dict[str, str] = {}
    if subject is not None:
        config = subject.model.config
        named = ("sampler", "steps", "speech_guidance", "style_guidance")
        given = {name: getattr(subject.options, name) for name in named}
        used = replace(config.sampling, **{name: value for name, value in given.items() if value is not None})
        settings |= {
            "Model": config.name,
            "Weights": f"SHA-256 {subject.model.sha256[:16]}…",
            "Basis": config.basis + ("" if config.basis == head.basis else f", converted to {head.basis}"),
            "Runs": f"{arguments.runs}, seeds from {arguments.seed}",
            "Style": "of another recording of the speaker"
            if arguments.style == "speaker"
            else arguments.style,
            "Sampling": f"{used.sampler}, {used.steps} steps",
            "Guidance": f"speech {used.speech_guidance:g}, style {used.style_guidance:g}",
        }
    settings |= {
        "Data": arguments.data.resolve().name
        + ("" if arguments.noise is None else f", with noise at {arguments.noise:g} dB"),
        "Head": str(head.arrays.get("name", arguments.head or "bundled")),
        "Made": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC by diffposetalk {VERSION}",
    }
    return settings


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
