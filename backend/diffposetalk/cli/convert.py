# SPDX-License-Identifier: GPL-3.0-or-later
"""`diffposetalk convert`: files of the paper's release and of FLAME into this project's formats."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import DiffPoseTalkError
from ..files.file_name import with_suffix


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands of `diffposetalk convert`."""
    commands = parser.add_subparsers(dest="convert_command", required=True, metavar="WHAT")
    _add_checkpoint(commands)
    _add_flame(commands)
    _add_motion(commands)


def _add_checkpoint(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("checkpoint", help="the paper's released checkpoints to a model directory")
    parser.add_argument("denoiser", type=Path, help="the denoiser's checkpoint (.pt)")
    parser.add_argument(
        "--style-encoder", type=Path, required=True, help="the style encoder it was trained with (.pt)"
    )
    parser.add_argument(
        "--statistics", type=Path, help="stats_train.npz of the same release; without it nothing is converted"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="model directory to make")
    parser.add_argument("--name", help="name of the model (default: the output's name)")
    parser.set_defaults(run=_checkpoint)


def _checkpoint(arguments: argparse.Namespace) -> None:
    from ..convert.checkpoint import convert_checkpoint

    files = arguments.denoiser, arguments.style_encoder, arguments.statistics
    summary = convert_checkpoint(*files, arguments.output, name=arguments.name)
    print(f"{summary.folder}: {summary.description}")


def _add_flame(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("flame", help="a FLAME model file to a head asset")
    parser.add_argument("source", type=Path, help="FLAME 2020 or 2023 (.pkl or .npz)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="head asset to write (.npz)")
    parser.add_argument(
        "--landmarks",
        type=Path,
        help="landmark_embedding.npy or flame_static_embedding.pkl: where the lips meet",
    )
    parser.add_argument("--masks", type=Path, help="FLAME_masks.pkl: lips, eyes and upper face")
    parser.add_argument("--uv", type=Path, help="the same mesh with texture coordinates (.obj)")
    parser.set_defaults(run=_flame)


def _flame(arguments: argparse.Namespace) -> None:
    from ..convert.flame import convert_flame

    more = {name: getattr(arguments, name) for name in ("landmarks", "masks", "uv")}
    summary = convert_flame(arguments.source, with_suffix(arguments.output, ".npz"), **more)
    words = {"landmarks": "from the landmark file", "mesh": "found on the mesh", "none": "not found"}
    lips = words[summary.lips]
    print(f"{summary.path}: {summary.name}, {summary.vertices:,} vertices, basis flame; inner lips {lips}")


def _add_motion(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "motion", help="motion to another format, or from one head's expression basis to another's"
    )
    parser.add_argument(
        "source", type=Path, help="motion clip (.npz), Live Link Face table (.csv) or ARKit curves (.json)"
    )
    parser.add_argument(
        "output", type=Path, help="file to write, in the format of its suffix (the same three)"
    )
    parser.add_argument("--from-head", type=Path, help="head asset the clip speaks for (.npz)")
    parser.add_argument("--to-head", type=Path, help="head asset to convert it to (.npz)")
    parser.add_argument(
        "--fps", type=float, help="frames a second to write (default: as they are; 60 in a .csv)"
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="of a Live Link Face capture: subtract the neutral face, centre the head, filter noise",
    )
    parser.set_defaults(run=_motion)


def _motion(arguments: argparse.Namespace) -> None:
    from ..motion.formats import MOTION_SUFFIXES, write_motion
    from ..motion.formats.arkit_curves import read_unchanged

    if (arguments.from_head is None) != (arguments.to_head is None):
        raise DiffPoseTalkError("Give both --from-head and --to-head, or neither.", "settings_heads")
    known = arguments.output.suffix.lower() in MOTION_SUFFIXES
    output = arguments.output if known else with_suffix(arguments.output, ".npz")
    clip = read_unchanged(arguments.source, calibrate=arguments.calibrate)
    if arguments.from_head is None:
        write_motion(clip, output, arguments.fps)
        print(f"{output}: {len(clip)} frames at {clip.fps:g} a second, basis {clip.basis}")
        return
    from ..head.basis_conversion import convert
    from ..head.head_model import load_head

    source, target = load_head(arguments.from_head), load_head(arguments.to_head)
    converted, residual = convert(clip, source, target)
    write_motion(converted, output, arguments.fps)
    print(f"{output}: {len(clip)} frames from {clip.basis} to {converted.basis}")
    print(residual)
    for loss in residual.lost:
        print(loss)
