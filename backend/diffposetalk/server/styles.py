# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of speaking styles: read from a reference, shown, mixed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .backend import Backend, method
from .jsonrpc import Call

if TYPE_CHECKING:
    from ..networks.model import DiffPoseTalk
    from ..styles.reading import StyleReading
    from ..styles.style_file import Style


@method(long=True)
def extract_style(
    backend: Backend,
    call: Call,
    *,
    motion: str,
    output: str,
    start_frame: int | None = None,
    window: str = "auto",
    heads: dict[str, str] | None = None,
    description: str = "",
    source: dict[str, Any] | None = None,
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """Write the style of a reference motion, as a style file (`.dptstyle`) or a bare vector (`.npy`).

    The style is named after the file. `start_frame` (25 a second) or `window` (“auto”, “mean”) say which four
    seconds; `source` and `notes` are kept in the style's file; `heads` as of `styles.resolve_style`. Answers `path`,
    `notes`, `figures` and `measures`, and which windows were read: `starts` (frames), `frames`, `fps`.
    """
    model = backend.loaded_model()
    from ..styles.creation import style_from_motion
    from ..styles.illustration import shown
    from ..styles.reading import chosen_window, reference_motion
    from ..styles.style_file import save_style, save_style_vector, style_of_vector

    path = Path(output)
    if Path(motion).suffix.lower() == ".npy":
        style = replace(shown(model, style_of_vector(model, path.stem, motion)), description=description)
        return {"path": str(save_style(path, style)), **_listed(style), "starts": [], "frames": 0, "fps": 0.0}
    style, reading = style_from_motion(
        model,
        reference_motion(model, motion, heads),
        path.stem,
        window=chosen_window(start_frame, window),
        source=source or {"kind": "motion", "file": Path(motion).name},
        description=description,
    )
    style = replace(style, notes=(*(notes or ()), *style.notes))
    bare = path.suffix.lower() == ".npy"
    written = save_style_vector(path, style.vector) if bare else save_style(path, style)
    return {"path": str(written), **_listed(style), **_windows(model, reading)}


@method(long=True)
def preview_reference(
    backend: Backend,
    call: Call,
    *,
    motion: str,
    output: str,
    start_frame: int | None = None,
    window: str = "auto",
    heads: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Plot a reference with the four seconds that `extract_style` would read, as a picture (`.png`).

    Answers `plot`, its path; `count`, frames of the reference; `starts`, `frames` and `fps` of the windows; `notes`.
    """
    model = backend.loaded_model()
    from ..files.png import write_png
    from ..styles.creation import head_of_basis
    from ..styles.pictures import reference_plot
    from ..styles.reading import chosen_window, read_style, reference_motion

    clip = reference_motion(model, motion, heads)
    reading = read_style(model, clip, chosen_window(start_frame, window))
    head = head_of_basis(clip.basis)
    opening = None if head is None else head.lip_gap(clip.exp, clip.pose)
    image = reference_plot(clip, reading.starts, reading.frames, model.config.fps, opening)
    return {
        "plot": str(write_png(output, image)),
        "count": round(len(clip) * model.config.fps / clip.fps),
        "notes": list(reading.notes),
        **_windows(model, reading),
    }


@method(long=True)
def mix_styles(
    backend: Backend, call: Call, *, styles: list[dict[str, Any]], amounts: list[float], output: str
) -> dict[str, Any]:
    """Write a mixture of presets and style files as a style file named after `output`."""
    model = backend.loaded_model()
    from ..styles.illustration import shown
    from ..styles.request import StyleRequest
    from ..styles.style_file import save_style

    mixed = StyleRequest.parse({"mix": styles, "amounts": amounts}).style(model)
    assert mixed is not None
    style = shown(model, replace(mixed, name=Path(output).stem))
    return {"path": str(save_style(output, style)), **_listed(style)}


def _listed(style: Style) -> dict[str, Any]:
    from ..motion.style_measures import listed_measures

    return {"notes": list(style.notes), **listed_measures(style.measures)}


def _windows(model: DiffPoseTalk, reading: StyleReading) -> dict[str, Any]:
    return {"starts": list(reading.starts), "frames": reading.frames, "fps": model.config.fps}
