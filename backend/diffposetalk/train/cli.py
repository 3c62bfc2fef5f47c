# SPDX-License-Identifier: GPL-3.0-or-later
"""`diffposetalk train`: its stages, from recordings to a model directory; each resumes where it was stopped."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from . import prepare_cli
from .recipe import ABLATIONS, PRECISIONS, Recipe, ablate, read_recipe, record, recorded

if TYPE_CHECKING:
    from .training_set import TrainingSet

TRAINING_NOTE = """
A training is described by a recipe: “paper”, “bundled” or a TOML file with the same fields
(diffposetalk/train/recipes/). Checkpoints, TensorBoard curves and the recipe are kept in the work folder; the same
command goes on where a training was stopped or killed. Several GPUs: accelerate launch -m diffposetalk train …
On a CPU set OMP_NUM_THREADS to the free cores, and keep freed memory for the next step: MALLOC_MMAP_MAX_=0
MALLOC_TRIM_THRESHOLD_=-1 MALLOC_TOP_PAD_=536870912 (glibc).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    summary = "build a training set of your own recordings, takes and videos"
    prepare = stages.add_parser("prepare", help=summary, description=f"{summary.capitalize()}.")
    prepare_cli.add_arguments(prepare)
    prepare.set_defaults(run_stage=prepare_cli.run)

    bundled = stages.add_parser("prepare-bundled", help="build the bundled model's training set")
    bundled.add_argument(
        "data", type=Path, help="folder that holds grid_s1, kokoro_en, speechocean and facegood"
    )
    bundled.add_argument("--work", type=Path, required=True, help="folder for the set and checkpoints")
    bundled.add_argument("--whisper", type=Path, required=True, help="OpenAI's tiny.en.pt")
    bundled.set_defaults(run_stage=_prepare_bundled)

    style = stages.add_parser("style", help="train the style encoder", epilog=TRAINING_NOTE)
    _add_training_arguments(style, starts=True)
    style.set_defaults(run_stage=_style)

    denoiser = stages.add_parser("denoiser", help="train the denoiser", epilog=TRAINING_NOTE)
    _add_training_arguments(denoiser, starts=True)
    denoiser.add_argument("--style", type=Path, help="folder of the style encoder (default: WORK/style)")
    denoiser.set_defaults(run_stage=_denoiser)

    export = stages.add_parser("export", help="write the model directory")
    _add_folders(export)
    export.add_argument("--whisper", type=Path, help="OpenAI's tiny.en.pt (default: the bundled copy)")
    export.add_argument("--out", type=Path, required=True, help="model directory to write")
    export.set_defaults(run_stage=_export)

    distill = stages.add_parser(
        "distill",
        help="distil a trained model's draft, which samples in a few steps",
        description="Fold a model's guidance into one branch, then several sampling steps into one; the draft is "
        "written into the model's directory.",
    )
    _add_training_arguments(distill)
    distill.add_argument("--model", type=Path, help="the teacher's model directory (default: the bundled)")
    distill.add_argument(
        "--steps", type=int, help="sampling steps of the student, 1 to 4 (default: the recipe's)"
    )
    distill.set_defaults(run_stage=_distill)


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--set", type=Path, help="training set (default: WORK/set)")


def _add_training_arguments(parser: argparse.ArgumentParser, starts: bool = False) -> None:
    _add_folders(parser)
    parser.add_argument(
        "--config",
        help="recipe: paper, bundled or a TOML file (default: the one that WORK was begun with, or bundled)",
    )
    parser.add_argument(
        "--ablation",
        action="append",
        choices=ABLATIONS,
        default=[],
        help="train a row of the paper's Table 1, or the plain regressor; may be given several times",
    )
    parser.add_argument("--iterations", type=int, help="where to end (default: the recipe's)")
    parser.add_argument("--seed", type=int, help="default: the recipe's")
    parser.add_argument("--precision", choices=PRECISIONS, help="mixed precision (default: the recipe's)")
    parser.add_argument(
        "--device", choices=("auto", "cpu"), default="auto", help="default: GPUs if there are"
    )
    parser.add_argument("--head", type=Path, help="head asset that the motion is for (default: the bundled)")
    if starts:
        parser.add_argument(
            "--start-from",
            type=Path,
            metavar="MODEL",
            help="model directory whose weights a new training starts from (default: random weights)",
        )


def run(arguments: argparse.Namespace) -> int:
    """Run one stage; returns the exit status: 128 + its number where a signal stopped the training."""
    from .loop import Stopped

    try:
        return int(arguments.run_stage(arguments) or 0)
    except Stopped as stopped:
        print(stopped.message, file=sys.stderr)
        return 128 + stopped.signal


def chosen_recipe(arguments: argparse.Namespace, stage: str) -> Recipe:
    """The recipe of a stage: the one named, else the one WORK was begun with, else the bundled model's."""
    begun = [known for name in (stage, "denoiser", "style") if (known := recorded(arguments.work / name))]
    named = arguments.config or ("" if begun else "bundled")
    recipe = ablate(read_recipe(named) if named else begun[0].recipe, arguments.ablation)
    given = {
        name: getattr(arguments, name)
        for name in ("iterations", "seed", "precision", "steps")
        if getattr(arguments, name, None) is not None
    }
    values = asdict(recipe)
    values[stage] |= given
    try:
        return Recipe.from_dict(values)
    except ValueError as error:
        raise DataError(f"This training cannot be run with {error}.", "data_recipe") from error


def _load_set(arguments: argparse.Namespace) -> TrainingSet:
    from .training_set import TrainingSet

    return TrainingSet.load(arguments.set or arguments.work / "set")


def _prepare_bundled(arguments: argparse.Namespace) -> None:
    from ..head.head_model import load_head
    from .own_model.bundled import load_encoder
    from .own_model.sequences import prepare

    prepare(arguments.data, arguments.work / "set", load_encoder(arguments.whisper), load_head())


def _style(arguments: argparse.Namespace) -> None:
    from ..head.head_model import load_head
    from ..networks.checkpoint import load_model
    from .new_model import origin_of
    from .recipe import model_config
    from .style_training import train_style_encoder

    data, recipe = _load_set(arguments), chosen_recipe(arguments, "style")
    config = model_config(recipe, data.description, load_head(arguments.head).jaw_open_angle)
    folder = arguments.work / "style"
    known = load_model(arguments.start_from, "cpu") if arguments.start_from else None
    record(folder, recipe, config, ("style_encoder",), origin_of(known.config) if known else None)
    start = known.style_encoder if known else None
    train_style_encoder(data, folder, config.style_encoder, recipe.style, arguments.device, start)


def _denoiser(arguments: argparse.Namespace) -> None:
    from ..head.head_model import load_head
    from ..networks.checkpoint import load_model
    from .checkpoints import load_latest
    from .denoiser_training import train_denoiser
    from .new_model import recipe_model, start_from

    data, recipe = _load_set(arguments), chosen_recipe(arguments, "denoiser")
    head = load_head(arguments.head)
    model = recipe_model(recipe, data, head)
    styles = arguments.style or arguments.work / "style"
    if recipe.denoiser.styled and not load_latest(styles, {"model": model.style_encoder}):
        raise DataError(f"“{styles}” holds no style encoder: train one first.", "data_checkpoint")
    folder = arguments.work / "denoiser"
    origin = start_from(model, load_model(arguments.start_from, "cpu")) if arguments.start_from else None
    record(folder, recipe, model.config, ("denoiser", "style_encoder", "speech_encoder"), origin)
    train_denoiser(model, data, head, folder, recipe.denoiser, arguments.device)


def _export(arguments: argparse.Namespace) -> None:
    from .export import export

    export(arguments.work / "denoiser", _load_set(arguments), arguments.out, arguments.whisper)


def _distill(arguments: argparse.Namespace) -> None:
    from ..generation.draft import save_draft
    from ..head.head_model import load_head
    from ..networks.checkpoint import bundled_model_path, load_model
    from .distillation import distill

    data, recipe = _load_set(arguments), chosen_recipe(arguments, "distill")
    place = arguments.model or bundled_model_path()
    teacher = load_model(place, "cpu")
    folder = arguments.work / "distill"
    record(folder, recipe, teacher.config, ("denoiser", "style_encoder", "speech_encoder", "sampling"))
    head = load_head(arguments.head)
    save_draft(distill(teacher, data, head, folder, recipe, arguments.device), place)
