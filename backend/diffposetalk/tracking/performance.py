# SPDX-License-Identifier: GPL-3.0-or-later
"""A video's face as one motion clip over the whole video: what a style is read from, and what can be keyed as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..config import FPS
from ..head.head_model import HeadModel, load_head
from ..motion.clip import MotionClip
from ..motion.smoothing import between, continuous, fill, runs, savitzky_golay
from .arkit_motion import HEAD_FILTER, Stretch, good_frames, stretches
from .face_map import face_shape, read_rest_face
from .face_track import FaceTrack, OnProgress, track_face
from .quality import Quality, assess
from .snapshots import Snapshot, Snapshots


@dataclass(frozen=True)
class TrackedPerformance:
    """A tracked video.

    Attributes:
        clip: from the video's beginning to the last usable frame, ARKit basis, with the head's translation; where
            the face was not seen it is interpolated, and `unseen` in its provenance says so.
        quality: figures and warnings.
        snapshots: frames with landmarks, spread over what was used.
    """

    clip: MotionClip
    quality: Quality
    snapshots: list[Snapshot]


def track_performance(
    path: str | Path,
    model: str | Path | None = None,
    *,
    face: tuple[float, float] | None = None,
    neutral: str | Path | None = None,
    head: HeadModel | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> TrackedPerformance:
    """Track the face of a video.

    Args:
        neutral: picture or short video of the same person at rest, by which held expressions are told from the
            shape of the face; None estimates what rest is from the video itself.
        path, model, face, on_progress, cancelled: as of `face_track.track_face`.
        head: whose lips must meet when the speaker's do; None is the bundled head.

    Raises:
        VideoError: the video cannot be read, shows no usable face, or the tracker cannot run.
        Cancelled: `cancelled` said so.
    """
    rest = None if neutral is None else read_rest_face(neutral, model)
    snapshots = Snapshots()
    track = track_face(
        path,
        model,
        face=face,
        on_progress=on_progress,
        on_frame=snapshots,
        shape=None if rest is None else face_shape,
        cancelled=cancelled,
    )
    pieces = stretches(track, head or load_head(), rest)
    clip = joined(pieces)
    clip = replace(clip, translation=head_translation(track, clip))
    times = tuple((piece.start, piece.start + len(piece.clip) / FPS) for piece in pieces)
    shown = snapshots.spread(times)
    return TrackedPerformance(clip, assess(track, shown), shown)


def joined(pieces: Sequence[Stretch]) -> MotionClip:
    """One clip from second 0 on; between the stretches motion is interpolated, before the first it is held."""
    first = pieces[0].clip
    starts = [round(piece.start * FPS) for piece in pieces]
    count = starts[-1] + len(pieces[-1].clip)
    exp = np.zeros((count, first.exp.shape[1]), np.float32)
    pose = np.zeros((count, 6), np.float32)
    seen = np.zeros(count, bool)
    for start, piece in zip(starts, pieces, strict=True):
        stop = start + len(piece.clip)
        exp[start:stop], pose[start:stop], seen[start:stop] = piece.clip.exp, piece.clip.pose, True
    pose[seen, :3] = continuous(pose[seen, :3])
    unseen = [[round(a / FPS, 2), round(b / FPS, 2)] for a, b in runs(~seen)]
    return replace(
        first,
        exp=fill(exp, seen).astype(np.float32),
        pose=fill(pose, seen).astype(np.float32),
        provenance={**first.provenance, "unseen": unseen},
    )


def head_translation(track: FaceTrack, clip: MotionClip) -> np.ndarray:
    """(T, 3) metres of the head from its mean place, at the clip's frames, smoothed as the head's rotation is.

    The tracker's camera space has the head's axes when it faces the camera; its centimetres are those of a face of
    ordinary size.
    """
    good = good_frames(track)
    places = track.translations[good] / 100
    wanted = np.arange(len(clip)) / FPS
    moved = savitzky_golay(between(track.times[good], places - places.mean(axis=0), wanted), HEAD_FILTER)
    return moved.astype(np.float32)
