# SPDX-License-Identifier: GPL-3.0-or-later
"""Join rendered frames, the waveform and the motion's curves to one picture. Run by `build_addon.py demo`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np
import soundfile

matplotlib.use("Agg")

import matplotlib.pyplot as plt

COLUMNS = 8
INK, PAPER, ACCENT = "#e8e6e1", "#1b1d21", "#f0a35e"
CURVES = (
    ("mouth", "mouth opening (mm)", ACCENT),
    ("head", "head turn (degrees)", "#7fb7d6"),
    ("blink", "blink (0 to 1)", "#a6c98a"),
)


def main() -> None:
    """Read the frames folder and write the sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--frames", type=Path, required=True, help="folder of 00.png, 01.png, … and frames.json"
    )
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    described = json.loads((arguments.frames / "frames.json").read_text(encoding="utf-8"))
    samples, rate = soundfile.read(arguments.audio, always_2d=True, dtype="float32")
    draw(arguments.frames, described, samples.mean(axis=1), rate, arguments.output)


def draw(frames: Path, described: dict, samples: np.ndarray, rate: int, output: Path) -> None:
    """Draw the pictures in rows over the waveform (samples (n,), `rate` in Hz) and the curves."""
    fps, first = described["fps"], described["first_frame"]
    times = [(frame - first) / fps for frame in described["frames"]]
    rows = -(-len(times) // COLUMNS)
    plt.rcParams.update({"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK})
    figure = plt.figure(figsize=(2.0 * COLUMNS, 2.2 * rows + 3.8), facecolor=PAPER)
    figure.subplots_adjust(left=0.09, right=0.995, top=0.995, bottom=0.05)
    halves = figure.add_gridspec(2, 1, height_ratios=[2.2 * rows, 3.4], hspace=0.06)
    grid = halves[0].subgridspec(rows, COLUMNS, hspace=0.02, wspace=0.02)
    for index, seconds in enumerate(times):
        axes = figure.add_subplot(grid[index // COLUMNS, index % COLUMNS])
        axes.imshow(plt.imread(frames / f"{index:02d}.png"))
        axes.text(0.04, 0.95, f"{index + 1}", transform=axes.transAxes, va="top", fontsize=9, color=ACCENT)
        opening = described["curves"]["mouth"][described["frames"][index] - first]
        label = f"{seconds:.2f} s\n{opening:.1f} mm"
        axes.text(0.97, 0.97, label, transform=axes.transAxes, va="top", ha="right", fontsize=7.5)
        axes.set_axis_off()

    length = len(samples) / rate
    below = halves[1].subgridspec(1 + len(CURVES), 1, hspace=0.16)
    wave = figure.add_subplot(below[0])
    wave.plot(np.arange(len(samples)) / rate, samples, color=INK, linewidth=0.3)
    wave.set_ylabel("sound", rotation=0, ha="right", va="center")
    for index, seconds in enumerate(times):
        wave.text(
            seconds, wave.get_ylim()[1], f"{index + 1}", ha="center", va="bottom", fontsize=7, color=ACCENT
        )
    panels = [wave]
    for place, (name, label, colour) in enumerate(CURVES, start=1):
        axes = figure.add_subplot(below[place])
        values = described["curves"][name]
        axes.plot(np.arange(len(values)) / fps, values, color=colour, linewidth=1)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(label.replace(" (", "\n("), rotation=0, ha="right", va="center")
        panels.append(axes)
    for axes in panels:
        axes.set_facecolor(PAPER)
        axes.set_xlim(0, length)
        for seconds in times:
            axes.axvline(seconds, color=ACCENT, linewidth=0.4, alpha=0.5)
        for side in axes.spines.values():
            side.set_color("#4a4d55")
        axes.tick_params(labelsize=7, labelbottom=axes is panels[-1])
    panels[-1].set_xlabel("seconds")
    figure.savefig(output, dpi=110, facecolor=PAPER, bbox_inches="tight", pad_inches=0.1)


if __name__ == "__main__":
    main()
