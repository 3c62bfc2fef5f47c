# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of an evaluation: their names, units, and what they mean, in the order of the report's tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .confidence import Estimate


@dataclass(frozen=True)
class Metric:
    """A figure.

    better: which way; `recorded`: the nearer to the recorded speaker's own figure. digits: decimals that are printed.
    """

    key: str
    title: str
    meaning: str
    unit: str = ""
    better: Literal["lower", "higher", "recorded", ""] = "recorded"
    digits: int = 2

    @property
    def arrow(self) -> str:
        """Which way is better, to be put after the title."""
        return {"lower": " ↓", "higher": " ↑"}.get(self.better, "")

    @property
    def percent(self) -> bool:
        """Whether it is a share, which is printed in percent."""
        return self.unit == "%"


PAPER = "The paper's metrics"
FAMILIES: dict[str, tuple[Metric, ...]] = {
    PAPER: (
        Metric(
            "lve",
            "LVE",
            "Lip vertex error: the largest distance of all lip vertices in a frame, mean over frames (Richard et al. "
            "2021).",
            unit="mm",
            better="lower",
        ),
        Metric(
            "fdd",
            "FDD",
            "Upper face dynamics deviation: standard deviation over time of each upper-face vertex's motion, actual "
            "less generated, mean over vertices (Xing et al. 2023); mean over clips of its magnitude.",
            unit="1e-5 m",
            better="lower",
        ),
        Metric(
            "fdd_signed",
            "FDD with its sign",
            "The same without taking magnitudes: positive where the generated upper face moves too little.",
            unit="1e-5 m",
            better="",
        ),
        Metric(
            "mod",
            "MOD",
            "Mouth opening difference: mean difference of the gap between the inner lips (the paper's own metric).",
            unit="mm",
            better="lower",
        ),
        Metric(
            "ba",
            "BA",
            "Beat alignment of generated with actual head beats, 0 to 1 (Li et al. 2022; Zhang et al. 2023).",
            better="higher",
            digits=3,
        ),
        Metric(
            "ba_control",
            "BA, shuffled control",
            "The same heads against the beats of other clips: what comes by chance.",
            better="",
            digits=3,
        ),
        Metric(
            "ba_above",
            "BA above the control by",
            "BA less the mean of 1000 random pairings, in their standard deviations; over 1.64 is not chance (5 %).",
            unit="σ",
            better="higher",
            digits=1,
        ),
        Metric(
            "div_exp",
            "Div (exp)",
            "Mean distance of vertices between runs from identical input, without head rotation (after Ren et al. "
            "2023).",
            unit="1e-4 m",
            better="higher",
        ),
        Metric(
            "div_hp",
            "Div (HP)",
            "Mean angle between the head rotations of runs from identical input.",
            unit="°",
            better="higher",
        ),
    ),
    "Lips in time": (
        Metric(
            "opening_correlation",
            "Opening: correlation with the recorded",
            "Pearson's, at the best lag, mean over clips.",
            better="higher",
            digits=3,
        ),
        Metric(
            "opening_lag",
            "Opening: lag behind the recorded",
            "Frames (40 ms) by which the generated opening follows the recorded one best; positive is late.",
            unit="frames",
            better="",
            digits=1,
        ),
        Metric(
            "phone_lag",
            "Opening: lag behind the phones",
            "Frames (40 ms) by which openings follow what the phones ask for.",
            unit="frames",
        ),
        Metric(
            "opening_variance",
            "Opening: variance over the recorded",
            "1 is as varied as the recorded speaker; under 1 is over-smoothed.",
        ),
    ),
    "Articulation on phones": (
        Metric(
            "closure",
            "Lips close on P, B, M",
            "Inner-lip gap under 0.15 of the clip's 95th percentile within 40 ms of the phone.",
            unit="%",
            better="higher",
            digits=1,
        ),
        Metric(
            "opening",
            "Mouth opens on open vowels",
            "Gap over half of the clip's 95th percentile within 40 ms of AA AE AH AO AW AY EH EY.",
            unit="%",
            better="higher",
            digits=1,
        ),
        Metric(
            "rounded",
            "Pucker + funnel on rounded phones",
            "At the middle of UW UH OW AO OY W (ARKit basis only).",
            digits=3,
        ),
        Metric(
            "unrounded",
            "Pucker + funnel on unrounded phones",
            "At the middle of IY IH EH EY AE AA AH AY (ARKit basis only).",
            digits=3,
        ),
        Metric("rounding_ratio", "Rounding contrast", "The one over the other.", unit="×", better="higher"),
        Metric(
            "narrowing",
            "Mouth narrower on rounded phones by",
            "Distance of the mouth's corners on unrounded less that on rounded phones (any basis).",
            unit="mm",
        ),
    ),
    "How motion moves": (
        Metric(
            "jitter_lips",
            "Jitter of the lips",
            "Mean jerk of the lip vertices (Yi et al. 2021).",
            unit="m/s³",
            digits=1,
        ),
        Metric(
            "jitter_head",
            "Jitter of the head",
            "Mean jerk of the head's rotation vector.",
            unit="°/s³",
            digits=0,
        ),
        Metric(
            "mouth_power",
            "Opening: power above 8 Hz",
            "Share of the power of the mouth opening above 8 Hz.",
            unit="%",
        ),
        Metric(
            "head_power",
            "Head: power above 6 Hz",
            "Share of the power of the head's rotation above 6 Hz; heads do not move that fast.",
            unit="%",
            better="lower",
            digits=3,
        ),
        Metric(
            "head_amplitude",
            "Head: amplitude",
            "Standard deviation of the head's rotation within a clip, root mean square of its three axes.",
            unit="°",
        ),
        Metric(
            "blinks",
            "Blinks a minute",
            "Lids closed over one half (ARKit basis only); people blink 6 to 42 times.",
            digits=1,
        ),
        Metric(
            "lid_rest",
            "Lids at rest",
            "Median of eyeBlink; half-shut eyes show here (ARKit basis only).",
            digits=3,
        ),
    ),
}
"""What is measured of the clips of a corpus, under the headings of the report."""

METRICS = tuple(metric for family in FAMILIES.values() for metric in family)

LONG_TAKE: tuple[Metric, ...] = (
    Metric(
        "seam_motion",
        "Seams within the 95th percentile: whole motion",
        "Joins of windows at which the motion is no faster than 95 % of the frames inside windows; chance is 95.",
        unit="%",
        better="higher",
        digits=1,
    ),
    Metric(
        "seam_lips", "Seams … : lips", "The same of the mouth opening.", unit="%", better="higher", digits=1
    ),
    Metric("seam_head", "Seams … : head", "The same of the head.", unit="%", better="higher", digits=1),
    Metric("long_blinks", "Blinks a minute", "As above, over the long recording.", digits=1),
    Metric("long_lid_rest", "Lids at rest", "As above.", digits=3),
    Metric("long_head_power", "Head: power above 6 Hz", "As above.", unit="%", better="lower", digits=3),
    Metric("long_pitch", "Head: pitch", "Standard deviation; people: 1.4 to 3.9.", unit="°"),
    Metric("long_yaw", "Head: yaw", "Standard deviation; people: 1.2 to 7.6.", unit="°"),
    Metric("long_roll", "Head: roll", "Standard deviation; people: 1.4 to 7.2.", unit="°"),
    Metric("long_speed", "Head: median speed", "People: 4.5 to 12.", unit="°/s", digits=1),
)

STYLE: tuple[Metric, ...] = (
    Metric(
        "style_top1",
        "Style retrieval, top-1",
        "Outputs whose style, as the model's style encoder reads it, is nearest to the reference that they were "
        "asked to follow.",
        unit="%",
        better="higher",
        digits=1,
    ),
    Metric("style_chance", "by chance", "One over the number of styles.", unit="%", better="", digits=1),
    Metric(
        "style_opening",
        "Mouth opening follows the reference",
        "Spearman's rank correlation over styles of the 95th percentile of the opening.",
        better="higher",
    ),
    Metric(
        "style_opening_ratio",
        "Opening, large mouths over small",
        "Mean over the quarter of references that open widest, over that of the quarter that open least.",
        unit="×",
        better="higher",
    ),
    Metric(
        "style_head",
        "Head amplitude follows the reference",
        "Spearman's rank correlation over styles.",
        better="higher",
    ),
)

BY_KEY = {metric.key: metric for metric in (*METRICS, *LONG_TAKE, *STYLE)}


def printed(metric: Metric, value: Estimate | None) -> str:
    """A figure as tables show it: mean ± half the confidence interval; a dash where nothing was measured."""
    if value is None or value.runs == 0:
        return "—"
    scale = 100 if metric.percent else 1
    text = f"{scale * value.mean:.{metric.digits}f}"
    if value.half_width is not None:
        text += f" ± {scale * value.half_width:.{metric.digits}f}"
    return text
