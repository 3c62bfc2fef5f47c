# SPDX-License-Identifier: GPL-3.0-or-later
"""Learn the maps from tracked faces to ARKit's expression (`backend/diffposetalk/tracking/face_map.npz`).

    python flame_assets/build_face_map.py CORPUS --tracker face_landmarker.task [--groups 400]

Each group is one identity (the head's own in every third) in one drawn manner of speaking on recorded lips, seen in
pictures of one size: eight of its frames and the face at rest are rendered and tracked. Two ridge regressions on what
differs from rest, over the principal components of the landmarks: one of what is held throughout, from the groups'
means, and one of what moves, from the frames' differences from them. Takes 15 minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

FRAMES = 8
SIZES = (224, 416)
"""Pixels of a render's height, at least and at most."""
SPREAD = 0.8
"""Standard deviation of the identity coefficients."""
HELD_COMPONENTS, HELD_RIDGE = 40, 0.1
MOVING_COMPONENTS, MOVING_RIDGE = 70, 0.03
SCORE_FLOOR, COORDINATE_FLOOR = 0.02, 1e-3
"""Standard deviations that a score and a coordinate count with at least."""
FEWEST = 4
"""Frames with open lids of which a group's mean is taken."""


def fit(
    scores: np.ndarray, shapes: np.ndarray, expressions: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The maps of what is held and of what moves, each (52 + F, 50).

    Args:
        scores: (N, 52); shapes: (N, F); expressions: (N, 50), zero for the face at rest; groups: (N,).
    """
    from diffposetalk.motion.arkit import INDEX, both
    from diffposetalk.tracking.face_map import SHUT

    features, targets = np.concatenate([scores, shapes], axis=1), signed(expressions, INDEX)
    resting, shut = ~expressions.any(axis=1), expressions[:, both("eyeBlink")].mean(axis=1) > SHUT
    held: list[tuple[np.ndarray, np.ndarray]] = []
    moving: list[tuple[np.ndarray, np.ndarray]] = []
    for group in np.unique(groups):
        own = (groups == group) & ~resting
        rest, open_lids = (groups == group) & resting, own & ~shut
        if not rest.any() or open_lids.sum() < FEWEST:
            continue
        mean, meant = features[open_lids].mean(axis=0), targets[open_lids].mean(axis=0)
        held.append((mean - features[rest].mean(axis=0), meant))
        moving += zip(features[own] - mean, targets[own] - meant, strict=True)
    return (
        ridge(*map(np.stack, zip(*held, strict=True)), HELD_COMPONENTS, HELD_RIDGE),
        ridge(*map(np.stack, zip(*moving, strict=True)), MOVING_COMPONENTS, MOVING_RIDGE),
    )


def signed(expressions: np.ndarray, index: dict[str, int]) -> np.ndarray:
    """Expressions (N, 50) in which a channel less its opposite stands for both: a line goes through zero, not along."""
    from diffposetalk.tracking.face_map import OPPOSITES

    out = expressions.copy()
    for one, other in OPPOSITES:
        out[:, index[one]] = expressions[:, index[one]] - expressions[:, index[other]]
        out[:, index[other]] = -out[:, index[one]]
    return out


def ridge(features: np.ndarray, targets: np.ndarray, components: int, strength: float) -> np.ndarray:
    """Ridge regression (52 + F, 50) of (N, 50) on (N, 52 + F), the coordinates by their principal components."""
    scores, shapes = features[:, :52], features[:, 52:]
    spread = shapes.std(axis=0) + COORDINATE_FLOOR
    _, variation, directions = np.linalg.svd(shapes / spread, full_matrices=False)
    to_components = (directions[:components] / spread).T / (variation[:components] / np.sqrt(len(shapes)))
    reduced = np.concatenate([scores, shapes @ to_components], axis=1)
    scale = reduced.std(axis=0) + SCORE_FLOOR
    z = reduced / scale
    normal = z.T @ z + strength * len(z) * np.eye(z.shape[1])
    weights = np.linalg.solve(normal, z.T @ targets) / scale[:, None]
    return np.concatenate([weights[:52], to_components @ weights[52:]])


def tracked_renders(corpus: Path, tracker: Path, groups: int, seed: int) -> dict[str, np.ndarray]:
    """Scores, shapes, expressions and groups of rendered and tracked faces, as `fit` takes them."""
    from diffposetalk.evaluate.references import read_references
    from diffposetalk.head import render
    from diffposetalk.head.head_model import load_head
    from diffposetalk.motion.clip import from_vectors, to_vectors
    from diffposetalk.networks.speech.encoder import SAMPLES_PER_FRAME
    from diffposetalk.tracking.face_map import face_shape
    from diffposetalk.tracking.landmarker import FaceTracker, find_tracker
    from diffposetalk.train.own_model.performance import draw_factors, perform
    from diffposetalk.train.own_model.prosody import analyse

    head, rng = load_head(), np.random.default_rng(seed)
    [spoken] = read_references(corpus, head, split="train", limit=80).values()
    front = render.front_of(head)
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
            size = int(rng.integers(*SIZES))
            pictures = render.render_frames(front, exp, pose, range(len(exp)), size, shape, view_yaw=0.0)
            for picture, expression in zip(pictures, exp, strict=True):
                faces = landmarker.faces(picture)
                if len(faces) == 1:
                    height, width = picture.shape[:2]
                    rows.append(
                        (faces[0].blendshapes, face_shape(faces[0], width, height), expression, group)
                    )
            if (group + 1) % 20 == 0:
                print(f"{group + 1} of {groups}", flush=True)
    scores, shapes, expressions, numbers = (np.array(column, float) for column in zip(*rows, strict=True))
    return {"scores": scores, "shapes": shapes, "expressions": expressions, "groups": numbers}


def main() -> None:
    """Render, track, fit and write."""
    parser = argparse.ArgumentParser(description="Learn the maps from tracked faces to ARKit's expression.")
    parser.add_argument("corpus", type=Path, help="corpus with tracked lips (GRID speaker 1)")
    parser.add_argument("--tracker", type=Path, required=True, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--groups", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--faces", type=Path, help="keep the tracked faces here (.npz), and do not render them twice"
    )
    arguments = parser.parse_args()
    from diffposetalk.tracking.face_map import MAP_FILE

    if arguments.faces is not None and arguments.faces.is_file():
        with np.load(arguments.faces) as kept:
            faces = {name: kept[name] for name in kept.files}
    else:
        faces = tracked_renders(arguments.corpus, arguments.tracker, arguments.groups, arguments.seed)
        if arguments.faces is not None:
            np.savez_compressed(arguments.faces, **faces)
    held, moving = fit(**faces)
    np.savez_compressed(MAP_FILE, held=held.astype(np.float32), moving=moving.astype(np.float32))
    print(f"{MAP_FILE}: from {len(faces['groups'])} faces")


if __name__ == "__main__":
    main()
