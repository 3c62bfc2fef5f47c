# SPDX-License-Identifier: GPL-3.0-or-later
"""`diffposetalk evaluate`: articulation and dynamics of a model on held-out recordings."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `diffposetalk evaluate`."""
    parser.add_argument("data", type=Path, help="folder that holds grid_s1, kokoro_en and speechocean")
    parser.add_argument(
        "--model", type=Path, default=None, help="model directory (default: the bundled model)"
    )
    parser.add_argument("--style", default="recorded", help="style preset, or 'none' (default: recorded)")
    parser.add_argument("--clips", type=int, default=None, help="validation clips per corpus (default: all)")
    parser.add_argument(
        "--seconds", type=float, default=80.0, help="length of the recording for dynamics (s)"
    )
    parser.add_argument("--steps", type=int, default=None, help="network evaluations per window")
    parser.add_argument("--style-guidance", type=float, default=None, help="guidance scale of style")
    parser.add_argument("--speech-guidance", type=float, default=None, help="guidance scale of speech")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures to this file")


def run(arguments: argparse.Namespace) -> int:
    """Print the figures; returns the exit status."""
    from ..checkpoint import load_model
    from ..styles import resolve_style
    from .speaker import evaluate_dynamics, evaluate_speaker, evaluate_voices, joined_validation_speech

    model = load_model(arguments.model)
    style = None if arguments.style == "none" else resolve_style(model, {"preset": arguments.style})
    settings = {
        "steps": arguments.steps,
        "style_guidance": arguments.style_guidance,
        "speech_guidance": arguments.speech_guidance,
    }
    figures = {
        "grid_s1": evaluate_speaker(model, arguments.data / "grid_s1", style, arguments.clips, **settings),
        "dynamics": evaluate_dynamics(
            model, joined_validation_speech(arguments.data / "grid_s1", arguments.seconds), style, **settings
        ),
    }
    for corpus in ("kokoro_en", "speechocean"):
        figures[f"unseen voices, {corpus}"] = evaluate_voices(
            model, arguments.data / corpus, style, arguments.clips or 60, **settings
        )
    for title, values in figures.items():
        sys.stdout.write(f"{title}\n")
        for name, value in values.items():
            sys.stdout.write(f"  {name:40s} {value:.4g}\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0
