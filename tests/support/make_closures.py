# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by the backend's Python: `closures.npz`, lines that the bundled model speaks, and where the lips close and open.

Usage: python make_closures.py CORPUS OUT.npz

The corpus is `kokoro_en` (synthetic voices, Apache-2.0). Lines are taken one after another, each with a rest before the
next, until 18 of P, B and M are among them; open vowels are counted up to as many. What is taken is what the bundled
head shows, so that a character that fails at a phone fails by its own.
"""

import json
import sys
from pathlib import Path

import numpy as np

import diffposetalk
from diffposetalk.head.geometry import FaceRegions
from diffposetalk.head.head_model import bundled_head_path, load_head
from diffposetalk.lips.articulation import CLOSED, OPEN, span
from diffposetalk.phones import BILABIALS, OPEN_VOWELS

MODEL = Path(__file__).parents[2] / "flame_assets" / "model"
COUNT, REST, MOST_SECONDS = 18, 5, 4.5


def main(corpus: str, out: str) -> None:
    """Generate and write."""
    model = diffposetalk.load_model(str(MODEL))
    face = FaceRegions(load_head(bundled_head_path()))
    rows = json.loads((Path(corpus) / "index.json").read_text(encoding="utf-8"))
    exp, pose, phones, lines, seen = [], [], [], [], {"closed": 0, "open": 0}
    frames = 0
    for row in rows[::19]:
        said = [(p, float(a), float(b)) for _, p, a, b in row["phones"] or ()]
        bilabials = sum(p in BILABIALS for p, *_ in said)
        if not 2 <= bilabials <= COUNT - seen["closed"] or said[-1][2] > MOST_SECONDS:
            continue
        speech = diffposetalk.load_speech(Path(corpus) / f"{row['id']}.flac")
        [clip] = diffposetalk.generate(model, speech, style=None, seeds=[0])
        gap = face.track(clip).opening
        level = np.percentile(gap, 95)
        kept = []
        for phone, start, end in said:
            near = gap[span(start, end, len(gap))]
            if phone in BILABIALS and near.min() < CLOSED * level:
                kept.append(("closed", start, end))
            if phone in OPEN_VOWELS and near.max() > OPEN * level:
                kept.append(("open", start, end))
        if sum(kind == "closed" for kind, *_ in kept) < bilabials:
            continue
        print(row["id"], row["text"], bilabials, 1e3 * level)
        for kind, start, end in kept:
            if seen[kind] < COUNT:
                seen[kind] += 1
                phones.append((kind, frames / 25 + start, frames / 25 + end))
        lines.append((frames, frames + len(clip.exp)))
        exp += [clip.exp, np.zeros((REST, clip.exp.shape[1]), np.float32)]
        pose += [clip.pose, np.zeros((REST, 6), np.float32)]
        frames += len(clip.exp) + REST
        if seen["closed"] == COUNT:
            break
    print(seen, frames)
    np.savez_compressed(
        out,
        exp=np.concatenate(exp).astype(np.float16),
        pose=np.concatenate(pose).astype(np.float16),
        kind=np.array([kind for kind, *_ in phones]),
        lines=np.array(lines),
        span=np.array([times for _, *times in phones], np.float32),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
