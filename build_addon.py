#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build, show and test DiffPoseTalk for Blender. Needs Python 3.10 or newer and nothing else.

    python build_addon.py package       make the installable extension, dist/diffposetalk-VERSION.zip
    python build_addon.py demo          from a recording to a talking head: scene, exports and pictures
    python build_addon.py test          everything that is checked: style, types, all tests in all Blenders
    python build_addon.py test --quick  what can be checked in a few minutes
    python build_addon.py docs          the documentation as a site, build/site
    python build_addon.py lock          exact versions and checksums of all that is installed, anew

Environments are made once, in a cache folder, from locks, and keyed by them. What does the work is in `tools/`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - told in words to whoever has an older one
    sys.exit("error: Python 3.10 or newer is needed.")

from tools.blender import blender_command, blender_for_validation
from tools.documentation import build_site
from tools.environments import BLENDERS, backend_environment
from tools.errors import BuildError
from tools.locks import lock_all
from tools.package import package, validate
from tools.paths import DIST, ROOT, SITE, default_cache
from tools.processes import checked, clean_environment
from tools.stages import Stages
from tools.suites import PARTS, QUICK_PARTS, run_tests


def main() -> int:
    """Run the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Build, show and test DiffPoseTalk for Blender.")
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="folder of environments (%(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    package_command = commands.add_parser("package", help="make the installable extension")
    package_command.add_argument("--output", type=Path, default=DIST, help="folder to write to (%(default)s)")
    package_command.set_defaults(run=run_package)
    demo = commands.add_parser("demo", help="from a recording to a talking head")
    demo.add_argument("--audio", type=Path, default=ROOT / "flame_assets" / "clips" / "jfk.flac")
    demo.add_argument("--output", type=Path, default=ROOT / "demo_output")
    demo.add_argument("--style", help="style preset (default: the model's own)")
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--no-video", action="store_true", help="make the contact sheet only")
    demo.set_defaults(run=run_demo)
    test = commands.add_parser("test", help="run all checks")
    test.add_argument("--only", choices=PARTS, action="append")
    test.add_argument(
        "--quick", action="store_true", help="without windows, training, and all that takes minutes"
    )
    test.add_argument(
        "--blender", choices=list(BLENDERS), action="append", help="test the add-on in these only"
    )
    test.set_defaults(run=run_test)
    docs = commands.add_parser("docs", help="build the documentation's site")
    docs.set_defaults(run=run_docs)
    lock = commands.add_parser("lock", help="write all locks anew")
    lock.add_argument(
        "--upgrade", action="store_true", help="to the newest versions, where no file states one"
    )
    lock.set_defaults(run=run_lock)
    arguments = parser.parse_args()
    try:
        return int(arguments.run(arguments) or 0)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run_package(arguments: argparse.Namespace) -> None:
    """`package`: build and validate the extension."""
    path = package(arguments.output)
    validate(path, blender_for_validation(arguments.cache))
    print(f"{path} ({path.stat().st_size / 1024**2:.1f} MiB)")


def run_demo(arguments: argparse.Namespace) -> None:
    """`demo`: package, install, generate, key, export and render."""
    stages = Stages()
    if not arguments.audio.is_file():
        raise BuildError(f"There is no recording {arguments.audio}.")
    with stages("set up environments"):
        backend = backend_environment(arguments.cache)
        command, described = blender_command(arguments.cache)
    with stages("build the extension"):
        extension = package(DIST)
        validate(extension, blender_for_validation(arguments.cache))
    output = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    for earlier in [*output.glob("talking_head.*"), output / "contact_sheet.png"]:
        earlier.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="diffposetalk-demo-") as private, stages(f"run in {described}"):
        make = [*command(ROOT / "demo" / "make_talking_head.py"), "--extension", str(extension)]
        given = ["--frames", str(Path(private) / "frames"), "--audio", str(arguments.audio.resolve())]
        make += [*given, "--output", str(output), "--seed", str(arguments.seed)]
        make += ["--style", arguments.style] if arguments.style else []
        make += ["--no-video"] if arguments.no_video else []
        environment = clean_environment(
            BLENDER_USER_RESOURCES=str(Path(private) / "blender"), DIFFPOSETALK_BACKEND_PYTHON=str(backend)
        )
        checked(make, environment)
        pictures = {"contact_sheet.py": ["--output", str(output / "contact_sheet.png")]}
        if (video := output / "talking_head.mp4").is_file():
            pictures["moving_picture.py"] = [
                "--video",
                str(video),
                "--output",
                str(video.with_suffix(".webp")),
            ]
        for script, written in pictures.items():
            checked([str(backend), str(ROOT / "demo" / script), *given, *written], clean_environment())
    print(f"\nThe demo is in {output}:")
    for path in sorted(output.iterdir()):
        print(f"  {path.name:24} {path.stat().st_size / 1024:10,.0f} KiB")


def run_test(arguments: argparse.Namespace) -> int:
    """`test`: all checks; ends with their total on a line of its own."""
    parts = arguments.only or (QUICK_PARTS if arguments.quick else PARTS)
    blenders = arguments.blender or (BLENDERS[-1:] if arguments.quick else BLENDERS)
    return run_tests(arguments.cache, parts, blenders, arguments.quick)


def run_docs(arguments: argparse.Namespace) -> None:
    """`docs`: build the site."""
    build_site(arguments.cache)
    print(SITE / "index.html")


def run_lock(arguments: argparse.Namespace) -> None:
    """`lock`: write all locks anew."""
    lock_all(arguments.cache, arguments.upgrade)


if __name__ == "__main__":
    sys.exit(main())
