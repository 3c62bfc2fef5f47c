# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring a subject on references: figures of each clip and run, gathered to estimates over runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..config import FPS
from ..errors import MotionError
from ..head.geometry import FaceRegions, FaceTrack
from ..lips.articulation import Articulation, articulation, rounding
from ..motion.arkit import INDEX, both
from ..motion.clip import MotionClip
from ..motion.dynamics import blinks, head_amplitude, jitter, power_above
from .confidence import Estimate, estimate
from .lip_sync import lag_and_correlation, lip_to_phone_lag, opening_variance_ratio
from .paper_metrics import (
    beat_alignment,
    expression_diversity,
    head_beats,
    head_pose_diversity,
    lip_vertex_error,
    mouth_opening_difference,
    shuffled_control,
    upper_face_dynamics_deviation,
)
from .references import Reference
from .reported_figures import METRICS
from .subjects import Recorded, Subject

LARGEST_DIFFERENCE = 8
"""Frames by which a clip may be longer or shorter than its reference; the rest is compared."""
TRACKING_RATE = 8.0
HEAD_RATE = 6.0
"""Hz above which lips and heads have next to no power."""
LARGEST_OFFSET = 1e-6  # metres; a face that moves less does not move


@dataclass
class ClipFigures:
    """What was measured of one clip in one run. Errors are of each frame; NaN or None: cannot be measured."""

    frames: int
    opening: np.ndarray
    head: np.ndarray
    lve: np.ndarray | None
    fdd: float
    mod: np.ndarray | None
    actual_opening: np.ndarray | None
    beats: np.ndarray
    articulation: Articulation
    pout: tuple[list[float], list[float]]
    """On rounded and on unrounded phones, as `width`."""
    width: tuple[list[float], list[float]]
    jitter_lips: float
    jitter_head: float
    lid: np.ndarray | None


@dataclass
class Figures:
    """A subject measured on one corpus.

    Attributes:
        subject: its name; runs: how many; notes: what a reader should know.
        estimates: by the keys of `reported_figures.METRICS`, those that could be measured.
        by_run: the values of the runs behind them.
        by_clip: of each reference, by key, the mean over runs.
        clips: the clips of the first run, by the index of the reference, for pictures.
        openings: of each reference, (runs, T) metres.
    """

    subject: str
    runs: int
    notes: list[str] = field(default_factory=list)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    by_run: dict[str, list[float]] = field(default_factory=dict)
    by_clip: dict[str, dict[str, float]] = field(default_factory=dict)
    clips: dict[int, MotionClip] = field(default_factory=dict)
    openings: dict[int, np.ndarray] = field(default_factory=dict)


def evaluate(
    subject: Subject,
    references: Sequence[Reference],
    regions: FaceRegions,
    keep: bool = False,
    on_clip: Callable[[int, int], None] | None = None,
) -> Figures:
    """Measure a subject.

    Args:
        references: recordings of one corpus; those without motion are judged by their phones alone.
        regions: of a head of the references' basis.
        keep: whether the clips of the first run and all openings are to be kept, for pictures.
        on_clip: called with (done, all) references.

    Raises:
        DiffPoseTalkError: what a clip lacks to be compared.
    """
    figures = Figures(subject.name, subject.runs)
    measured: dict[int, list[ClipFigures]] = {}
    diversity: dict[str, list[float]] = {"div_exp": [], "div_hp": []}
    actual_beats: dict[int, np.ndarray] = {}
    compared = not isinstance(subject, Recorded)
    for done, (index, clips) in enumerate(subject.takes(references), start=1):
        reference = references[index]
        shape, actual = None, None
        if reference.motion is not None:
            shape = reference.motion.shape
            actual = regions.track(reference.motion, shape)
            actual_beats[index] = head_beats(reference.motion.pose[:, :3])
        tracks = [regions.track(clip, shape) if compared or actual is None else actual for clip in clips]
        measured[index] = [
            measure(clip, track, reference, actual, regions.basis)
            for clip, track in zip(clips, tracks, strict=True)
        ]
        if len(clips) > 1:
            diversity["div_exp"].append(expression_diversity([track.face for track in tracks]))
            diversity["div_hp"].append(head_pose_diversity([clip.pose[:, :3] for clip in clips]))
        if keep:
            figures.clips[index] = clips[0]
            figures.openings[index] = np.stack([m.opening for m in measured[index]])
        if on_clip:
            on_clip(done, len(references))
    measured = dict(sorted(measured.items()))
    for run in range(subject.runs):
        chosen = {index: runs[run] for index, runs in measured.items()}
        for key, value in summarise(chosen, references, actual_beats, compared).items():
            figures.by_run.setdefault(key, []).append(value)
    for key, values in figures.by_run.items():
        if np.isfinite(values).any():
            figures.estimates[key] = estimate(values)
    for key, values in diversity.items():
        if values and np.isfinite(values).any():
            # All runs together give one figure; it has no interval.
            figures.estimates[key] = Estimate(float(np.nanmean(values)), None, subject.runs)
    for index, runs in measured.items():
        single = [summarise({index: m}, references, actual_beats, compared) for m in runs]
        order = [metric.key for metric in METRICS if metric.key in single[0]]
        means = {key: _mean([row[key] for row in single]) for key in order}
        finite = {key: value for key, value in means.items() if np.isfinite(value)}
        figures.by_clip[references[index].id] = finite
    figures.notes = list(subject.notes)
    return figures


def measure(
    clip: MotionClip, track: FaceTrack, reference: Reference, actual: FaceTrack | None, basis: str
) -> ClipFigures:
    """Measure one clip on the mesh, against the reference's motion (if it has any) and its phones.

    Raises:
        MotionError: kind motion_length; the clip is not as long as the reference.
    """
    lve = mod = opening = None
    fdd = float("nan")
    if actual is not None:
        frames = min(len(track.opening), len(actual.opening))
        if abs(len(track.opening) - len(actual.opening)) > LARGEST_DIFFERENCE:
            raise MotionError(
                f"The motion for {reference.id} has {len(track.opening)} frames, the reference "
                f"{len(actual.opening)} (at {FPS:g} a second): another recording, or another frame rate.",
                "motion_length",
            )
        lve = lip_vertex_error(track.lips[:frames], actual.lips[:frames])
        mod = mouth_opening_difference(track.opening[:frames], actual.opening[:frames])
        fdd = upper_face_dynamics_deviation(
            track.upper_face[:frames], actual.upper_face[:frames], track.upper_face_rest
        )
        opening = actual.opening
    pout: tuple[list[float], list[float]] = ([], [])
    lid = None
    if basis == "arkit":
        lips = clip.exp[:, [INDEX["mouthPucker"], INDEX["mouthFunnel"]]].sum(axis=1)
        pout = rounding(lips, reference.phones)
        lid = clip.exp[:, both("eyeBlink")].mean(axis=1)
    head = clip.pose[:, :3]
    return ClipFigures(
        frames=len(track.opening),
        opening=track.opening,
        head=head,
        lve=lve,
        fdd=fdd,
        mod=mod,
        actual_opening=opening,
        beats=head_beats(head),
        articulation=articulation(track.opening, reference.phones),
        pout=pout,
        width=rounding(track.width, reference.phones),
        jitter_lips=jitter(track.lips),
        jitter_head=jitter(np.degrees(head)[:, None]),
        lid=lid,
    )


def summarise(
    measured: dict[int, ClipFigures],
    references: Sequence[Reference],
    actual_beats: dict[int, np.ndarray],
    compared: bool,
) -> dict[str, float]:
    """The figures of one run over its clips: errors over all frames, shares over all phones, the rest over clips.

    Args:
        measured: by the index of the reference.
        actual_beats: head beats of the references that have motion, by index.
        compared: False for the recorded motion itself, whose errors would all be nothing.

    Returns:
        Values by the keys of `reported_figures.METRICS`; NaN where there is nothing to measure.
    """
    clips = list(measured.values())
    spoken = [
        (m.opening, references[i].phones)
        for i, m in measured.items()
        if references[i].phones and np.ptp(m.opening) > LARGEST_OFFSET
    ]
    total = sum((m.articulation for m in clips), Articulation())
    rounded, unrounded = (_mean([v for m in clips for v in m.pout[k]]) for k in (0, 1))
    narrow, wide = (_mean([v for m in clips for v in m.width[k]]) for k in (0, 1))
    moving_heads = [m.head for m in clips if np.ptp(m.head, axis=0).max() > 1e-6 and m.frames >= 16]
    lids = [m.lid for m in clips if m.lid is not None]
    minutes = sum(map(len, lids)) / FPS / 60
    out = {
        "phone_lag": lip_to_phone_lag(spoken),
        "closure": total.closure,
        "opening": total.opening,
        "rounded": rounded,
        "unrounded": unrounded,
        "rounding_ratio": rounded / unrounded if unrounded > 1e-3 else float("nan"),
        "narrowing": 1e3 * (wide - narrow),
        "jitter_lips": _mean([m.jitter_lips for m in clips]),
        "jitter_head": _mean([m.jitter_head for m in clips]),
        "mouth_power": power_above([m.opening for m in clips if m.frames >= 16], TRACKING_RATE)
        if spoken
        else float("nan"),
        "head_power": power_above(moving_heads, HEAD_RATE) if moving_heads else float("nan"),
        "head_amplitude": _mean([head_amplitude(m.head) for m in clips]),
        "blinks": sum(map(blinks, lids)) / minutes if minutes else float("nan"),
        "lid_rest": float(np.median(np.concatenate(lids))) if lids else float("nan"),
    }
    against = [
        (m, actual_beats[i], m.actual_opening) for i, m in measured.items() if m.actual_opening is not None
    ]
    if not compared or not against:
        return out
    curves = [(m.opening, actual) for m, _, actual in against]
    lag, correlation = lag_and_correlation(curves)
    ours, theirs = [m.beats for m, _, _ in against], [beats for _, beats, _ in against]
    control, above = shuffled_control(ours, theirs, [m.frames for m, _, _ in against])
    alike = [(a[: len(b)], b[: len(a)]) for a, b in curves]
    out |= {
        "lve": _mean_of_frames([m.lve for m, _, _ in against]),
        "mod": _mean_of_frames([m.mod for m, _, _ in against]),
        "fdd": _mean([abs(m.fdd) for m, _, _ in against]),
        "fdd_signed": _mean([m.fdd for m, _, _ in against]),
        "ba": _mean([beat_alignment(p, a) for p, a in zip(ours, theirs, strict=True)]),
        "ba_control": control,
        "ba_above": above,
        "opening_correlation": correlation,
        "opening_lag": float(lag) if np.isfinite(correlation) else float("nan"),
        "opening_variance": opening_variance_ratio(
            np.concatenate([a for a, _ in alike]), np.concatenate([b for _, b in alike])
        ),
    }
    return out


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")


def _mean_of_frames(values: Sequence[np.ndarray | None]) -> float:
    return float(np.concatenate([v for v in values if v is not None]).mean())
