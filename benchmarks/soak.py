# SPDX-License-Identifier: GPL-3.0-or-later
"""Hundreds of generations in one backend process: whether memory stays flat and handles do not pile up.

Lengths, styles and takes change from one generation to the next; every tenth is followed by a recording that is
refused, every hundredth by the model being loaded again. Writes a table (`soak.md`, or `soak_hours.md` with `--hours`);
exit status 1 where memory grew by more than five per cent or handles by any.

python benchmarks/soak.py [--generations 500 | --hours 8] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from backend_process import BackendProcess

ASSETS = Path(__file__).resolve().parents[1] / "flame_assets"
CLIP = ASSETS / "clips" / "jfk.flac"
WARM = 50
"""Generations until every length has been met and caches are filled."""
SPAN = 50
"""Generations over which memory is averaged, at the beginning and at the end."""
ALLOWED_GROWTH = 0.05


@dataclass(frozen=True)
class Sample:
    """What the process held after a generation; memory is resident (MiB), seconds are of the processor."""

    memory: float
    descriptors: int
    threads: int
    seconds: float


def look(pid: int) -> Sample:
    """The process as the system describes it (Linux)."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return Sample(
        int(status["VmRSS"].split()[0]) / 1024,
        len(os.listdir(f"/proc/{pid}/fd")),
        int(status["Threads"]),
        sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"),
    )


def short_lines(count: int, styles: list[str]) -> Iterator[dict[str, Any]]:
    """Requests for `count` generations of 0.4 to 2.5 s in two steps."""
    chance = random.Random(0)
    for _ in range(count):
        yield {
            "audio": str(CLIP),
            "audio_start": round(chance.uniform(0, 8), 2),
            "audio_seconds": round(chance.uniform(0.4, 2.5), 2),
            "style": {"preset": chance.choice(styles)},
            "seeds": list(range(chance.choice((1, 1, 1, 2)))),
            "steps": 2,
        }


def long_lines(hours: float, recording: Path, styles: list[str]) -> Iterator[dict[str, Any]]:
    """Requests for lines of 5 to 60 s in Draft that add up to so many hours; the recording, of a minute, is made."""
    sound, rate = soundfile.read(CLIP)
    soundfile.write(recording, np.resize(sound, 60 * rate), rate)
    chance, left = random.Random(0), hours * 3600
    while left > 0:
        seconds = round(min(max(left, 1.0), chance.uniform(5, 60)), 2)
        left -= seconds
        yield {
            "audio": str(recording),
            "audio_start": round(chance.uniform(0, 60 - seconds), 2),
            "audio_seconds": seconds,
            "style": {"preset": chance.choice(styles)},
            "seeds": [0],
            "quality": "draft",
        }


def soak(lines: Callable[[list[str]], Iterable[dict[str, Any]]], folder: Path) -> list[Sample]:
    """Generate again and again in one process; what it held after each. `lines`: from styles to requests."""
    (folder / "broken.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    backend = BackendProcess()
    samples = []
    try:
        styles = [
            style["id"] for style in backend.call("load_model", {"model": str(ASSETS / "model")})["styles"]
        ]
        for number, line in enumerate(lines(styles), 1):
            backend.call("generate", {**line, "output_dir": str(folder / "takes")})
            shutil.rmtree(folder / "takes")
            if number % 10 == 0:
                try:
                    backend.call("probe_audio", {"path": str(folder / "broken.wav")})
                except RuntimeError as error:
                    assert "damaged" in str(error) or "cut off" in str(error), error
            if number % 100 == 0:
                backend.call("load_model", {"model": str(ASSETS / "model")})
            samples.append(look(backend.process.pid))
    finally:
        backend.close()
    return samples


def growth(samples: list[Sample]) -> float:
    """Mean memory of the last generations over that of those after the first, less one."""
    memory = np.array([sample.memory for sample in samples])
    return float(memory[-SPAN:].mean() / memory[WARM : WARM + SPAN].mean() - 1)


def table(samples: list[Sample]) -> str:
    """The figures, every tenth of the way."""
    step = max(1, len(samples) // 10)
    rows = ["| after | memory (MiB) | open files | threads | processor time (s) |", "| ---: " * 5 + "|"]
    for number in sorted({WARM, *range(step, len(samples) + 1, step)}):
        s = samples[number - 1]
        rows.append(f"| {number} | {s.memory:.0f} | {s.descriptors} | {s.threads} | {s.seconds:.0f} |")
    return "\n".join(rows)


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def main() -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Many generations in one backend process.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--generations", type=int, default=500)
    length.add_argument("--hours", type=float, help="of speech, in longer lines, in Draft")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    generations, hours = arguments.generations, arguments.hours
    # The mean length of a long line is half a minute.
    if (generations if hours is None else hours * 100) < WARM + 2 * SPAN:
        parser.error(f"at least {WARM + 2 * SPAN} generations are needed")
    with tempfile.TemporaryDirectory(prefix="diffposetalk-soak-") as name:
        folder = Path(name)
        if hours is None:
            samples = soak(lambda styles: short_lines(generations, styles), folder)
        else:
            samples = soak(lambda styles: long_lines(hours, folder / "minute.wav", styles), folder)
        left = sorted(path.name for path in folder.iterdir() if path.name != "minute.wav")
    grown = growth(samples)
    warm = samples[WARM:]
    memory = [sample.memory for sample in warm]
    handles = {sample.descriptors for sample in warm}, {sample.threads for sample in warm}
    title, what = "Soak", "0.4 to 2.5 s each, one or two takes, two steps"
    if hours is not None:
        title, what = f"Soak of {hours:g} hours", f"5 to 60 s each, {hours:g} hours together, in Draft"
    text = f"""# {title}

{len(samples)} generations of the bundled model in one backend process (`benchmarks/soak.py`),
{what}, styles by chance; a refused recording after every tenth, the model loaded again
after every hundredth. {platform.machine()}, Python {platform.python_version()}, CPU.

- Memory: {np.mean(memory[:SPAN]):.0f} MiB on average over generations {WARM + 1} to {WARM + SPAN},
  {np.mean(memory[-SPAN:]):.0f} MiB over the last {SPAN}: {grown:+.1%}.
  Highest {max(memory):.0f}, lowest {min(memory):.0f}.
- Open files after the first {WARM}: {_listed(handles[0])}; threads: {_listed(handles[1])}.
- Files left in its folder: {", ".join(left)} (the recording that was refused).

{table(samples)}
"""
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / ("soak.md" if hours is None else "soak_hours.md")).write_text(text, encoding="utf-8")
    print(text)
    first, last = warm[0], warm[-1]
    piled_up = last.descriptors > first.descriptors or last.threads > first.threads
    return 1 if abs(grown) > ALLOWED_GROWTH or piled_up else 0


if __name__ == "__main__":
    sys.exit(main())
