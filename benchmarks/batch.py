# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of short lines: throughput, memory, what three kills cost, and a Ray cluster of 1 and 2 workers.

Lines are pieces of recordings, 0.4 to 1 s each. The batch is killed (SIGKILL) when a quarter, a half and three quarters
of the clips are there; afterwards every clip must be there and none may have been made twice (`batch.md`).

On the cluster every worker has one thread and is kept on a core of its own (Linux), so that two workers show what the
second one brings (`batch_ray.md`). How busy the machine was with other work, and how much of a core the workers got, is
given beside the throughput: only where that is nearly a whole core each do the figures of 1 and 2 workers compare.

python benchmarks/batch.py --ray-lines 0 [--lines 1000] [--recordings FOLDER] [--model FOLDER]    # killed three times
python benchmarks/batch.py --lines 0 [--ray-lines 400] [--recordings FOLDER]                      # the cluster
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile

from diffposetalk.files.digest import file_sha256

CLIP = Path(__file__).resolve().parents[1] / "flame_assets" / "clips" / "jfk.flac"
PIECE_SECONDS = (0.4, 1.0)
BUSY_SECONDS = 5.0
PIN_SECONDS = 0.5


def main() -> None:
    """Run the measurements and write `batch.md` and `batch_ray.md`."""
    parser = argparse.ArgumentParser(description="Throughput of batches.")
    parser.add_argument(
        "--lines", type=int, default=1000, help="short lines of the killed batch; 0: none (%(default)s)"
    )
    parser.add_argument(
        "--ray-lines", type=int, default=400, help="lines for the cluster; 0: none (%(default)s)"
    )
    parser.add_argument("--recordings", type=Path, help="folder of recordings (default: the bundled one)")
    parser.add_argument("--model", type=Path, help="model directory (default: the bundled one)")
    parser.add_argument("--steps", type=int, help="denoising steps a window (default: the model's own)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    options = [] if arguments.model is None else ["--model", str(arguments.model.absolute())]
    options += [] if arguments.steps is None else ["--steps", str(arguments.steps)]
    sources = [CLIP]
    if arguments.recordings is not None:
        sources = sorted(arguments.recordings.glob("*.flac")) + sorted(arguments.recordings.glob("*.wav"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="diffposetalk-batch-") as private:
        folder = Path(private)
        for name, count, measure in (
            ("batch.md", arguments.lines, killed),
            ("batch_ray.md", arguments.ray_lines, clustered),
        ):
            if count:
                about = machine()
                manifest, seconds = make_lines(folder, count, sources)
                steps = "the model's own" if arguments.steps is None else str(arguments.steps)
                of = f"{count} pieces of {len(sources)} recordings, {seconds:.0f} s of speech; steps a window: {steps}."
                rows = [
                    "# Batches of short lines",
                    "",
                    about,
                    "",
                    of,
                    "",
                    *measure(folder, manifest, count, options),
                ]
                (arguments.out / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
                print("\n".join(rows), flush=True)


def machine() -> str:
    """What this runs on, and how busy it is with other work before it begins."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    busy = ""
    if Path("/proc/stat").is_file():
        before = _busy_and_all()
        time.sleep(BUSY_SECONDS)
        spent, passed = (after - earlier for after, earlier in zip(_busy_and_all(), before, strict=True))
        busy = f", {spent / passed:.0%} of all cores busy with other work before the start"
    return f"{platform.system()} {platform.machine()}, {usable} of {os.cpu_count()} cores usable{busy}."


def _busy_and_all() -> tuple[int, int]:
    """Ticks that the cores have worked, and all of their ticks."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def make_lines(folder: Path, count: int, sources: Sequence[Path]) -> tuple[Path, float]:
    """A manifest of so many pieces of recordings, and their length together in seconds."""
    choose = random.Random(0)
    (folder / "lines").mkdir(exist_ok=True)
    manifest, seconds = folder / f"lines-{count}.csv", 0.0
    with manifest.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["audio", "output", "seed"])
        for number in range(count):
            sound, rate = soundfile.read(sources[number % len(sources)])
            length = int(choose.uniform(*PIECE_SECONDS) * rate)
            start = choose.randrange(int(0.1 * len(sound)), len(sound) - length)
            path = folder / "lines" / f"{number:05d}.wav"
            soundfile.write(path, sound[start : start + length], rate)
            table.writerow([path.relative_to(folder), f"clip{number:05d}", number])
            seconds += length / rate
    return manifest, seconds


def start(manifest: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """The command, started."""
    command = [sys.executable, "-m", "diffposetalk", "batch", str(manifest), "--out", str(out), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Watch:
    """Peak resident memory of a process (MiB), looked at twenty times a second; 0 where /proc is not there."""

    def __init__(self, pid: int) -> None:
        self.status, self.peak = Path(f"/proc/{pid}/status"), 0.0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            try:
                found = [row for row in self.status.read_text().splitlines() if row.startswith("VmHWM")]
            except OSError:
                return
            if found:
                self.peak = max(self.peak, int(found[0].split()[1]) / 1024)
            time.sleep(0.05)


def killed(folder: Path, manifest: Path, count: int, options: list[str]) -> list[str]:
    """The killed batch, as rows of the report. Raises SystemExit where a clip is lost or made twice."""
    out = folder / "killed"
    began, used, peak = time.monotonic(), cpu_seconds(), 0.0
    kept: dict[str, str] = {}
    left: list[int] = []
    for part in (1, 2, 3):
        process = start(manifest, out, *options)
        watch = Watch(process.pid)
        while process.poll() is None and len(list(out.glob("clip*.npz"))) < count * part // 4:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        peak = max(peak, watch.peak)
        now = clips(out)
        if not kept.items() <= now.items():
            raise SystemExit("a clip of an earlier run was touched")
        kept = now
        left.append(len(now))
    process = start(manifest, out, *options)
    watch = Watch(process.pid)
    if process.wait():
        raise SystemExit("the last run failed")
    used = cpu_seconds() - used
    took, now, peak = time.monotonic() - began, clips(out), max(peak, watch.peak)
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    if len(now) != count or not kept.items() <= now.items() or report["skipped"] != len(kept):
        raise SystemExit("clips were lost or made twice")
    again = time.monotonic()
    start(manifest, out, *options).wait()
    again = time.monotonic() - again
    return [
        f"Killed three times, with {', '.join(map(str, left))} clips there: nothing lost, nothing made twice.",
        "",
        "| | |",
        "| --- | --- |",
        f"| all four runs together | {took:.0f} s |",
        f"| CPU time of them | {used:.0f} s |",
        f"| lines a minute, the four starts included | {60 * count / took:.0f} |",
        f"| last run: times real time | {report['times_real_time']} |",
        f"| run again with nothing to do | {again:.1f} s |",
        f"| peak memory of a run | {peak:.0f} MiB |",
        "",
    ]


def cpu_seconds() -> float:
    """User and system time of the processes that were started here and have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def clips(out: Path) -> dict[str, str]:
    """Hashes of the clips that are there."""
    return {path.name: file_sha256(path) for path in out.glob("clip*.npz")}


def clustered(folder: Path, manifest: Path, count: int, options: list[str]) -> list[str]:
    """Throughput of 1 and 2 workers, from the first clip to the last (starts left out), as rows of the report."""
    rows = [
        "| Ray, one model of one thread a worker | lines a minute | with the start | of a core each, meanwhile |",
        "| --- | --- | --- | --- |",
    ]
    for workers in (1, 2):
        out = folder / f"ray-{workers}"
        began = time.monotonic()
        process = start(manifest, out, *options, "--ray", "local", "--workers", str(workers))
        seen: list[tuple[float, dict[int, float]]] = []
        while process.poll() is None:
            found = pinned_workers()
            if any(out.glob("clip*.npz")) and len(found) == workers:
                seen.append((time.monotonic(), found))
            time.sleep(PIN_SECONDS)
        if process.returncode:
            raise SystemExit("the cluster's run failed")
        took = time.monotonic() - began
        written = sorted(path.stat().st_mtime for path in out.glob("clip*.npz"))
        if len(written) != count:
            raise SystemExit(f"{count - len(written)} clips are missing")
        steady = 60 * (len(written) - 1) / (written[-1] - written[0])
        shares = "unknown"
        if len(seen) > 1:
            (first, before), (last, after) = seen[0], seen[-1]
            shares = ", ".join(f"{(after[p] - before[p]) / (last - first):.2f}" for p in before if p in after)
        rows.append(f"| {workers} | {steady:.0f} | {60 * count / took:.0f} | {shares} |")
    return rows


def pinned_workers() -> dict[int, float]:
    """CPU seconds of the workers of a local cluster, each of which is put on a core of its own first (Linux)."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    found: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"SpeakingActor" not in (folder / "cmdline").read_bytes():
                continue
            ticks = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
        except OSError:
            continue
        found[int(folder.name)] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    for place, pid in enumerate(sorted(found)):
        for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(thread.name), {cores[place % len(cores)]})
    return found


if __name__ == "__main__":
    main()
