# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of an evaluation: their names, units, and what they mean, in the order of the report's tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .confidence import Estimate

Better = Literal["lower", "higher", "recorded", ""]
"""Which way is better; `recorded`: the nearer to the recorded speaker's own figure."""


@dataclass(frozen=True)
class Metric:
    """A figure.

    digits: decimals that are printed.
    """

    key: str
    family: str
    title: str
    unit: str
    better: Better
    digits: int
    meaning: str

    @property
    def percent(self) -> bool:
        """Whether it is a share, which is printed in percent."""
        return self.unit == "%"


PAPER, TIMING, ARTICULATION, DYNAMICS, SEAMS = (
    "The paper's metrics",
    "Lips in time",
    "Articulation on phones",
    "How motion moves",
    "One long recording",
)

METRICS: tuple[Metric, ...] = (
    Metric(
        "lve",
        PAPER,
        "LVE",
        "mm",
        "lower",
        2,
        "Lip vertex error: the largest distance of all lip vertices in a frame, mean over frames "
        "(Richard et al. 2021).",
    ),
    Metric(
        "fdd",
        PAPER,
        "FDD",
        "1e-5 m",
        "lower",
        2,
        "Upper face dynamics deviation: standard deviation over time of each upper-face vertex's motion, actual less "
        "generated, mean over vertices (Xing et al. 2023); mean over clips of its magnitude.",
    ),
    Metric(
        "fdd_signed",
        PAPER,
        "FDD with its sign",
        "1e-5 m",
        "",
        2,
        "The same without taking magnitudes: positive where the generated upper face moves too little.",
    ),
    Metric(
        "mod",
        PAPER,
        "MOD",
        "mm",
        "lower",
        2,
        "Mouth opening difference: mean difference of the gap between the inner lips (the paper's own metric).",
    ),
    Metric(
        "ba",
        PAPER,
        "BA",
        "",
        "higher",
        3,
        "Beat alignment of generated with actual head beats, 0 to 1 (Li et al. 2022; Zhang et al. 2023).",
    ),
    Metric(
        "ba_control",
        PAPER,
        "BA, shuffled control",
        "",
        "",
        3,
        "The same heads against the beats of other clips: what comes by chance.",
    ),
    Metric(
        "ba_above",
        PAPER,
        "BA above the control by",
        "σ",
        "higher",
        1,
        "BA less the mean of 1000 random pairings, in their standard deviations; over 1.64 is not chance (5 %).",
    ),
    Metric(
        "div_exp",
        PAPER,
        "Div (exp)",
        "1e-4 m",
        "higher",
        2,
        "Mean distance of vertices between runs from identical input, without head rotation (after Ren et al. 2023).",
    ),
    Metric(
        "div_hp",
        PAPER,
        "Div (HP)",
        "°",
        "higher",
        2,
        "Mean angle between the head rotations of runs from identical input.",
    ),
    Metric(
        "opening_correlation",
        TIMING,
        "Opening: correlation with the recorded",
        "",
        "higher",
        3,
        "Pearson's, at the best lag, mean over clips.",
    ),
    Metric(
        "opening_lag",
        TIMING,
        "Opening: lag behind the recorded",
        "frames",
        "",
        1,
        "Frames (40 ms) by which the generated opening follows the recorded one best; positive is late.",
    ),
    Metric(
        "phone_lag",
        TIMING,
        "Opening: lag behind the phones",
        "frames",
        "recorded",
        2,
        "Frames (40 ms) by which openings follow what the phones ask for.",
    ),
    Metric(
        "opening_variance",
        TIMING,
        "Opening: variance over the recorded",
        "",
        "recorded",
        2,
        "1 is as varied as the recorded speaker; under 1 is over-smoothed.",
    ),
    Metric(
        "closure",
        ARTICULATION,
        "Lips close on P, B, M",
        "%",
        "higher",
        1,
        "Inner-lip gap under 0.15 of the clip's 95th percentile within 40 ms of the phone.",
    ),
    Metric(
        "opening",
        ARTICULATION,
        "Mouth opens on open vowels",
        "%",
        "higher",
        1,
        "Gap over half of the clip's 95th percentile within 40 ms of AA AE AH AO AW AY EH EY.",
    ),
    Metric(
        "rounded",
        ARTICULATION,
        "Pucker + funnel on rounded phones",
        "",
        "recorded",
        3,
        "At the middle of UW UH OW AO OY W (ARKit basis only).",
    ),
    Metric(
        "unrounded",
        ARTICULATION,
        "Pucker + funnel on unrounded phones",
        "",
        "recorded",
        3,
        "At the middle of IY IH EH EY AE AA AH AY (ARKit basis only).",
    ),
    Metric(
        "rounding_ratio",
        ARTICULATION,
        "Rounding contrast",
        "×",
        "higher",
        2,
        "The one over the other.",
    ),
    Metric(
        "narrowing",
        ARTICULATION,
        "Mouth narrower on rounded phones by",
        "mm",
        "recorded",
        2,
        "Distance of the mouth's corners on unrounded less that on rounded phones (any basis).",
    ),
    Metric(
        "jitter_lips",
        DYNAMICS,
        "Jitter of the lips",
        "m/s³",
        "recorded",
        1,
        "Mean jerk of the lip vertices (Yi et al. 2021).",
    ),
    Metric(
        "jitter_head",
        DYNAMICS,
        "Jitter of the head",
        "°/s³",
        "recorded",
        0,
        "Mean jerk of the head's rotation vector.",
    ),
    Metric(
        "mouth_power",
        DYNAMICS,
        "Opening: power above 8 Hz",
        "%",
        "recorded",
        2,
        "Share of the power of the mouth opening above 8 Hz.",
    ),
    Metric(
        "head_power",
        DYNAMICS,
        "Head: power above 6 Hz",
        "%",
        "lower",
        3,
        "Share of the power of the head's rotation above 6 Hz; heads do not move that fast.",
    ),
    Metric(
        "head_amplitude",
        DYNAMICS,
        "Head: amplitude",
        "°",
        "recorded",
        2,
        "Standard deviation of the head's rotation within a clip, root mean square of its three axes.",
    ),
    Metric(
        "blinks",
        DYNAMICS,
        "Blinks a minute",
        "",
        "recorded",
        1,
        "Lids closed over one half (ARKit basis only); people blink 6 to 42 times.",
    ),
    Metric(
        "lid_rest",
        DYNAMICS,
        "Lids at rest",
        "",
        "recorded",
        3,
        "Median of eyeBlink; half-shut eyes show here (ARKit basis only).",
    ),
)

LONG_TAKE: tuple[Metric, ...] = (
    Metric(
        "seam_motion",
        SEAMS,
        "Seams within the 95th percentile: whole motion",
        "%",
        "higher",
        1,
        "Joins of windows at which the motion is no faster than 95 % of the frames inside windows; chance is 95.",
    ),
    Metric("seam_lips", SEAMS, "Seams … : lips", "%", "higher", 1, "The same of the mouth opening."),
    Metric("seam_head", SEAMS, "Seams … : head", "%", "higher", 1, "The same of the head."),
    Metric("long_blinks", SEAMS, "Blinks a minute", "", "recorded", 1, "As above, over the long recording."),
    Metric("long_lid_rest", SEAMS, "Lids at rest", "", "recorded", 3, "As above."),
    Metric("long_head_power", SEAMS, "Head: power above 6 Hz", "%", "lower", 3, "As above."),
    Metric("long_pitch", SEAMS, "Head: pitch", "°", "recorded", 2, "Standard deviation; people: 1.4 to 3.9."),
    Metric("long_yaw", SEAMS, "Head: yaw", "°", "recorded", 2, "Standard deviation; people: 1.2 to 7.6."),
    Metric("long_roll", SEAMS, "Head: roll", "°", "recorded", 2, "Standard deviation; people: 1.4 to 7.2."),
    Metric(
        "long_speed",
        SEAMS,
        "Head: median speed",
        "°/s",
        "recorded",
        1,
        "People: 4.5 to 12.",
    ),
)

STYLE: tuple[Metric, ...] = (
    Metric(
        "style_top1",
        "Style",
        "Style retrieval, top-1",
        "%",
        "higher",
        1,
        "Outputs whose style, as the model's style encoder reads it, is nearest to the reference that they were "
        "asked to follow.",
    ),
    Metric("style_chance", "Style", "by chance", "%", "", 1, "One over the number of styles."),
    Metric(
        "style_opening",
        "Style",
        "Mouth opening follows the reference",
        "",
        "higher",
        2,
        "Spearman's rank correlation over styles of the 95th percentile of the opening.",
    ),
    Metric(
        "style_opening_ratio",
        "Style",
        "Opening, large mouths over small",
        "×",
        "higher",
        2,
        "Mean over the quarter of references that open widest, over that of the quarter that open least.",
    ),
    Metric(
        "style_head",
        "Style",
        "Head amplitude follows the reference",
        "",
        "higher",
        2,
        "Spearman's rank correlation over styles.",
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
