# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lip-sync check goes by: the model's own judgement held against phones, and words in time against a corpus.

On clips that no training saw. A closure that the model's takes expect is right where a P, B or M is within 40 ms; a P,
B or M is found where an expected closure is within 40 ms. Words begin where the corpus itself says (GRID's `words`),
which was not made by the aligner.

python benchmarks/lip_check.py grid_s1 [--clips 30] [--model FOLDER] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from diffposetalk.generation.batching import generate
from diffposetalk.head.geometry import FaceRegions
from diffposetalk.head.head_model import load_head
from diffposetalk.lips.articulation import span
from diffposetalk.lips.check import align_transcript
from diffposetalk.lips.missed_closures import SAMPLES, STEPS, expected_closures
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.phones import BILABIALS
from diffposetalk.sound.audio import load_speech
from diffposetalk.train.own_model.corpora import Utterance, read_corpus


def main() -> None:
    """Measure and write `lip_check.md`."""
    parser = argparse.ArgumentParser(description="What the lip-sync check goes by.")
    parser.add_argument("corpus", type=Path, help="folder with index.json, as `diffposetalk train` reads it")
    parser.add_argument("--clips", type=int, default=30, help="how many (%(default)s)")
    parser.add_argument("--model", type=Path, help="model directory (default: the bundled one)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    clips = [u for u in read_corpus(arguments.corpus) if u.validation][: arguments.clips]
    rows = [
        "# What the lip-sync check goes by",
        "",
        f"{len(clips)} clips of {arguments.corpus.name} that no training saw.",
        "",
        *model_judgement(clips, arguments.model),
        *words_in_time(arguments.corpus, {clip.id for clip in clips}),
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "lip_check.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print("\n".join(rows))


def model_judgement(clips: list[Utterance], folder: Path | None) -> list[str]:
    """How well closures that the model expects and phones that close the lips agree."""
    model, face = load_model(folder), FaceRegions(load_head())
    style = model.styles[model.config.sampling.style or next(iter(model.styles))].vector
    right = expected = found = spoken = 0
    for clip in clips:
        speech = load_speech(clip.sound)
        steps = min(STEPS, model.config.sampling.steps)
        takes = generate(model, speech, style=style, seeds=list(range(SAMPLES)), steps=steps)
        closures = [e.frames for e in expected_closures(np.stack([face.track(t).opening for t in takes]))]
        phones = [
            span(start, stop, len(takes[0]))
            for symbol, start, stop in clip.phones
            if symbol.rstrip("012") in BILABIALS
        ]
        right += sum(any(_meet(c, p) for p in phones) for c in closures)
        found += sum(any(_meet(c, p) for c in closures) for p in phones)
        expected, spoken = expected + len(closures), spoken + len(phones)
    return [
        f"- {right} of {expected} closures that the takes of “{model.config.name}” expect "
        f"({right / max(1, expected):.0%}) fall on a P, B or M.",
        f"- They find {found} of {spoken} of these ({found / max(1, spoken):.0%}).",
    ]


def _meet(closure: slice, phone: slice) -> bool:
    """Whether the middle of a closure lies in the frames of a phone."""
    return phone.start <= (closure.start + closure.stop - 1) / 2 < phone.stop


def words_in_time(corpus: Path, chosen: set[str]) -> list[str]:
    """How far the beginnings of aligned words are from the corpus's own; nothing where it has none."""
    apart: list[float] = []
    for row in json.loads((corpus / "index.json").read_text(encoding="utf-8")):
        if row["id"] in chosen and row.get("words"):
            words, _ = align_transcript(corpus / f"{row['id']}.flac", row["text"])
            own = [(text, start) for text, start, _ in row["words"] if text not in ("sil", "sp")]
            if [w.text for w in words] == [text for text, _ in own]:
                apart += [abs(w.start - start) for w, (_, start) in zip(words, own, strict=True)]
    if not apart:
        return []
    within = np.mean(np.array(apart) <= 0.1)
    return [
        f"- {len(apart)} words begin {1000 * np.median(apart):.0f} ms (median) from where the corpus says, "
        f"{within:.0%} within 100 ms."
    ]


if __name__ == "__main__":
    main()
