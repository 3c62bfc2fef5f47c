# SPDX-License-Identifier: GPL-3.0-or-later
"""`diffposetalk style`: extract styles from motion and video, keep them in a library, mix and describe them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import STYLE_WORDS
from ..errors import OutputError, StyleError
from ..files.file_name import with_suffix
from ..files.whole_file import whole_file
from ..generation.arguments import add_model_arguments, load_chosen_model
from ..motion.style_measures import listed_measures
from ..styles.library import (
    add_style,
    check_name,
    delete_style,
    export_style,
    import_style,
    library_folder,
    list_styles,
    named_after,
    rename_style,
)
from ..terminal import ProgressLine, checked_output

if TYPE_CHECKING:
    from ..motion.clip import MotionClip
    from ..networks.model import DiffPoseTalk
    from ..styles.style_file import Style


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands of `diffposetalk style`."""
    commands = parser.add_subparsers(dest="style_command", required=True, metavar="WHAT")
    extract = _command(
        commands, "extract", _extract, "take the style of a motion file or a video", model=True
    )
    extract.add_argument(
        "source", type=Path, help="motion (.npz), Live Link Face (.csv), or a video of someone speaking"
    )
    _add_destination(extract)
    extract.add_argument(
        "--window",
        choices=("auto", "mean"),
        default="auto",
        help="which four seconds: those closest to the reference's mean style in which the mouth moves (auto), or "
        "the mean over all (default: auto)",
    )
    extract.add_argument("--start-frame", type=int, help="these four seconds: first frame, 25 a second")
    extract.add_argument("--from-head", type=Path, help="head asset that motion of another basis speaks for")
    _add_tracking(extract)

    shown = _command(commands, "list", _list, "the presets of the model and the styles of the library")
    shown.add_argument("--model", type=Path, help="model directory (default: the bundled one)")
    shown.add_argument("--json", action="store_true", help="as JSON")

    show = _command(commands, "show", _show, "describe a style", model=True)
    show.add_argument("style", help=STYLE_WORDS)
    show.add_argument("--json", action="store_true", help="as JSON")
    show.add_argument("--thumbnail", type=Path, help="write its picture here (.png)")

    mix = _command(commands, "mix", _mix, "mix two styles", model=True)
    mix.add_argument("first", help=STYLE_WORDS)
    mix.add_argument("second", help="the style mixed in")
    mix.add_argument(
        "--amount", type=float, default=0.5, help="of the second, 0 (none) to 1 (it alone); default: 0.5"
    )
    _add_destination(mix)

    rename = _command(commands, "rename", _rename, "give a style of the library another name")
    rename.add_argument("old")
    rename.add_argument("new")
    delete = _command(commands, "delete", _delete, "remove a style from the library")
    delete.add_argument("name")
    bring = _command(commands, "import", _import, "copy style files into the library")
    bring.add_argument("files", type=Path, nargs="+", help="style files (.dptstyle)")
    export = _command(commands, "export", _export, "copy a style out of the library")
    export.add_argument("name")
    export.add_argument("output", type=Path, help="file or folder")

    track = _command(commands, "track", _track, "capture a performance from a video as motion", library=False)
    track.add_argument("video", type=Path)
    track.add_argument("-o", "--output", type=Path, required=True, help="motion clip to write (.npz)")
    _add_tracking(track)

    tracker = _command(commands, "tracker", _tracker, "where the face tracker's model is", library=False)
    tracker.add_argument(
        "--fetch",
        action="store_true",
        help="fetch it once (3.8 MB from Google's MediaPipe), with this your leave",
    )

    illustrate = _command(
        commands, "illustrate", _illustrate, "measure and picture the presets of a model", library=False
    )
    illustrate.add_argument(
        "folder", type=Path, help="model directory; its styles.json and thumbnails are written"
    )
    illustrate.add_argument("--audio", type=Path, help="speech to show them on (default: the bundled clip)")
    illustrate.add_argument(
        "--head", type=Path, help="head asset of the model's basis (default: the bundled one)"
    )


def _command(
    commands: argparse._SubParsersAction,
    name: str,
    function: Callable[[argparse.Namespace], None],
    summary: str,
    *,
    model: bool = False,
    library: bool = True,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary)
    parser.set_defaults(run=function)
    if library:
        parser.add_argument(
            "--library",
            type=Path,
            help="the library's folder (default: DIFFPOSETALK_STYLES, or the user's own)",
        )
    if model:
        add_model_arguments(parser)
        parser.add_argument(
            "--head", type=Path, help="head asset of the model's basis, to measure and picture on"
        )
    return parser


def _add_destination(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, help="style file (.dptstyle), or the bare vector (.npy), to write"
    )
    parser.add_argument("--save", metavar="NAME", help="save it in the library under this name")
    parser.add_argument("--replace", action="store_true", help="even if the library has a style of that name")
    parser.add_argument("--description", default="", help="words to find it by")


def _add_tracking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tracker", type=Path, help="MediaPipe's face_landmarker.task")
    parser.add_argument(
        "--face",
        type=float,
        nargs=2,
        metavar=("X", "Y"),
        help="of several faces the one here, as shares of the picture from left and top (default: the largest)",
    )
    parser.add_argument(
        "--neutral",
        type=Path,
        help="picture or short video of the same person at rest: keeps expressions that are held throughout",
    )
    parser.add_argument("--contact-sheet", type=Path, help="write frames beside the head they drive (.png)")


def _extract(arguments: argparse.Namespace) -> None:
    destination = _destination(arguments)
    from ..head.head_model import load_head
    from ..styles.creation import style_from_motion

    clip, source, notes = _reference(arguments)
    model = load_chosen_model(arguments)
    if clip.basis != model.config.basis and arguments.from_head is not None:
        from ..head.basis_conversion import convert

        clip, residual = convert(clip, load_head(arguments.from_head), load_head(arguments.head))
        notes.append(str(residual))
    name = check_name(arguments.save) if arguments.save else named_after(arguments.source)
    window = arguments.window if arguments.start_frame is None else arguments.start_frame
    style, reading = style_from_motion(
        model,
        clip,
        name,
        window=window,
        source=source,
        head=arguments.head and load_head(arguments.head),
        description=arguments.description,
    )
    destination(replace(style, notes=(*notes, *style.notes)))
    seconds = [f"{start / model.config.fps:.1f}" for start in reading.starts]
    read = f"the mean of {len(seconds)} windows" if len(seconds) > 1 else f"from {seconds[0]} s on"
    print(f"read {read}, {reading.frames / model.config.fps:.1f} s each", file=sys.stderr)
    _tell(style, notes)


def _reference(arguments: argparse.Namespace) -> tuple[MotionClip, dict[str, Any], list[str]]:
    """The motion of a source, what is recorded of it, and what to tell the user."""
    from ..tracking.video import is_video

    source: Path = arguments.source
    if is_video(source):
        tracked = _tracked(arguments, source)
        return tracked.clip, {"kind": "video", "file": source.name}, list(tracked.quality.warnings)
    from ..motion.formats import read_motion

    return read_motion(source), {"kind": "motion", "file": source.name}, []


def _tracked(arguments: argparse.Namespace, video: Path) -> Any:
    from ..files.png import write_png
    from ..head.head_model import load_head
    from ..tracking.contact_sheet import contact_sheet
    from ..tracking.performance import track_performance

    progress = ProgressLine()
    tracked = track_performance(
        video,
        arguments.tracker,
        face=arguments.face and tuple(arguments.face),
        neutral=arguments.neutral,
        on_progress=lambda done, total: progress("tracking", done, total),
    )
    progress.end()
    print(tracked.quality.describe(), file=sys.stderr)
    if arguments.contact_sheet is not None:
        print(write_png(arguments.contact_sheet, contact_sheet(tracked.clip, tracked.snapshots, load_head())))
    return tracked


def _track(arguments: argparse.Namespace) -> None:
    tracked = _tracked(arguments, arguments.video)
    for warning in tracked.quality.warnings:
        print(warning, file=sys.stderr)
    print(tracked.clip.save(with_suffix(arguments.output, ".npz")))


def _mix(arguments: argparse.Namespace) -> None:
    destination = _destination(arguments)
    if not 0 <= arguments.amount <= 1:
        raise StyleError("The amount of the second style is 0 to 1.", "style_mix")
    from ..styles.illustration import shown
    from ..styles.style_file import mixture

    model = load_chosen_model(arguments)
    styles = [_find(model, arguments, text) for text in (arguments.first, arguments.second)]
    name = check_name(arguments.save) if arguments.save else f"{styles[0].name} and {styles[1].name}"
    style = shown(model, mixture(model, name, styles, [1 - arguments.amount, arguments.amount]))
    destination(replace(style, description=arguments.description))
    _tell(style, [])


def _list(arguments: argparse.Namespace) -> None:
    presets = _presets(arguments.model)
    folder = library_folder(arguments.library)
    entries = list_styles(folder)
    if arguments.json:
        rows: list[dict[str, Any]] = [{"kind": "preset", **preset} for preset in presets]
        rows += [
            {"kind": "style", "name": e.name, "path": str(e.path)}
            | ({"problem": e.problem} if e.style is None else _described(e.style))
            for e in entries
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max([len(p["name"]) for p in presets] + [len(e.name) for e in entries], default=0)
    for preset in presets:
        print(f"{preset['name']:{width}}  {preset['description']}  (preset {preset['id']})")
        if preset["figures"]:
            print(f"{'':{width}}  {preset['figures']}")
    for entry in entries:
        if entry.style is None:
            print(f"{entry.name:{width}}  cannot be used: {entry.problem}")
            continue
        print(f"{entry.name:{width}}  {entry.style.description or entry.style.source.get('kind', '')}")
        if entry.style.measures:
            print(f"{'':{width}}  {entry.style.measures}")
    if not entries:
        print(f"(no styles of your own in {folder})", file=sys.stderr)


def _show(arguments: argparse.Namespace) -> None:
    from ..networks.checkpoint import bundled_model_path
    from ..styles.style_file import style_of_preset, vector_for

    model = load_chosen_model(arguments)
    style = _find(model, arguments, arguments.style)
    problem = ""
    try:
        vector_for(model, style)
    except StyleError as error:
        problem = error.message
    if style.source.get("kind") == "preset":
        key = str(style.source["preset"])
        style = style_of_preset(model, key)
        picture = (arguments.model or bundled_model_path()) / "thumbnails" / f"{key}.png"
        if picture.is_file():
            style = replace(style, thumbnail=picture.read_bytes())
    described = {"name": style.name, **_described(style), "problem": problem}
    if arguments.json:
        print(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        for key, value in described.items():
            if value not in ("", None, [], {}):
                print(f"{key:12} {value}")
    if arguments.thumbnail is not None:
        if not style.thumbnail:
            raise StyleError(f"The style “{style.name}” has no picture.", "style_missing")
        with whole_file(arguments.thumbnail) as file:
            file.write(style.thumbnail)


def _rename(arguments: argparse.Namespace) -> None:
    print(rename_style(library_folder(arguments.library), arguments.old, arguments.new))


def _delete(arguments: argparse.Namespace) -> None:
    delete_style(library_folder(arguments.library), arguments.name)


def _import(arguments: argparse.Namespace) -> None:
    for path in arguments.files:
        print(import_style(library_folder(arguments.library), path))


def _export(arguments: argparse.Namespace) -> None:
    print(export_style(library_folder(arguments.library), arguments.name, arguments.output))


def _tracker(arguments: argparse.Namespace) -> None:
    from ..tracking.landmarker import find_tracker
    from ..tracking.tracker_file import fetch_tracker

    print(fetch_tracker(allow_online=True) if arguments.fetch else find_tracker())


def _illustrate(arguments: argparse.Namespace) -> None:
    from ..head.head_model import load_head
    from ..styles.illustration import illustrate

    illustrate(
        arguments.folder,
        arguments.audio,
        arguments.head and load_head(arguments.head),
        on_preset=lambda key, measures: print(f"{key}: {measures}"),
    )


def _destination(arguments: argparse.Namespace) -> Callable[[Style], None]:
    """What writes the style where it was asked for; checked before the work is done."""
    output: Path | None = arguments.output
    bare = output is not None and output.suffix.lower() == ".npy"
    if output is None and not arguments.save:
        raise OutputError("Say where the style is to go: a file (-o) or a name in the library (--save).")
    if output is not None:
        output = checked_output(output, ".npy" if bare else ".dptstyle")

    def write(style: Style) -> None:
        from ..styles.style_file import save_style, save_style_vector

        if output is not None:
            print(save_style_vector(output, style.vector) if bare else save_style(output, style))
        if arguments.save:
            print(add_style(library_folder(arguments.library), style, replace=arguments.replace))

    return write


def _find(model: DiffPoseTalk, arguments: argparse.Namespace, word: str) -> Style:
    from ..styles.request import StyleRequest

    folder = None if arguments.library is None else str(arguments.library)
    style = StyleRequest.parse(word, folder=folder).style(model)
    if style is None:
        raise StyleError("“none” is no style to show or mix.", "style_missing")
    return style


def _presets(folder: Path | None) -> list[dict[str, Any]]:
    """The presets of a model directory, without loading its networks."""
    from ..networks.checkpoint import bundled_model_path, load_styles, read_config

    folder = folder or bundled_model_path()
    styles = load_styles(folder, read_config(folder))
    return [
        {"id": key, "name": style.name, "description": style.description, **listed_measures(style.measures)}
        for key, style in styles.items()
    ]


def _described(style: Style) -> dict[str, Any]:
    return {
        "description": style.description,
        **listed_measures(style.measures),
        "measured": style.measured,
        "basis": style.basis,
        "model": style.model,
        "source": style.source,
        "notes": list(style.notes),
    }


def _tell(style: Style, notes: list[str]) -> None:
    if style.measures:
        print(style.measures, file=sys.stderr)
    for note in (*notes, *style.notes):
        print(note, file=sys.stderr)
