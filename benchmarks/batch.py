# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of short lines: throughput, memory, what three kills cost, and a Ray cluster of 1 and 2 workers.

Lines are pieces of the bundled recording, 1 to 3 s each. The batch is killed (SIGKILL) when a quarter, a half and three
quarters of the clips are there; afterwards every clip must be there and none may have been made twice.

On a busy machine wall time says little; the CPU time of all processes together is given beside it.

python benchmarks/batch.py [--lines 1000] [--ray-lines 200] [--model FOLDER] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
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
from pathlib import Path
from typing import Any

import soundfile

from diffposetalk.audio import file_sha256

CLIP = Path(__file__).resolve().parents[1] / "flame_assets" / "clips" / "jfk.flac"


def main() -> None:
    """Run all measurements and write `batch.md`."""
    parser = argparse.ArgumentParser(description="Throughput of batches.")
    parser.add_argument(
        "--lines", type=int, default=1000, help="short lines of the killed batch (%(default)s)"
    )
    parser.add_argument(
        "--ray-lines", type=int, default=200, help="lines for the cluster; 0: none (%(default)s)"
    )
    parser.add_argument("--model", type=Path, help="model directory (default: the bundled one)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    rows = ["# Batches of short lines", "", machine(), ""]
    options = [] if arguments.model is None else ["--model", str(arguments.model.absolute())]
    with tempfile.TemporaryDirectory(prefix="diffposetalk-batch-") as private:
        folder = Path(private)
        rows += killed(folder, arguments.lines, options)
        if arguments.ray_lines:
            rows += clustered(folder, arguments.ray_lines, options)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "batch.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print("\n".join(rows))


def machine() -> str:
    """What this ran on, and how busy it was before it began."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load average before the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{platform.system()} {platform.machine()}, {usable} of {os.cpu_count()} cores usable{load}."


def make_lines(folder: Path, count: int) -> tuple[Path, float]:
    """A manifest of so many pieces of the bundled recording, and their length together in seconds."""
    sound, rate = soundfile.read(CLIP)
    choose = random.Random(0)
    (folder / "lines").mkdir(exist_ok=True)
    manifest, seconds = folder / f"lines-{count}.csv", 0.0
    with manifest.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["audio", "output", "seed"])
        for number in range(count):
            length = int(choose.uniform(1, 3) * rate)
            start = choose.randrange(len(sound) - length)
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


def killed(folder: Path, count: int, options: list[str]) -> list[str]:
    """The killed batch, as rows of the report. Raises SystemExit where a clip is lost or made twice."""
    manifest, seconds = make_lines(folder, count)
    out = folder / "killed"
    began, used, peak = time.monotonic(), cpu_seconds(), 0.0
    kept: dict[str, str] = {}
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
        f"{count} lines, {seconds:.0f} s of speech, killed three times: nothing lost, nothing made twice.",
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


def clustered(folder: Path, count: int, options: list[str]) -> list[str]:
    """Throughput of 1 and 2 workers, from the first clip to the last (starts left out), as rows of the report."""
    manifest, _ = make_lines(folder, count)
    rows = [
        "| Ray, one model of one thread a worker | lines a minute | with the start |",
        "| --- | --- | --- |",
    ]
    for workers in (1, 2):
        out = folder / f"ray-{workers}"
        began = time.monotonic()
        if start(manifest, out, *options, "--ray", "local", "--workers", str(workers)).wait():
            raise SystemExit("the cluster's run failed")
        took = time.monotonic() - began
        written = sorted(path.stat().st_mtime for path in out.glob("clip*.npz"))
        steady = 60 * (len(written) - 1) / (written[-1] - written[0])
        rows.append(f"| {workers} | {steady:.0f} | {60 * count / took:.0f} |")
    return rows


if __name__ == "__main__":
    main()
