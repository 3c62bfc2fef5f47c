# SPDX-License-Identifier: GPL-3.0-or-later
"""`diffposetalk train`: prepare, style, denoiser, export; each stage resumes where it was stopped."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands of `diffposetalk train`."""
    stages = parser.add_subparsers(dest="stage", required=True)
    prepare = stages.add_parser("prepare", help="build the training set from the corpora")
    prepare.add_argument("data", type=Path, help="folder that holds grid_s1, kokoro_en and speechocean")
    prepare.add_argument(
        "--work", type=Path, required=True, help="folder for the training set and checkpoints"
    )
    prepare.add_argument("--whisper", type=Path, required=True, help="OpenAI's tiny.en.pt")
    style = stages.add_parser("style", help="train the style encoder")
    style.add_argument("--work", type=Path, required=True, help="folder that `prepare` wrote")
    style.add_argument("--iterations", type=int, default=800, help="training steps (default: 800)")
    denoiser = stages.add_parser("denoiser", help="train the denoiser")
    denoiser.add_argument("--work", type=Path, required=True, help="folder with a trained style encoder")
    denoiser.add_argument("--iterations", type=int, default=6000, help="training steps (default: 6000)")
    denoiser.add_argument("--no-bfloat16", action="store_true", help="compute in float32 throughout")
    export = stages.add_parser("export", help="write the model directory")
    export.add_argument("--work", type=Path, required=True, help="folder with a trained denoiser")
    export.add_argument("--whisper", type=Path, required=True, help="OpenAI's tiny.en.pt")
    export.add_argument("--out", type=Path, required=True, help="model directory to write")


def run(arguments: argparse.Namespace) -> int:
    """Run one stage; returns the exit status."""
    import torch

    from ..head_model import load_head
    from ..model import DiffPoseTalk
    from .bundled import bundled_config, export, load_encoder, new_model
    from .checkpoints import load_latest
    from .denoiser_training import DenoiserTraining, train_denoiser
    from .sequences import TrainingSet, prepare
    from .style_training import StyleTraining, train_style_encoder

    work: Path = arguments.work
    head = load_head()
    if arguments.stage == "prepare":
        prepare(arguments.data, work / "set", load_encoder(arguments.whisper), head)
        return 0
    data = TrainingSet.load(work / "set")
    config = bundled_config(head)
    if arguments.stage == "style":
        settings = StyleTraining(iterations=arguments.iterations)
        train_style_encoder(data, work / "style", config.style_encoder, settings)
        return 0
    model = new_model(config, data)
    if arguments.stage == "denoiser":
        load_latest(work / "style", {"model": model.style_encoder})
        training = replace(
            DenoiserTraining(), iterations=arguments.iterations, bfloat16=not arguments.no_bfloat16
        )
        train_denoiser(model, data, head, work / "denoiser", training)
        return 0
    average = torch.optim.swa_utils.AveragedModel(model)
    load_latest(work / "denoiser", {"average": average})
    trained = average.module
    assert isinstance(trained, DiffPoseTalk)
    export(trained, load_encoder(arguments.whisper), data, arguments.out)
    return 0
