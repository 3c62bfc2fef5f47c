# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a moving picture (WebP) of some seconds of the video, above the waveform. Run by `build_addon.py demo`."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import av
import matplotlib
import numpy as np
import soundfile
from contact_sheet import ACCENT, INK, PAPER
from PIL import Image, ImageDraw

matplotlib.use("Agg")

import matplotlib.pyplot as plt

STRIP_HEIGHT = 96
DIMMED = 0.4  # of what is still to come
LEAD_IN = 0.3
QUALITY = 68


def main() -> None:
    """Read the video, the sound and the curves, and write the picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--frames", type=Path, required=True, help="folder with frames.json")
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=5.6, help="how much of it (%(default)s)")
    arguments = parser.parse_args()
    described = json.loads((arguments.frames / "frames.json").read_text(encoding="utf-8"))
    fps, mouth = described["fps"], np.array(described["curves"]["mouth"])
    samples, rate = soundfile.read(arguments.audio, always_2d=True, dtype="float32")
    with av.open(str(arguments.video)) as video:
        pictures = [frame.to_image() for frame in video.decode(video=0)]
    count = min(round(arguments.seconds * fps), len(pictures), len(mouth))
    first = liveliest(mouth[: len(pictures)], count, round(LEAD_IN * fps))
    sound = samples.mean(axis=1)[round(first / fps * rate) : round((first + count) / fps * rate)]
    strip = draw_strip(sound, mouth[first : first + count], pictures[0].width)
    shown = [
        with_strip(picture, strip, (index + 0.5) / count)
        for index, picture in enumerate(pictures[first : first + count])
    ]
    shown[0].save(
        arguments.output,
        save_all=True,
        append_images=shown[1:],
        duration=round(1000 / fps),
        loop=0,
        quality=QUALITY,
        method=4,
    )


def liveliest(mouth: np.ndarray, count: int, lead_in: int) -> int:
    """The first of the `count` frames in which the mouth (mm, a frame) moves most, `lead_in` frames earlier."""
    moved = np.abs(np.diff(mouth, prepend=mouth[:1]))
    sums = np.convolve(moved, np.ones(count), "valid")
    return max(0, int(sums.argmax()) - lead_in)


def draw_strip(sound: np.ndarray, mouth: np.ndarray, width: int) -> Image.Image:
    """Waveform (samples (n,)) and mouth opening (mm, (T,)) over the same seconds, `width` pixels wide."""
    figure = plt.figure(figsize=(width / 100, STRIP_HEIGHT / 100), dpi=100, facecolor=PAPER)
    lanes = (
        ("sound", sound, INK, 0.5, float(np.abs(sound).max()), 0.5),
        ("mouth", mouth, ACCENT, 0.0, float(mouth.max()), 0.04),
    )
    for label, values, colour, bottom, most, width_of_line in lanes:
        axes = figure.add_axes((0, bottom, 1, 0.5))
        times = (np.arange(len(values)) + 0.5) / len(values)
        if label == "sound":
            axes.plot(times, values, color=colour, linewidth=width_of_line)
            axes.set_ylim(-1.1 * most, 1.1 * most)
        else:
            axes.fill_between(times, values, color=colour, linewidth=0)
            axes.set_ylim(0, 1.15 * most)
        axes.set_xlim(0, 1)
        axes.text(
            0.006,
            0.93,
            label,
            transform=axes.transAxes,
            va="top",
            fontsize=6.5,
            color=colour,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
        )
        axes.set_axis_off()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", facecolor=PAPER)
    plt.close(figure)
    return Image.open(drawn).convert("RGB")


def with_strip(picture: Image.Image, strip: Image.Image, played: float) -> Image.Image:
    """A frame above the strip, which is dim from `played` (0 to 1) on."""
    width, height = picture.width, picture.height + strip.height
    place = round(played * width)
    dim = Image.blend(Image.new("RGB", strip.size, PAPER), strip, DIMMED)
    dim.paste(strip.crop((0, 0, place, strip.height)), (0, 0))
    ImageDraw.Draw(dim).line((place, 0, place, strip.height), fill=INK)
    whole = Image.new("RGB", (width, height), PAPER)
    whole.paste(picture, (0, 0))
    whole.paste(dim, (0, picture.height))
    return whole


if __name__ == "__main__":
    main()
