# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a model follows style references: retrieval, mouth opening and head amplitude over many styles.

For retrieval the model's own style encoder reads outputs and references (paper section 3.3.1), compared by the cosine
it was trained under.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from ..config import FPS
from ..errors import DataError
from ..generation.batching import generate_lines
from ..generation.line import Line
from ..generation.options import GenerationOptions
from ..head.geometry import FaceRegions
from ..motion.arkit import EXPRESSIONS
from ..motion.clip import MotionClip, from_vectors, to_vectors
from ..motion.dynamics import head_amplitude
from ..motion.formats import read_motion
from ..networks.model import DiffPoseTalk
from ..networks.speech.encoder import SAMPLES_PER_FRAME
from ..sound.audio import SpeechAudio
from ..styles import extract_style
from ..train.own_model.performance import draw_factors, perform
from ..train.own_model.prosody import analyse
from ..train.own_model.sequences import join
from .references import Reference

REFERENCE_FRAMES = 200
"""Of a drawn style reference, two windows of the style encoder."""
QUARTER = 4
TAKES = 3
"""Takes of every style, over which amplitudes are averaged: slow motion's own varies by half between takes of 8 s."""


def read_style_references(folder: str | Path) -> list[MotionClip]:
    """The motion clips of a folder, by name.

    Raises:
        DataError: fewer than two.
        MotionError: one cannot be read.
    """
    paths = [p for s in ("*.npz", "*.csv") for p in sorted(Path(folder).glob(s))]
    if len(paths) < 2:
        raise DataError(f"“{folder}” holds {len(paths)} motion clips; styles to tell apart are at least two.")
    return [read_motion(path) for path in paths]


def drawn_style_references(references: Sequence[Reference], count: int, seed: int = 20) -> list[MotionClip]:
    """Style references performed in `count` manners that no training has seen, on recorded lips (ARKit basis).

    The manners are drawn as training's are (`train.performance`), with a seed of their own.

    Raises:
        DataError: no reference has motion in the ARKit basis.
    """
    spoken = [r for r in references if r.motion is not None and r.motion.basis == "arkit"]
    if not spoken:
        raise DataError(
            "Styles can only be drawn for recordings with motion in the ARKit basis.", "data_styles"
        )
    rng = np.random.default_rng(seed)
    clips = []
    for index in range(count):
        lips: list[np.ndarray] = []
        sound: list[np.ndarray] = []
        while sum(map(len, lips)) < REFERENCE_FRAMES:
            reference = spoken[(index + len(lips)) % len(spoken)]
            assert reference.motion is not None
            samples = reference.samples()
            frames = min(len(reference.motion), len(samples) // SAMPLES_PER_FRAME)
            lips.append(to_vectors(reference.motion, 54)[:frames])
            sound.append(samples[: frames * SAMPLES_PER_FRAME])
        motion = join(lips)
        prosody = analyse(np.concatenate(sound), len(motion))
        performed = perform(motion[:, :50], motion[:, 53], prosody, draw_factors(rng), rng)
        exp, pose = from_vectors(performed)
        clips.append(MotionClip(exp, pose, FPS, "arkit", None, EXPRESSIONS, {"performed": True}))
    return clips


def evaluate_style_following(
    model: DiffPoseTalk,
    styles: Sequence[MotionClip],
    audio: SpeechAudio,
    regions: FaceRegions,
    options: GenerationOptions | None = None,
) -> dict[str, float]:
    """Let the model say the same in every style, and see what of the style arrives.

    Amplitudes are means over TAKES takes; retrieval is by the first take alone.

    Args:
        styles: references in the model's basis.
        audio: speech of at least the style encoder's window (4 s).
        regions: of a head of the model's basis.

    Returns:
        Figures by the keys of `reported_figures.STYLE`, NaN where they cannot be measured.

    Raises:
        StyleError: a reference is too short or of another basis.
    """
    with torch.no_grad():
        wanted = [extract_style(model, clip) for clip in styles]
    options = options or GenerationOptions()
    lines = [
        Line(audio, replace(options, seeds=tuple(range(TAKES * number, TAKES * (number + 1)))), vector)
        for number, vector in enumerate(wanted)
    ]
    outputs = [takes for _, takes in sorted(generate_lines(model, lines), key=lambda numbered: numbered[0])]
    given = [extract_style(model, takes[0]) for takes in outputs]

    def opening(clips: Sequence[MotionClip]) -> float:
        return float(np.mean([np.percentile(regions.track(clip).opening, 95) for clip in clips]))

    def head(clips: Sequence[MotionClip]) -> float:
        return float(np.mean([head_amplitude(clip.pose[:, :3]) for clip in clips]))

    alone = [[clip] for clip in styles]
    asked, said = ([opening(clips) for clips in spoken] for spoken in (alone, outputs))
    quarter = max(1, len(styles) // QUARTER)
    order = np.argsort(asked)
    small = np.mean([said[i] for i in order[:quarter]])
    large = np.mean([said[i] for i in order[-quarter:]])
    return {
        "style_top1": top_1(torch.stack(given).cpu().numpy(), torch.stack(wanted).cpu().numpy()),
        "style_chance": 1 / len(styles),
        "style_opening": rank_correlation(said, asked),
        "style_opening_ratio": float(large / small) if small > 1e-6 else float("nan"),
        "style_head": rank_correlation([head(takes) for takes in outputs], [head(clip) for clip in alone]),
    }


def cosine_similarity(outputs: np.ndarray, references: np.ndarray) -> np.ndarray:
    """(N, M) cosines of style vectors (N, S) and (M, S)."""
    ours = outputs / np.maximum(np.linalg.norm(outputs, axis=1, keepdims=True), 1e-12)
    theirs = references / np.maximum(np.linalg.norm(references, axis=1, keepdims=True), 1e-12)
    return ours @ theirs.T


def top_1(outputs: np.ndarray, references: np.ndarray) -> float:
    """Share of outputs whose most similar reference is the one they were made after; chance is 1/N.

    Args:
        outputs: (N, S) styles of generated motion; references: (N, S), row i is what output i followed.
    """
    if outputs.shape != references.shape:
        raise ValueError(f"{len(outputs)} outputs do not pair with {len(references)} references")
    return float((cosine_similarity(outputs, references).argmax(axis=1) == np.arange(len(outputs))).mean())


def rank_correlation(outputs: Sequence[float], references: Sequence[float]) -> float:
    """Spearman's correlation of a quantity (a head's amplitude, an opening) over styles; NaN if one is constant."""
    if len(outputs) < 3 or np.ptp(outputs) == 0 or np.ptp(references) == 0:
        return float("nan")
    return float(spearmanr(outputs, references).statistic)
