# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments of the command line that say which model to load, and how takes are made. Needs no torch by itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import PRECISIONS, QUALITIES, SAMPLERS
from .options import GenerationOptions

if TYPE_CHECKING:
    from ..networks.model import DiffPoseTalk


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Which model to load, and how it computes."""
    parser.add_argument("--model", type=Path, help="model directory (default: the bundled one)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, xpu, mps (default: auto)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of sampling (default: auto)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: the free cores)")
    parser.add_argument("--batch", type=int, help="windows sampled together at most (default: by device)")


def load_chosen_model(arguments: argparse.Namespace) -> DiffPoseTalk:
    """The model that `add_model_arguments` names, or its draft. Raises ModelError or DeviceError."""
    from ..networks.checkpoint import load_model
    from .draft import of_quality

    model = load_model(
        arguments.model, arguments.device, arguments.precision, arguments.threads, arguments.batch
    )
    return of_quality(model, arguments.model, getattr(arguments, "quality", "final"))


def add_generation_arguments(parser: argparse._ActionsContainer) -> None:
    """Those fields of `GenerationOptions` that are the same for all takes of a command."""
    parser.add_argument("--speech-guidance", type=float, help="how closely to follow the speech")
    parser.add_argument("--style-guidance", type=float, help="how closely to follow the style")
    parser.add_argument("--no-head-pose", action="store_true", help="keep the head still")
    parser.add_argument(
        "--quality",
        choices=QUALITIES,
        default="final",
        help="“draft” is the model's faster student (default: final)",
    )
    parser.add_argument("--sampler", choices=SAMPLERS, help="default: the model's own")
    parser.add_argument("--steps", type=int, help="sampling steps a window")
    parser.add_argument(
        "--dynamic-threshold",
        type=float,
        nargs=3,
        metavar=("RATIO", "LOW", "HIGH"),
        help="limit the guidance branches to a quantile of their magnitudes, e.g. 0.99 1 4 (default: off)",
    )


def chosen_options(arguments: argparse.Namespace, seeds: tuple[int, ...] = (0,)) -> GenerationOptions:
    """The options that `add_generation_arguments` names. Raises DiffPoseTalkError."""
    same = ("speech_guidance", "style_guidance", "sampler", "steps", "quality")
    limits = arguments.dynamic_threshold
    return GenerationOptions(
        seeds=seeds,
        head_pose=not arguments.no_head_pose,
        threshold=None if limits is None else tuple(limits),
        **{name: getattr(arguments, name) for name in same},
    )
