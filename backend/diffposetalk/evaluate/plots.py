# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a report, as PNG or JPEG bytes: intervals, curves against the waveform, spectra, strips of the head.

Drawn with Matplotlib, an optional dependency: `pip install "diffposetalk[evaluate]"`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..config import FPS
from ..errors import DiffPoseTalkError, refusing
from ..head.head_model import HeadModel
from ..head.render import ASPECT, render_frames
from ..motion.dynamics import spectrum
from ..phones import BILABIALS, OPEN_VOWELS, ROUNDED, Phone
from ..sound.audio import SAMPLE_RATE
from .evaluation import Figures
from .long_take import LongTake
from .paper_metrics import head_beats
from .reported_figures import BY_KEY, Metric
from .results import Corpus

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GREY, GRID = "#23262b", "#8a8f98", "#e3e5e8"
RECORDED = "#23262b"
LONG = "#12999f"
COLOURS = ("#2f6fb5", "#d97a2b", "#3f8f5f", "#8a5aa8", "#b5404a")
PHONE_COLOURS = {
    **dict.fromkeys(ROUNDED, "#d5dcf0"),
    **dict.fromkeys(OPEN_VOWELS, "#d6e6d3"),
    **dict.fromkeys(BILABIALS, "#f3c9c4"),
}
STRIP_FRAMES = 9
STRIP_SIZE = 168
DPI = 120


def require_matplotlib() -> None:
    """Raise a clear error now, rather than after minutes of measuring, if there is no Matplotlib."""
    missing = DiffPoseTalkError(
        'Reports are drawn with Matplotlib: pip install "diffposetalk[evaluate]".', "extra_missing"
    )
    with refusing(missing, ImportError):
        import matplotlib  # noqa: F401


def colour_of(corpus: Corpus, figures: Figures) -> str:
    """The colour of a subject throughout a report."""
    others = [f.subject for f in corpus.figures if f.subject != "recorded"]
    return (
        RECORDED if figures.subject == "recorded" else COLOURS[others.index(figures.subject) % len(COLOURS)]
    )


def intervals(corpus: Corpus, keys: Sequence[str]) -> bytes | None:
    """A panel a metric: each subject's runs as dots, its mean and 95 % confidence interval; None without values."""
    metrics = [BY_KEY[k] for k in keys if any(k in f.estimates for f in corpus.figures)]
    if not metrics:
        return None
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    shown = [f for f in corpus.figures if any(m.key in f.estimates for m in metrics)]
    figure = _figure(3.6 * columns, rows * (0.75 + 0.32 * len(shown)), "constrained")
    for place, metric in enumerate(metrics):
        axes = figure.add_subplot(rows, columns, place + 1)
        _interval_panel(axes, corpus, shown, metric, place % columns == 0)
    return _saved(figure)


def _interval_panel(axes: Any, corpus: Corpus, shown: list[Figures], metric: Metric, named: bool) -> None:
    scale = 100 if metric.percent else 1
    for row, figures in enumerate(shown):
        value, colour = figures.estimates.get(metric.key), colour_of(corpus, figures)
        if value is None:
            continue
        runs = np.array(figures.by_run.get(metric.key, []), float) * scale
        runs = runs[np.isfinite(runs)]
        if len(runs) > 1:
            axes.plot(runs, np.full(len(runs), row), ".", color=colour, alpha=0.3, markersize=5)
        half = 0 if value.half_width is None else value.half_width * scale
        axes.errorbar(
            value.mean * scale, row, xerr=half or None, fmt="o", color=colour, markersize=5, capsize=3, lw=1.6
        )
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_yticks(range(len(shown)), [f.subject if named else "" for f in shown])
    axes.set_title(
        f"{metric.title}{metric.arrow}" + (f"  ({metric.unit})" if metric.unit else ""), fontsize=9
    )
    axes.grid(axis="x", color=GRID)
    axes.margins(x=0.18)


def curves(corpus: Corpus, index: int) -> bytes:
    """One recording: the waveform with its phones, the mouth opening and the head's pitch of every subject."""
    reference = corpus.references[index]
    samples = reference.samples()
    length = len(samples) / SAMPLE_RATE
    shown = [f for f in corpus.figures if index in f.clips]
    figure = _figure(11, 5.2)
    grid = figure.add_gridspec(3, 1, height_ratios=[1, 2.2, 1.5], hspace=0.08)
    wave = figure.add_subplot(grid[0])
    wave.plot(np.arange(len(samples)) / SAMPLE_RATE, samples, color=GREY, linewidth=0.3)
    wave.set(yticks=[], ylabel="sound")
    opening = figure.add_subplot(grid[1], sharex=wave)
    head = figure.add_subplot(grid[2], sharex=wave)
    for figures in shown:
        colour = colour_of(corpus, figures)
        runs = 1e3 * figures.openings[index]
        time = np.arange(runs.shape[1]) / FPS
        for other in runs[1:]:
            opening.plot(time, other, color=colour, linewidth=0.6, alpha=0.25)
        width = 2.0 if figures.subject == "recorded" else 1.4
        opening.plot(time, runs[0], color=colour, linewidth=width, label=figures.subject)
        rotation = figures.clips[index].pose[:, :3]
        if np.ptp(rotation, axis=0).max() > 0:
            pitch = np.degrees(rotation[:, 0])
            head.plot(time[: len(pitch)], pitch, color=colour, linewidth=1.4)
            beats = head_beats(rotation)
            head.plot(time[beats], pitch[beats], "o", color=colour, markersize=3.5)
    for phone, start, end in reference.phones:
        if phone == "SIL":
            continue
        if phone in PHONE_COLOURS:
            for axes in (wave, opening):
                axes.axvspan(start, end, color=PHONE_COLOURS[phone], alpha=0.6, linewidth=0)
        top = wave.get_ylim()[1]
        wave.text(0.5 * (start + end), top, phone, ha="center", va="bottom", fontsize=7, color=INK)
    opening.set_ylabel("mouth opening (mm)")
    head.set(ylabel="head pitch (°)\ndots: beats", xlabel="seconds")
    opening.legend(loc="upper right", fontsize=8, frameon=False)
    for axes in (wave, opening, head):
        axes.set_xlim(0, length)
        axes.tick_params(labelbottom=axes is head)
        axes.grid(axis="x", color=GRID)
    return _saved(figure)


def spectra(corpus: Corpus, long_take: LongTake | None) -> bytes | None:
    """Power spectra of the mouth opening and of the head's rotation; None where every clip is too short."""
    shown = [
        (f.subject, colour_of(corpus, f), [run[0] for run in f.openings.values()], list(f.clips.values()))
        for f in corpus.figures
    ]
    if long_take:
        shown.append((f"model, {long_take.seconds:.0f} s", LONG, long_take.openings, long_take.clips))
    openings = [(name, colour, [1e3 * opening for opening in tracks]) for name, colour, tracks, _ in shown]
    heads = [(name, colour, [np.degrees(c.pose[:, :3]) for c in clips]) for name, colour, _, clips in shown]
    heads = [(name, colour, [r for r in turns if np.ptp(r) > 0]) for name, colour, turns in heads]
    figure = _figure(11, 3.4, "constrained")
    drawn = False
    for place, (title, unit, sets) in enumerate(
        (("Mouth opening", "mm²/Hz", openings), ("Head rotation, all axes", "°²/Hz", heads))
    ):
        axes = figure.add_subplot(1, 2, place + 1)
        for name, colour, recordings in sets:
            frequency, power = spectrum(recordings)
            if len(frequency) > 2 and power[1:].max() > 0:
                drawn = True
                axes.loglog(frequency[1:], power[1:], color=colour, label=name, linewidth=1.4)
        axes.set_title(title, fontsize=9)
        axes.set(xlabel="Hz", ylabel=unit)
        axes.grid(color=GRID, which="both", linewidth=0.6)
        if axes.lines:
            axes.legend(fontsize=8, frameon=False)
    return _saved(figure) if drawn else None


def strip(corpus: Corpus, index: int, head: HeadModel, size: int = STRIP_SIZE) -> bytes:
    """The head at telling moments of one recording, a row a subject, captioned with phone, time and opening (mm)."""
    reference = corpus.references[index]
    shown = [f for f in corpus.figures if index in f.clips]
    length = min(len(f.clips[index]) for f in shown)
    moments = telling_moments(reference.phones, length)
    width = size * ASPECT
    figure = _figure(len(moments) * width / 100 + 1.1, len(shown) * (size + 14) / 100 + 0.25)
    grid = figure.add_gridspec(
        len(shown), len(moments), left=0.09, right=1, top=0.94, bottom=0.02, wspace=0.02, hspace=0.12
    )
    for row, figures in enumerate(shown):
        clip = figures.clips[index]
        shape = None if reference.motion is None else reference.motion.shape
        pictures = render_frames(
            head, clip.exp, clip.pose, [frame for frame, _ in moments], round(size * 1.25), shape
        )
        for column, ((frame, phone), picture) in enumerate(zip(moments, pictures, strict=True)):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            millimetres = 1e3 * figures.openings[index][0][frame]
            small: dict[str, Any] = {"ha": "right", "fontsize": 7, "color": INK}
            axes.text(0.97, 0.02, f"{millimetres:.1f} mm", transform=axes.transAxes, **small)
            if row == 0:
                axes.set_title(f"{phone}  {frame / FPS:.2f} s", fontsize=8)
            if column == 0:
                axes.set_ylabel(
                    figures.subject, fontsize=9, rotation=0, ha="right", va="center", labelpad=6, wrap=True
                )
    return _saved(figure, "jpeg", pil_kwargs={"quality": 88})


def telling_moments(phones: Sequence[Phone], frames: int, count: int = STRIP_FRAMES) -> list[tuple[int, str]]:
    """(frame, phone) at the middle of lip-shaping phones, evenly chosen over a clip; evenly spaced without phones."""
    shaping = BILABIALS | OPEN_VOWELS | ROUNDED | {"F", "V", "IY", "CH", "SH"}
    moments = [
        (int(0.5 * (start + end) * FPS), phone)
        for phone, start, end in phones
        if phone in shaping and 0.5 * (start + end) * FPS < frames
    ]
    if not moments:
        moments = [(int((k + 0.5) * frames / count), "") for k in range(min(count, frames))]
    if len(moments) > count:
        moments = [moments[round(k * (len(moments) - 1) / (count - 1))] for k in range(count)]
    return moments


def _figure(width: float, height: float, layout: Literal["constrained"] | None = None) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white", layout=layout)


def _saved(figure: Figure, kind: str = "png", **options: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=INK)
        axes.yaxis.label.set_fontsize(min(9, axes.yaxis.label.get_fontsize()))
        axes.xaxis.label.set_fontsize(8)
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=DPI, bbox_inches="tight", pad_inches=0.08, **options)
    return out.getvalue()
