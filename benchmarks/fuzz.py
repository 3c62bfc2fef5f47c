# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged recordings, models, assets and manifests in large numbers, in processes that may crash.

The same cases as `tests/system/fuzz` with other random numbers, and many more. Writes a table (`fuzz.md`); exit status
1 where anything was found. A crash or a hang ends its process, is counted, and the rest goes on after it.

python benchmarks/fuzz.py [--cases 5000] [--seed 1000] [--only audio ...] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
CHUNK = 500
"""Cases of a process."""


def fuzz_targets() -> ModuleType:
    """`fuzz.targets` of the tests."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "system")]
    return importlib.import_module("fuzz.targets")


def run_chunk(kind: str, count: int, seed: int) -> None:
    """Run in a process of its own: print what came of the cases as JSON."""
    targets = fuzz_targets()
    with tempfile.TemporaryDirectory(prefix="diffposetalk-fuzz-") as folder:
        target = dict(targets.all_targets(Path(folder) / "good"))[kind]
        found = targets.fuzz(target, Path(folder) / "cases", count, seed, keep_going=True)
    print(json.dumps({**found.__dict__, "refused": dict(found.refused)}))


def kinds() -> list[str]:
    """Names of the kinds of files."""
    with tempfile.TemporaryDirectory(prefix="diffposetalk-fuzz-") as folder:
        return [name for name, _ in fuzz_targets().all_targets(Path(folder))]


def main() -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Damaged files in large numbers.")
    parser.add_argument("--cases", type=int, default=5000, help="of each kind (%(default)s)")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--only", nargs="+", help="kinds of files")
    parser.add_argument("--chunk", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    if arguments.chunk:
        run_chunk(arguments.chunk, arguments.cases, arguments.seed)
        return 0
    rows: list[str] = []
    faults: list[str] = []
    for kind in arguments.only or kinds():
        cases, accepted, longest, refused = 0, 0, 0.0, Counter[str]()
        before = len(faults)
        for first in range(0, arguments.cases, CHUNK):
            count, seed = min(CHUNK, arguments.cases - first), arguments.seed + first
            command = [sys.executable, __file__, "--chunk", kind, "--cases", str(count), "--seed", str(seed)]
            done = subprocess.run(
                command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            if done.returncode:
                faults.append(f"{kind}, seed {seed}: ended with {done.returncode}: {done.stderr[-2000:]}")
                continue
            told = json.loads(done.stdout.splitlines()[-1])
            cases, accepted = cases + told["cases"], accepted + told["accepted"]
            longest = max(longest, told["seconds"])
            refused.update(told["refused"])
            faults += [f"{kind}, seed {seed}: {fault}" for fault in told["faults"]]
        kinds_of = ", ".join(f"{name} {number}" for name, number in refused.most_common(4))
        found = len(faults) - before
        rows.append(
            f"| {kind} | {cases} | {accepted} | {refused.total()} | {found} | {longest:.1f} | {kinds_of} |"
        )
        print(rows[-1], flush=True)
    text = "\n".join(
        [
            "# Fuzzing\n",
            "Damaged files given to what reads them (`benchmarks/fuzz.py`); a fault is a crash, a hang, an error that",
            "is not one line of words, a file outside the folder, a program started or a connection opened.\n",
            "| kind | cases | read all the same | refused | faults | longest (s) | most frequent refusals |",
            "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
            *rows,
            *(f"\n```\n{fault}\n```" for fault in faults),
        ]
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "fuzz.md").write_text(text + "\n", encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
