# SPDX-License-Identifier: GPL-3.0-or-later
"""Thumbnails and figures of the presets that ship with a model, of motion generated in each on one recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..audio import load_speech
from ..checkpoint import STYLES_NAME, bundled_model_path, load_model, save_styles
from ..errors import AudioError, StyleError
from ..generation import Line, generate_lines
from ..head_model import HeadModel
from ..model import StylePreset
from ..motion import MotionClip
from ..png import write_png
from .creation import head_of_basis
from .description import measure_style
from .measures import StyleMeasures
from .pictures import thumbnail_strip

THUMBNAILS = "thumbnails"
"""Folder in a model directory; each preset's picture is named by its id."""
SECONDS, SEEDS = 11.0, (0, 1, 2)


def illustrate(
    folder: Path,
    audio: Path | None = None,
    head: HeadModel | None = None,
    on_preset: Callable[[str, StyleMeasures], None] | None = None,
) -> dict[str, StylePreset]:
    """Measure a model directory's presets and picture them: figures go into `styles.json`, strips into `thumbnails/`.

    Args:
        audio: speech to generate on; None is the clip beside the bundled model.
        head: of the model's basis; None is the bundled head.
        on_preset: told each preset's figures.

    Returns:
        The presets by id, with their figures.

    Raises:
        DiffPoseTalkError: the model, the recording or the head cannot be used; `style_head`: no head of its basis.
    """
    model = load_model(folder, device="cpu")
    head = head or head_of_basis(model.config.basis)
    if head is None or head.basis != model.config.basis:
        raise StyleError(
            f"Presets of the {model.config.basis} basis can only be shown on a head of it: give one (--head).",
            "style_head",
        )
    speech = load_speech(audio or _bundled_clip(), 0.0, SECONDS)
    lines = [Line(speech, SEEDS, style=preset.vector) for preset in model.styles.values()]
    made: dict[int, list[MotionClip]] = dict(generate_lines(model, lines))
    styles = {}
    for index, (key, preset) in enumerate(model.styles.items()):
        measures = measure_style(made[index], head)
        (folder / THUMBNAILS).mkdir(exist_ok=True)
        write_png(folder / THUMBNAILS / f"{key}.png", thumbnail_strip([made[index][0]], head))
        styles[key] = StylePreset(preset.name, preset.description, preset.vector, measures)
        if on_preset is not None:
            on_preset(key, measures)
    save_styles(folder / STYLES_NAME, styles)
    return styles


def _bundled_clip() -> Path:
    folder = bundled_model_path().parent / "clips"
    found = sorted(folder.glob("*.flac"))
    if not found:
        raise AudioError(
            "There is no recording beside the bundled model; give one (--audio).", "audio_missing"
        )
    return found[0]
