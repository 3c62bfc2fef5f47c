# SPDX-License-Identifier: GPL-3.0-or-later
"""Learn the map from tracked faces to ARKit's expression (`backend/diffposetalk/tracking/face_map.npz`).

    python flame_assets/build_face_map.py CORPUS --tracker face_landmarker.task [--groups 250]

Each group is one identity (the head's own in every third) in one drawn manner of speaking on recorded lips: ten of its
frames and the face at rest are rendered and tracked. The map is a ridge regression of the expression on what differs
from rest, over the principal components of the landmarks. Takes 10 minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

FRAMES = 10
SIZE = 256
"""Pixels of a render's height."""
SPREAD = 0.8
"""Standard deviation of the identity coefficients."""
COMPONENTS, RIDGE = 70, 0.15
SCORE_FLOOR, COORDINATE_FLOOR = 0.02, 1e-3
"""Standard deviations that a score and a coordinate count with at least."""


def fit(scores: np.ndarray, shapes: np.ndarray, expressions: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The map (52 + F, 50).

    Args:
        scores: (N, 52); shapes: (N, F); expressions: (N, 50), zero for the face at rest; groups: (N,).
    """
    resting = ~expressions.any(axis=1)
    scores, shapes, kept = scores.copy(), shapes.copy(), np.zeros(len(groups), bool)
    for group in np.unique(groups):
        own = groups == group
        if (own & resting).any():
            scores[own] -= scores[own & resting].mean(axis=0)
            shapes[own] -= shapes[own & resting].mean(axis=0)
            kept |= own
    scores, shapes, expressions = scores[kept], shapes[kept], expressions[kept]
    spread = shapes.std(axis=0) + COORDINATE_FLOOR
    _, strength, directions = np.linalg.svd(shapes / spread, full_matrices=False)
    to_components = (directions[:COMPONENTS] / spread).T / (strength[:COMPONENTS] / np.sqrt(len(shapes)))
    features = np.concatenate([scores, shapes @ to_components], axis=1)
    scale = features.std(axis=0) + SCORE_FLOOR
    z = features / scale
    weights = (
        np.linalg.solve(z.T @ z + RIDGE * len(z) * np.eye(z.shape[1]), z.T @ expressions) / scale[:, None]
    )
    return np.concatenate([weights[:52], to_components @ weights[52:]])


def renders(corpus: Path, tracker: Path, groups: int, seed: int) -> tuple[np.ndarray, ...]:
    """Scores, shapes, expressions and groups of rendered and tracked faces, as `fit` takes them."""
    from diffposetalk.evaluate import render
    from diffposetalk.evaluate.references import read_references
    from diffposetalk.head_model import load_head
    from diffposetalk.motion import from_vectors, to_vectors
    from diffposetalk.speech_encoder import SAMPLES_PER_FRAME
    from diffposetalk.tracking.face_map import face_shape
    from diffposetalk.tracking.landmarker import FaceTracker, find_tracker
    from diffposetalk.train.performance import draw_factors, perform
    from diffposetalk.train.prosody import analyse

    head, rng = load_head(), np.random.default_rng(seed)
    [spoken] = read_references(corpus, head, split="train", limit=80).values()
    render.SUPERSAMPLING = 1
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray, int]] = []
    with FaceTracker(find_tracker(tracker), 1, still=True) as landmarker:
        for group in range(groups):
            reference = spoken[rng.integers(len(spoken))]
            assert reference.motion is not None
            sound = reference.samples()
            count = min(len(reference.motion), len(sound) // SAMPLES_PER_FRAME)
            lips = to_vectors(reference.motion, 54)[:count]
            prosody = analyse(sound[: count * SAMPLES_PER_FRAME], count)
            performed = perform(lips[:, :50], lips[:, 53], prosody, draw_factors(rng), rng)
            exp, pose = from_vectors(performed[rng.choice(count, FRAMES, replace=False)])
            exp, pose = np.vstack([exp, np.zeros((1, 50))]), np.vstack([pose, np.zeros((1, 6))])
            shape = SPREAD * rng.standard_normal(100) * (group % 3 > 0)
            pictures = render.render_frames(head, exp, pose, range(len(exp)), SIZE, shape, view_yaw=0.0)
            for picture, expression in zip(pictures, exp, strict=True):
                faces = landmarker.faces(picture)
                if len(faces) == 1:
                    height, width = picture.shape[:2]
                    rows.append(
                        (faces[0].blendshapes, face_shape(faces[0], width, height), expression, group)
                    )
    scores, shapes, expressions, numbers = zip(*rows, strict=True)
    return np.stack(scores), np.stack(shapes), np.stack(expressions), np.array(numbers)


def main() -> None:
    """Render, track, fit and write."""
    parser = argparse.ArgumentParser(description="Learn the map from tracked faces to ARKit's expression.")
    parser.add_argument("corpus", type=Path, help="corpus with tracked lips (GRID speaker 1)")
    parser.add_argument("--tracker", type=Path, required=True, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--groups", type=int, default=250)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    from diffposetalk.tracking.face_map import MAP_FILE

    scores, shapes, expressions, groups = renders(
        arguments.corpus, arguments.tracker, arguments.groups, arguments.seed
    )
    matrix = fit(scores.astype(float), shapes.astype(float), expressions.astype(float), groups)
    np.savez_compressed(MAP_FILE, matrix=matrix.astype(np.float32))
    print(f"{MAP_FILE}: from {len(groups)} faces")


if __name__ == "__main__":
    main()
