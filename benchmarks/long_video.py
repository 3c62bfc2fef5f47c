# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory, progress and cancelling of tracking a ten-minute video.

    python benchmarks/long_video.py CLIP --tracker face_landmarker.task --work DIR

CLIP shows someone speaking; it is repeated to one minute and to ten, and each is tracked in a process of its own. The
videos stay in DIR. Writes results/long_video.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from diffposetalk.config import FPS
from diffposetalk.errors import Cancelled
from diffposetalk.tracking.performance import track_performance
from diffposetalk.tracking.video import read_frames

MINUTES = (1, 10)
CANCEL_AT = 500
"""Frames after which the run that is cancelled is."""
RESULTS = Path(__file__).parent / "results" / "long_video.md"


def repeated(clip: Path, path: Path, minutes: int) -> Path:
    """The clip again and again for some minutes at 25 frames a second; left as it is where it is there."""
    if path.is_file():
        return path
    pictures = [frame.image for frame in read_frames(clip)]
    part = path.with_name("part-" + path.name)
    with av.open(str(part), "w") as container:
        stream = container.add_stream("mpeg4", rate=int(FPS))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 1_500_000
        for k in range(round(minutes * 60 * FPS)):
            picture = np.ascontiguousarray(pictures[k % len(pictures)])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    part.rename(path)
    return path


def resident() -> float:
    """MiB that this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def track(video: Path, tracker: Path, cancel_at: int | None) -> dict[str, float]:
    """Track in this process; what it took."""
    told: list[tuple[int, int]] = []
    held: list[float] = []
    asked = 0.0

    def on_progress(done: int, total: int) -> None:
        told.append((done, total))
        if done % 250 == 1:
            held.append(resident())

    def cancelled() -> bool:
        nonlocal asked
        if cancel_at is None or len(told) < cancel_at:
            return False
        asked = asked or time.perf_counter()
        return True

    seconds = 0.0
    with suppress(Cancelled):
        clip = track_performance(video, tracker, on_progress=on_progress, cancelled=cancelled).clip
        seconds = len(clip) / FPS
    shares = [done / total for done, total in told]
    return {
        "frames": len(told),
        "motion": seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "after_first_ten_seconds": held[min(1, len(held) - 1)],
        "at_the_last_frame": held[-1],
        "processor": time.process_time(),
        "rising": float(all(b > a for a, b in pairwise(shares))),
        "last_share": shares[-1],
        "gave_up_after": time.perf_counter() - asked if asked else 0.0,
    }


def in_a_process(video: Path, tracker: Path, cancel_at: int | None = None) -> dict[str, float]:
    """`track` in a process of its own."""
    command = [sys.executable, __file__, str(video), "--tracker", str(tracker), "--alone"]
    command += [] if cancel_at is None else ["--cancel-at", str(cancel_at)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description="Measure the tracking of a long video.")
    parser.add_argument("clip", type=Path, help="a video of someone speaking")
    parser.add_argument("--tracker", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="folder of the long videos")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--cancel-at", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(track(arguments.clip, arguments.tracker, arguments.cancel_at)))
        return
    if arguments.work is None:
        parser.error("--work is missing")
    arguments.work.mkdir(parents=True, exist_ok=True)
    videos = {m: repeated(arguments.clip, arguments.work / f"{m}-minutes.mp4", m) for m in MINUTES}
    given_up = in_a_process(videos[MINUTES[-1]], arguments.tracker, CANCEL_AT)
    results = {minutes: in_a_process(video, arguments.tracker) for minutes, video in videos.items()}
    rows = [
        ("frames", "{frames:.0f}"),
        ("seconds of motion", "{motion:.0f}"),
        ("memory after ten seconds of video, MiB", "{after_first_ten_seconds:.0f}"),
        ("memory at the last frame, MiB", "{at_the_last_frame:.0f}"),
        ("memory at most, everything included, MiB", "{peak:.0f}"),
        ("frames a second of processor time", "{rate:.0f}"),
        ("progress rises with every frame, and ends at", "{last_share:.3f}"),
    ]
    for result in results.values():
        result["rate"] = result["frames"] / result["processor"]
        assert result["rising"], "progress went backwards"
    lines = ["| | " + " | ".join(f"{m} minutes" if m > 1 else "1 minute" for m in results) + " |"]
    lines.append("| --- |" + " --- |" * len(results))
    for name, text in rows:
        lines.append(f"| {name} | " + " | ".join(text.format(**result) for result in results.values()) + " |")
    after = f"Cancelled at frame {given_up['frames']:.0f} of the ten minutes it gave up after "
    after += f"{given_up['gave_up_after']:.2f} s, without another frame."
    text = "\n".join(lines) + "\n\n" + after
    print(text)
    with av.open(str(arguments.clip)) as container:
        picture = container.streams.video[0]
        size = f"{picture.width} × {picture.height}"
    RESULTS.write_text(
        f"# A long video\n\nA clip of {size} pixels, repeated, by `{Path(__file__).name}`.\n\n{text}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
