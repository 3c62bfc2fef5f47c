# SPDX-License-Identifier: GPL-3.0-or-later
"""Processor seconds of a cold process until it can generate: what PyTorch takes alone, and what comes on top.

Writes a table (`start.md`). Each row is a process of its own, the rows in turn, so that a busy machine slows all of
them alike; the processor's time, which other programs change less, is the median of the rounds.

python benchmarks/start.py [--rounds N] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import subprocess
import sys
from pathlib import Path

import torch

CLIP = Path(__file__).resolve().parents[1] / "flame_assets" / "clips" / "jfk.flac"

SERVER = """
from diffposetalk.server.jsonrpc import Call, bind_params
from diffposetalk.server.methods import Backend
methods, call = Backend().methods(), Call(1, True, lambda message: note(message))
note = lambda message: None
methods["initialize"].function(call, protocol=1)
"""
LOAD = """
methods["load_model"].function(call, device="cpu")
"""
STAGES = {
    "`import numpy`": "import numpy",
    "`import torch`": "import torch",
    "handshake answered": SERVER,
    "model loaded": SERVER + LOAD,
    "first window of 4 s generated, Final": "",
    "first window of 4 s generated, Draft": "",
}
FIRST = """
def note(message):
    if message.get("method") == "window":
        finish()
asked = dict(audio={clip!r}, output_dir=tempfile.mkdtemp(), seeds=[0], quality={quality!r})
generate = methods["generate"].function
generate(call, **bind_params(generate, asked))
"""
MEASURE = """
import json, os, resource, sys, tempfile, time
began = time.monotonic()
def finish():
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([used.ru_utime + used.ru_stime, time.monotonic() - began]), flush=True)
    os._exit(0)
"""


def measure(code: str) -> tuple[float, float]:
    """Processor seconds and seconds of a process that runs the code."""
    command = [sys.executable, "-c", MEASURE + code + "\nfinish()\n"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    processor, seconds = json.loads(done.stdout.splitlines()[-1])
    return processor, seconds


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    for name in STAGES:
        if name.startswith("first"):
            quality = name.rsplit(" ", 1)[1].lower()
            STAGES[name] = SERVER + LOAD + FIRST.format(clip=str(CLIP), quality=quality)
    rounds = [{name: measure(code) for name, code in STAGES.items()} for _ in range(arguments.rounds)]
    processor = torch.cpu.get_capabilities().get("cpu_name", "unknown processor")
    lines = [
        "# Start of a cold process",
        "",
        f"PyTorch {importlib.metadata.version('torch')}, {processor}; files in the system's cache, medians of "
        f"{arguments.rounds} rounds.",
        "",
        "| until | processor (s) | clock (s) |",
        "| --- | --- | --- |",
    ]
    for name in STAGES:
        used, seconds = (
            statistics.median(figures) for figures in zip(*(each[name] for each in rounds), strict=True)
        )
        lines.append(f"| {name} | {used:.2f} | {seconds:.2f} |")
    text = "\n".join(lines) + "\n"
    (arguments.out / "start.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
