# SPDX-License-Identifier: GPL-3.0-or-later
"""Thumbnails and figures of styles that no motion is kept of, presets above all: of motion generated in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ..errors import AudioError, StyleError
from ..files.png import write_png
from ..generation.batching import generate_lines
from ..generation.line import Line
from ..generation.options import GenerationOptions
from ..head.head_model import HeadModel
from ..motion.clip import MotionClip
from ..motion.style_measures import StyleMeasures
from ..networks.checkpoint import STYLES_NAME, bundled_model_path, load_model, save_styles
from ..networks.model import DiffPoseTalk, StylePreset
from ..sound.audio import load_speech
from .creation import described, head_of_basis
from .description import measure_style
from .pictures import thumbnail_strip
from .style_file import Style

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
    clips = spoken_in(model, [preset.vector for preset in model.styles.values()], audio)
    styles = {}
    for index, (key, preset) in enumerate(model.styles.items()):
        measures = measure_style(clips[index], head)
        (folder / THUMBNAILS).mkdir(exist_ok=True)
        write_png(folder / THUMBNAILS / f"{key}.png", thumbnail_strip([clips[index][0]], head))
        styles[key] = StylePreset(preset.name, preset.description, preset.vector, measures)
        if on_preset is not None:
            on_preset(key, measures)
    save_styles(folder / STYLES_NAME, styles)
    return styles


def shown(model: DiffPoseTalk, style: Style) -> Style:
    """A mixture with figures and a thumbnail of motion in it; as it is where there is nothing to speak or no head."""
    head = head_of_basis(style.basis)
    if head is None or _bundled_clips() == []:
        return style
    [clips] = spoken_in(model, [style.vector.to(model.device)], seeds=SEEDS[:1])
    return described(style, head, clips, "generated")


def spoken_in(
    model: DiffPoseTalk,
    vectors: Sequence[torch.Tensor],
    audio: Path | None = None,
    seeds: Sequence[int] = SEEDS,
) -> list[list[MotionClip]]:
    """Motion of one recording, spoken in each of some styles with each seed.

    Args:
        audio: the recording; None is the clip beside the bundled model.

    Raises:
        AudioError: there is none, or it cannot be used.
    """
    if audio is None and not _bundled_clips():
        raise AudioError(
            "There is no recording beside the bundled model; give one (--audio).", "audio_missing"
        )
    speech = load_speech(audio or _bundled_clips()[0], 0.0, SECONDS)
    lines = [Line(speech, GenerationOptions(tuple(seeds)), vector) for vector in vectors]
    clips = dict(generate_lines(model, lines))
    return [clips[index] for index in range(len(lines))]


def _bundled_clips() -> list[Path]:
    return sorted((bundled_model_path().parent / "clips").glob("*.flac"))
