# SPDX-License-Identifier: GPL-3.0-or-later
"""Time and peak memory of each stage from a recording to a motion clip; run by hand, asserts nothing.

python tests/backend/bench_generate.py [--seconds 10] [--threads 2]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIP = Path(__file__).resolve().parents[2] / "flame_assets" / "clips" / "jfk.flac"


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Print the wall time of a stage and the process's peak memory after it."""
    began = time.perf_counter()
    yield
    spent = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:28s} {spent:7.2f} s   peak {peak:6.0f} MiB")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="length of speech (s), at most the clip's 11"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: PyTorch's)")
    parser.add_argument("--takes", type=int, default=1)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    with stage("import"):
        import torch

        from diffposetalk.audio import load_speech
        from diffposetalk.checkpoint import load_model
        from diffposetalk.generation import generate
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with stage("load model"):
        model = load_model(device=arguments.device)
    with stage("read recording"):
        audio = load_speech(CLIP, seconds=arguments.seconds)
    style = next(iter(model.styles.values())).vector
    marks: dict[str, float] = {}

    def on_progress(name: str, done: int, total: int) -> None:
        if done == total:
            marks[name] = time.perf_counter()

    for run in ("first", "warm"):
        began = time.perf_counter()
        with stage(f"generate ({run})"):
            clips = generate(
                model,
                audio,
                style=style,
                seeds=list(range(arguments.takes)),
                steps=arguments.steps,
                on_progress=on_progress,
            )
        print(f"  speech features            {marks['speech'] - began:7.2f} s")
        print(f"  sampling                   {marks['motion'] - marks['speech']:7.2f} s")
    with stage("write clips"), tempfile.TemporaryDirectory() as folder:
        for index, clip in enumerate(clips):
            clip.save(Path(folder) / f"{index}.npz")
    spent = marks["motion"] - began
    print(f"real-time factor of a warm run: {spent / audio.seconds:.3f} ({arguments.takes} take(s))")


if __name__ == "__main__":
    main()
