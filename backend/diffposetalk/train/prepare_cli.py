# SPDX-License-Identifier: GPL-3.0-or-later
"""`diffposetalk train prepare SOURCE… --work DIR`: a training set of one's own recordings, takes and videos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import SpeechEncoderConfig
from ..errors import DataError

if TYPE_CHECKING:
    from ..head.head_model import HeadModel
    from ..motion.clip import MotionClip
    from ..networks.speech.encoder import SpeechEncoder
    from .prepare import Convert, Report
    from .recording import Recording
    from .video_recordings import TrackedVideo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="folder of (sound, motion) pairs, list (.csv), Live Link Face take, released LMDB, video or folder of "
        "videos",
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the set (WORK/set) and to resume from"
    )
    parser.add_argument(
        "--speech-encoder",
        choices=("model", "hubert", "none"),
        default="model",
        help="whose features to compute: --model's (default), your HuBERT's, or none (keep the sound for training one)",
    )
    parser.add_argument(
        "--model", type=Path, help="model directory whose speech encoder is used (default: bundled)"
    )
    parser.add_argument(
        "--device", default="auto", help="for the speech encoder: auto, cpu, cuda (default: auto)"
    )
    parser.add_argument(
        "--keep-sound", action="store_true", help="keep the sound too, to train HuBERT's layers"
    )
    parser.add_argument(
        "--basis", choices=("arkit", "flame"), help="of the set (default: the first recording's)"
    )
    parser.add_argument(
        "--flame-head",
        type=Path,
        help="your converted FLAME head: motion of the other basis is converted by it",
    )
    parser.add_argument("--fps", type=float, help="frame rate of motion files that do not state it")
    parser.add_argument(
        "--validation",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="of the clips whose split is not given (default: 0.1)",
    )
    parser.add_argument("--split-by", choices=("clip", "speaker"), default="clip", help="(default: clip)")
    parser.add_argument("--no-head-pose", action="store_true", help="take motion without head rotation too")
    parser.add_argument("--tracker", type=Path, help="MediaPipe's face_landmarker.task, for videos")


def run(arguments: argparse.Namespace) -> int:
    """Prepare and report; returns the exit status."""
    for source in arguments.sources:
        if not source.exists():
            raise DataError(f"There is nothing at “{source}”.", "data_missing")
    if not 0 <= arguments.validation < 1:
        raise DataError("--validation must be at least 0 and less than 1.")
    from .prepare import Report, prepare_recordings

    work: Path = arguments.work
    encoder, config = _encoder(arguments)
    report = Report()

    def recordings() -> Iterator[Recording]:
        several = len(arguments.sources) > 1
        for source in arguments.sources:
            for recording in _of_source(source, arguments, report):
                yield replace(recording, id=f"{source.stem}/{recording.id}") if several else recording

    prepare_recordings(
        recordings(),
        work,
        encoder,
        config,
        basis=arguments.basis,
        keep_sound=arguments.keep_sound,
        need_head=not arguments.no_head_pose,
        convert=_conversions(arguments, report),
        report=report,
        on_progress=lambda count, name: print(f"{count} {name}", file=sys.stderr, flush=True),
    )
    print(report.describe())
    print(work / "set")
    return 0


def _of_source(source: Path, arguments: argparse.Namespace, report: Report) -> Iterator[Recording]:
    """The recordings of one source: its videos tracked, everything else read."""
    from .recordings import VIDEO_SUFFIXES, by_hash, read_recordings
    from .video_recordings import read_videos, videos_in

    videos = videos_in(source)
    if videos:

        def on_tracked(name: str, tracked: TrackedVideo) -> None:
            quality, stretches = tracked.quality, len(tracked.starts)
            share = f"{100 * quality['face_share']:.0f} % of {quality['frames']} frames"
            print(f"{name}: face in {share}, {stretches} stretch(es)", file=sys.stderr)
            report.notes.extend(f"{name}: {warning}" for warning in quality["warnings"])

        yield from read_videos(
            source,
            arguments.work / "tracked",
            split_of=by_hash(arguments.validation, arguments.split_by),
            model=arguments.tracker,
            on_skip=report.skipped.append,
            on_tracked=on_tracked,
            on_progress=_progress,
        )
    if source.is_file() and source.suffix.lower() in VIDEO_SUFFIXES:
        return
    try:
        yield from read_recordings(
            source,
            fps=arguments.fps,
            validation_share=arguments.validation,
            split_by=arguments.split_by,
            on_skip=report.skipped.append,
        )
    except DataError as error:
        if error.kind != "data_unknown" or not videos:
            raise


def _progress(name: str) -> Callable[[int, int], None]:
    shown = -1

    def on_progress(done: int, total: int) -> None:
        nonlocal shown
        tenth = 10 * done // max(total, 1)
        if tenth != shown:
            shown = tenth
            print(f"{name}: tracked {10 * tenth} %", file=sys.stderr, flush=True)

    return on_progress


def _encoder(arguments: argparse.Namespace) -> tuple[SpeechEncoder | None, SpeechEncoderConfig]:
    from ..networks.checkpoint import load_model
    from ..networks.device import pick_device

    encoder: Any
    if arguments.speech_encoder == "none":
        return None, SpeechEncoderConfig(kind="hubert", layers=(12,), width=768, heads=12, depth=12)
    if arguments.speech_encoder == "hubert":
        from .new_model import own_hubert

        hubert, config = own_hubert()
        encoder, config = hubert, replace(config, stored=False)
    else:
        model = load_model(arguments.model, "cpu", "float32")
        encoder, config = model.speech_encoder, model.config.speech_encoder
    return encoder.to(pick_device(arguments.device)).eval(), config


def _conversions(arguments: argparse.Namespace, report: Report) -> dict[str, Convert]:
    """How motion gets into the other basis: through the bundled head and the user's FLAME head."""
    if arguments.flame_head is None:
        return {}
    from ..head.basis_conversion import Conversion
    from ..head.head_model import bundled_head_path, load_head

    arkit, flame = load_head(bundled_head_path()), load_head(arguments.flame_head)
    conversions: dict[str, Conversion] = {}

    def through(source: HeadModel, target: HeadModel) -> Convert:
        def converted(clip: MotionClip) -> MotionClip:
            first = clip.basis not in conversions
            if first:
                conversions[clip.basis] = Conversion(source, target)
            out, residual = conversions[clip.basis](clip)
            if first:
                report.notes.append(f"motion was converted from {clip.basis}; its first clip: {residual}")
            return replace(out, provenance={**clip.provenance, "converted_from": clip.basis})

        return converted

    return {"flame": through(flame, arkit), "arkit": through(arkit, flame)}
