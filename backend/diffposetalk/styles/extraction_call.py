# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading, previewing and mixing styles from file to file, as the server is asked to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..files.png import write_png
from ..networks.model import DiffPoseTalk
from .creation import head_of_basis, style_from_motion
from .illustration import shown
from .pictures import reference_plot
from .reading import chosen_window, read_style, reference_motion
from .request import StyleRequest
from .style_file import Style, save_style, style_of_vector
from .vector_file import save_style_vector


def extract(
    model: DiffPoseTalk,
    motion: str,
    output: str,
    start_frame: int | None = None,
    window: str = "auto",
    heads: dict[str, str] | None = None,
    description: str = "",
    source: dict[str, Any] | None = None,
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """Read the style of a motion file and write it; see `server.Backend.extract_style`.

    Returns:
        `path`, `notes`, `figures` and `measures`, and which windows: `starts` (frames), `frames`, `fps`.
    """
    path = Path(output)
    if Path(motion).suffix.lower() == ".npy":
        style = replace(shown(model, style_of_vector(model, path.stem, motion)), description=description)
        return {"path": str(save_style(path, style)), **_told(style), "starts": [], "frames": 0, "fps": 0.0}
    clip = reference_motion(model, motion, heads)
    style, reading = style_from_motion(
        model,
        clip,
        path.stem,
        window=chosen_window(start_frame, window),
        source=source or {"kind": "motion", "file": Path(motion).name},
        description=description,
    )
    style = replace(style, notes=(*(notes or ()), *style.notes))
    bare = path.suffix.lower() == ".npy"
    written = save_style_vector(path, style.vector) if bare else save_style(path, style)
    return {
        "path": str(written),
        **_told(style),
        "starts": list(reading.starts),
        "frames": reading.frames,
        "fps": model.config.fps,
    }


def preview(
    model: DiffPoseTalk,
    motion: str,
    output: str,
    start_frame: int | None = None,
    window: str = "auto",
    heads: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Plot a motion file with the windows that would be read; see `server.Backend.preview_reference`.

    Returns:
        `plot`, its path; `count`, frames of the reference; `starts`, `frames` and `fps` of the windows; `notes`.
    """
    clip = reference_motion(model, motion, heads)
    reading = read_style(model, clip, chosen_window(start_frame, window))
    head = head_of_basis(clip.basis)
    opening = None if head is None else head.lip_gap(clip.exp, clip.pose)
    image = reference_plot(clip, reading.starts, reading.frames, model.config.fps, opening)
    return {
        "plot": str(write_png(output, image)),
        "count": round(len(clip) * model.config.fps / clip.fps),
        "starts": list(reading.starts),
        "frames": reading.frames,
        "fps": model.config.fps,
        "notes": list(reading.notes),
    }


def mix(
    model: DiffPoseTalk, styles: list[dict[str, Any]], amounts: list[float], output: str
) -> dict[str, Any]:
    """Write the mixture of styles; see `server.Backend.mix_styles`."""
    mixed = StyleRequest.parse({"mix": styles, "amounts": amounts}).style(model)
    assert mixed is not None
    style = shown(model, replace(mixed, name=Path(output).stem))
    return {"path": str(save_style(output, style)), **_told(style)}


def _told(style: Style) -> dict[str, Any]:
    return {
        "notes": list(style.notes),
        "figures": str(style.measures) if style.measures else "",
        "measures": style.measures.to_dict() if style.measures else None,
    }
