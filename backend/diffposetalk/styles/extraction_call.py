# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading, previewing and mixing styles from file to file, as the server is asked to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import StyleError
from ..files.png import write_png
from ..networks.model import DiffPoseTalk
from .creation import head_of_basis, style_from_motion
from .illustration import shown
from .pictures import reference_plot
from .reading import read_style
from .specification import chosen_window, reference_motion
from .style_file import Style, load_style, mixture, save_style, style_of_preset, style_space
from .vector_file import load_style_vector, save_style_vector


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
        style = replace(_of_vector(model, motion, path.stem), description=description)
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
    """Write the mixture of presets and style files; see `server.Backend.mix_styles`."""
    if len(styles) != len(amounts):
        raise StyleError("A mixture needs an amount for each of its styles.", "style_mix")
    style = shown(model, mixture(model, Path(output).stem, [_style(model, s) for s in styles], amounts))
    return {"path": str(save_style(output, style)), **_told(style)}


def _style(model: DiffPoseTalk, spec: dict[str, Any]) -> Style:
    if "file" in spec:
        return load_style(spec["file"])
    if spec.get("preset") in model.styles:
        return style_of_preset(model, spec["preset"])
    raise StyleError("What is mixed are presets of the model and style files.", "style_mix")


def _of_vector(model: DiffPoseTalk, vector: str, name: str) -> Style:
    """A bare vector as a style: taken for this model's, for it does not say whose it is."""
    style = Style(
        name,
        load_style_vector(vector, model.config.denoiser.style_dim).cpu(),
        style_space(model),
        model.config.basis,
        model.config.name,
        source={"kind": "vector", "file": Path(vector).name},
        notes=("A bare style vector does not say which model it is of; it was taken for this one's.",),
    )
    return shown(model, style)


def _told(style: Style) -> dict[str, Any]:
    return {
        "notes": list(style.notes),
        "figures": str(style.measures) if style.measures else "",
        "measures": style.measures.to_dict() if style.measures else None,
    }
