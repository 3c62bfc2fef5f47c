# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line `diffposetalk`.

Results go to standard output, progress to standard error. What a user can mend is told in one line that
begins with “error:”, with exit status 2.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from ..config import STYLE_WORDS
from ..errors import DiffPoseTalkError
from ..generation.arguments import (
    add_generation_arguments,
    add_model_arguments,
    chosen_options,
    load_chosen_model,
)
from ..terminal import ProgressLine, checked_output
from ..version import VERSION

if TYPE_CHECKING:
    from ..networks.model import DiffPoseTalk

EXIT_OK, EXIT_USER_ERROR, EXIT_INTERRUPTED = 0, 2, 130

# Subcommands with a module of their own, which has `add_arguments(parser)` and, unless that names what to run for each
# of its own subcommands, `run(arguments)`.
# Their modules are imported only when called: they may need torch, the help of the others does not.
MODULE_COMMANDS = {
    "batch": ("diffposetalk.cli.batch", "make the clips of all lines in a manifest"),
    "train": ("diffposetalk.train.cli", "train a model on recordings with tracked motion"),
    "evaluate": ("diffposetalk.evaluate.cli", "measure a model on recordings with tracked motion"),
    "style": ("diffposetalk.cli.style", "extract, mix, describe and keep speaking styles"),
    "convert": ("diffposetalk.cli.convert", "turn the paper's checkpoints and FLAME's files into ours"),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line with these arguments (default: the process's). Returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names on a disk need not be UTF-8
    try:
        arguments = build_parser(argv).parse_args(argv)
        return arguments.run(arguments) or EXIT_OK
    except DiffPoseTalkError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # standard output went to a program that has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USER_ERROR, f"error: {message} (try: {self.prog} --help)\n")


def build_parser(argv: list[str]) -> argparse.ArgumentParser:
    """The parser of all commands; of those with a module, only the one named in `argv` gets its arguments."""
    parser = _Parser(prog="diffposetalk", description="Facial animation and head motion from speech.")
    parser.add_argument("--version", action="version", version=f"diffposetalk {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    generate = commands.add_parser("generate", help="make motion clips from a recording")
    generate.add_argument("audio", type=Path, help="recording: WAV, FLAC, MP3, Ogg or AIFF, any rate")
    generate.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="motion clip to write (.npz); with several takes, the seed is added to its name",
    )
    generate.add_argument("--start", type=float, default=0.0, help="use the recording from here (s)")
    generate.add_argument("--seconds", type=float, help="use this much of the recording (s; default: all)")
    generate.add_argument(
        "--style",
        help=f"{STYLE_WORDS}; default: the model's own",
    )
    generate.add_argument(
        "--style-start-frame",
        type=int,
        help="first frame of the style's motion to use (default: the best four s)",
    )
    generate.add_argument("--mix-style", help="a second style, as of --style, to mix in")
    generate.add_argument(
        "--mix", type=float, default=0.5, help="how much of the second style, 0 to 1 (default: 0.5)"
    )
    generate.add_argument("--shape", type=Path, help="identity coefficients (.npy or .npz)")
    generate.add_argument("--seed", type=int, default=0, help="seed of the first take (default: 0)")
    generate.add_argument("--takes", type=int, default=1, help="how many takes, with consecutive seeds")
    add_generation_arguments(generate)
    generate.add_argument(
        "--target-head",
        type=Path,
        help="head asset (.npz) to animate; motion of another basis is converted to it",
    )
    generate.add_argument(
        "--model-head", type=Path, help="head asset the model speaks for (default: the bundled one)"
    )
    add_model_arguments(generate)
    generate.set_defaults(run=_generate)

    info = commands.add_parser("info", help="say what is installed and describe the model")
    info.add_argument("--json", action="store_true", help="as JSON")
    add_model_arguments(info)
    info.set_defaults(run=_info)

    serve = commands.add_parser("serve", help="speak JSON-RPC on standard input and output, as Blender does")
    serve.set_defaults(run=_serve)

    called = next((word for word in argv if not word.startswith("-")), None)
    for name, (module_name, summary) in MODULE_COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == called:
            module = _imported(module_name)
            module.add_arguments(command)
            command.set_defaults(run=getattr(module, "run", None))
    return parser


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.removesuffix(".cli"):
            raise
        raise DiffPoseTalkError(
            "Training and evaluation are not part of the add-on's package, but of the project's source: get that, and "
            'install the engine from it (pip install "./backend[train]" or "./backend[evaluate]").',
            "command_left_out",
        ) from error


def _generate(arguments: argparse.Namespace) -> None:
    output = checked_output(arguments.output, ".npz")
    if arguments.takes < 1:
        raise DiffPoseTalkError("At least one take must be made.", "settings_seed")
    from ..sound.audio import probe

    probe(arguments.audio)  # a bad recording is told at once, not after loading the model
    seeds = tuple(range(arguments.seed, arguments.seed + arguments.takes))
    options = chosen_options(arguments, seeds)

    from ..generation.speak import animate
    from ..styles.chosen import chosen_style

    model = load_chosen_model(arguments)
    shape = None if arguments.shape is None else str(arguments.shape)
    options = replace(options, style=_style_params(arguments, model), shape=shape)
    began = time.monotonic()
    progress = ProgressLine()
    speech, clips = animate(
        model,
        arguments.audio,
        options,
        *chosen_style(model, options.style),
        audio_start=arguments.start,
        audio_seconds=arguments.seconds,
        on_progress=progress,
        heads=_heads(arguments),
    )
    progress.end()
    for seed, clip in zip(seeds, clips, strict=True):
        path = output if len(clips) == 1 else output.with_name(f"{output.stem}-seed{seed}{output.suffix}")
        clip.save(path)
        print(path)
        if "converted_from" in clip.provenance:
            miss = clip.provenance["conversion_residual_mm"]
            print(
                f"converted from {clip.provenance['converted_from']} to {clip.basis}: residual {miss['mean']:.2f} mm "
                f"mean, {miss['p95']:.2f} mm 95th percentile",
                file=sys.stderr,
            )
            for loss in clip.provenance.get("conversion_lost", ()):
                print(loss, file=sys.stderr)
    took = time.monotonic() - began
    print(f"{speech.seconds:.2f} s of speech, {len(clips)} take(s), in {took:.1f} s", file=sys.stderr)


def _heads(arguments: argparse.Namespace) -> tuple[Path, Path] | None:
    """The model's head and the one to animate, or None to leave the motion in the model's basis."""
    if arguments.target_head is None:
        if arguments.model_head is not None:
            raise DiffPoseTalkError(
                "--model-head needs --target-head, the head to animate.", "settings_heads"
            )
        return None
    from ..head.head_model import bundled_head_path

    return arguments.model_head or bundled_head_path(), arguments.target_head


def _info(arguments: argparse.Namespace) -> None:
    import torch

    from ..networks.checkpoint import bundled_model_path
    from ..networks.device import available_devices

    folder = arguments.model or bundled_model_path()
    model = load_chosen_model(arguments)
    config = model.config
    description: dict[str, Any] = {
        "version": VERSION,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "devices": available_devices(),
        "compute": model.compute.describe(),
        "model": {
            "folder": str(folder),
            "name": config.name,
            "sha256": model.sha256,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "basis": config.basis,
            "fps": config.fps,
            "head_pose": config.head_pose,
            "speech_encoder": config.speech_encoder.kind,
            "styles": {key: style.description for key, style in model.styles.items()},
            "defaults": {
                name: getattr(config.sampling, name)
                for name in ("sampler", "steps", "speech_guidance", "style_guidance")
            },
        },
    }
    if arguments.json:
        print(json.dumps(description, indent=2, ensure_ascii=False))
    else:
        _print_tree(description)


def _print_tree(values: dict[str, Any], indent: str = "") -> None:
    width = max((len(key) for key in values), default=0)
    for key, value in values.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _print_tree(value, indent + "  ")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            print(f"{indent}{key:{width}}  {shown}")


def _serve(arguments: argparse.Namespace) -> None:
    from ..server.process import serve

    serve()


def _style_params(arguments: argparse.Namespace, model: DiffPoseTalk) -> dict[str, Any] | None:
    from ..styles.request import StyleRequest

    def params(word: str) -> dict[str, Any]:
        return StyleRequest.parse(word, start_frame=arguments.style_start_frame).to_params()

    if arguments.mix_style is None:
        return None if arguments.style is None else params(arguments.style)
    first = arguments.style or model.config.sampling.style
    if not first or not 0 <= arguments.mix <= 1:
        raise DiffPoseTalkError("Mixing needs two styles and an amount from 0 to 1.", "style_mix")
    amounts = [1 - arguments.mix, arguments.mix]
    return {"mix": [params(first), params(arguments.mix_style)], "amounts": amounts}
