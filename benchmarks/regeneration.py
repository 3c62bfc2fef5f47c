# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins of ranges that are generated again: how fast they are, held against the take's own speeds.

A join's speed is said as its percentile among all speeds of the take it was put into; the take's own speeds at the
same places are given beside it. Ranges of all lengths lie anywhere in a take of the bundled recording, at its start
and end too. What replacement alone gives, without the bending of the seams (`inpainting.Seams`), is measured as well.

python benchmarks/regeneration.py [--ranges 20] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np

from diffposetalk.diffusion import inpainting
from diffposetalk.generation.batching import generate
from diffposetalk.generation.ranges import regenerate
from diffposetalk.motion.clip import to_vectors
from diffposetalk.motion.dynamics import motion_speed
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.sound.audio import load_speech

CLIP = Path(__file__).resolve().parents[1] / "flame_assets" / "clips" / "jfk.flac"
LENGTHS = (6, 12, 25, 40, 75, 130)
PARTS = {"all channels": slice(0, 54), "face": slice(0, 50), "head": slice(50, 53)}


def main() -> None:
    """Measure and write `regeneration.md`."""
    parser = argparse.ArgumentParser(description="Joins of ranges that are generated again.")
    parser.add_argument("--ranges", type=int, default=20, help="how many (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    model, audio = load_model(), load_speech(CLIP)
    style = next(iter(model.styles.values())).vector
    [take] = generate(model, audio, style=style, seeds=[0])
    before, scale = to_vectors(take, 54), model.normalizer.motion_std.cpu().numpy()
    choose = random.Random(0)
    ranges = []
    for number in range(arguments.ranges):
        length = LENGTHS[number % len(LENGTHS)]
        start = choose.choice([0, len(take) - length, *[choose.randrange(1, len(take) - length)] * 4])
        ranges.append((start, start + length))
    rows = [
        "# Ranges generated again",
        "",
        f"{len(ranges)} ranges of {min(LENGTHS)} to {max(LENGTHS)} frames in a take of {len(take)}, two seeds each.",
        "",
        "| joins | within the 95th percentile | mean percentile | the take's own there |",
        "| --- | --- | --- | --- |",
    ]
    plain = inpainting.Seams.__call__
    for label, bend in (("in-painted", True), ("replacement alone", False)):
        if not bend:
            inpainting.Seams.__call__ = lambda self, motion: self.clean.where(self.known, motion)  # type: ignore[method-assign, misc]
        began, joins, own = time.process_time(), {p: [] for p in PARTS}, {p: [] for p in PARTS}  # type: ignore[var-annotated]
        for start, stop in ranges:
            for clip in regenerate(model, audio, take, start, stop, seeds=[1, 2], style=style):
                after = to_vectors(clip, 54)
                for name, part in PARTS.items():
                    usual, new = (motion_speed(v[:, part], scale[part]) for v in (before, after))
                    places = [p for p in (start - 1, stop - 1) if 0 <= p < len(usual)]
                    joins[name] += [float((usual < new[p]).mean()) for p in places]
                    own[name] += [float((usual < usual[p]).mean()) for p in places]
        took = time.process_time() - began
        for name, found in joins.items():
            within = np.mean(np.array(found) <= 0.95)
            rows.append(
                f"| {label}, {name} | {within:.0%} of {len(found)} | {np.mean(found):.2f} | {np.mean(own[name]):.2f} |"
            )
        if bend:
            timing = f"A range takes {took / len(ranges):.1f} s of CPU time for two seeds."
    inpainting.Seams.__call__ = plain  # type: ignore[method-assign]
    rows += ["", timing]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "regeneration.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
