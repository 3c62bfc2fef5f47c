# SPDX-License-Identifier: GPL-3.0-or-later
"""Which point of one head's face is which point of another's, for heads of any mesh and any person.

One head's skin is laid onto the other's: by a similarity, started from the joints that both have and refined on the
face (iterative closest points, trimmed, held at the eyes and the seam of the lips); then by a deformation that makes
these landmarks meet; then by one that follows the closest points, smooth at first and finer later. Every face vertex
of the second head takes the closest point on the first one's laid-on skin that faces the same way, so that an upper
lip is never paired with the lower one that touches it.

The result depends on the two heads alone and is kept in the user's cache folder under the hash of both.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import scipy.sparse
from scipy.spatial import cKDTree

from ..errors import OutputError
from ..files.array_file import read_arrays
from ..files.user_folder import user_cache_folder
from ..files.whole_file import whole_file
from .head_model import JAW, LEFT_EYE, RIGHT_EYE, HeadModel, inner_lips, vertex_normals

VERSION = 3
"""Part of the cache's key: changes whenever the method does."""

LARGEST_ENTRY = 1 << 24
"""Bytes of one entry of the cache."""

# Lengths in distances between the eyes (about 6 cm).
BEHIND = 0.13  # skin this far behind what is seen from the front is inside the mouth or the nose
FAR = 0.12  # points further apart than this after the heads are aligned have no counterpart
SMOOTHNESS = (1.0, 1.0, 0.6, 0.6, 0.4, 0.4, 0.3, 0.3)
"""Widths of the deformation's kernel, one a round."""
LANDMARK_WIDTH = 2.5  # of the deformation that fits the landmarks before
CONTROLS = 250
ALIGNED, ALIGNMENTS = 400, 15
"""Points and rounds of the alignment before it."""
STARTS = (-24, -12, 0, 12, 24)  # degrees of nodding that the alignment is started from
HOLD, DEFORMED_HOLD = 20.0, 5.0
"""What an eyeball's centre, or a point of the seam of the lips, counts beside one closest point, in either step."""
SAME_JAW = 0.4  # difference in the jaw's hold on points that may be paired: above, one lies on the other lip
TRIM = 0.85  # share of the closest points that an alignment step believes
SAME_WAY = 0.4  # cosine between normals of points that may be paired
MOUTH_WEIGHT, EYE_WEIGHT = 4.0, 3.0
"""How much more a square millimetre of lips and lids counts than one of cheek."""


@dataclass(frozen=True)
class Correspondence:
    """N face points that two heads share.

    points: (N,) vertices of the second head.
    triangles, barycentric: (N, 3) the vertices of the first head between which each lies, and their shares.
    weights: (N,) importance, summing to 1: area, more on lips and lids, less where the surfaces do not meet.
    rotation, scale: (3, 3) and () turn a displacement of the first head into one of the second.
    distance: () mean distance in metres between the paired points after alignment.
    """

    points: np.ndarray
    triangles: np.ndarray
    barycentric: np.ndarray
    weights: np.ndarray
    rotation: np.ndarray
    scale: np.ndarray
    distance: np.ndarray


def correspond(source: HeadModel, target: HeadModel, *, cache: Path | None = None) -> Correspondence:
    """The face points that `source` and `target` share, from the cache if they have been found before.

    Args:
        cache: folder of the cache; None is the user's own. One that cannot be written is done without.
    """
    folder = cache or user_cache_folder()
    path = folder / f"correspondence-{head_hash(source)[:24]}-{head_hash(target)[:24]}.npz"
    kept = _read(path, source, target)
    if kept is not None:
        return kept
    shared = find_correspondence(source, target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.savez_compressed(file, **{f.name: getattr(shared, f.name) for f in fields(shared)})
    except (OSError, OutputError):
        pass
    return shared


def head_hash(head: HeadModel) -> str:
    """SHA-256 over everything of a head that moves its surface or says where its parts are."""
    digest = hashlib.sha256(f"{VERSION}".encode())
    for name in sorted(head.arrays):
        if name in _HASHED or name.startswith(("mask_", "lip_", "mouth_")):
            array = np.ascontiguousarray(head.arrays[name])
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


_HASHED = {
    "v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "basis",
    "eye_look_angles", "jaw_open_angle",
}  # fmt: skip


def find_correspondence(source: HeadModel, target: HeadModel) -> Correspondence:
    """As `correspond`, always computed (a second or two)."""
    a, b = _Skin(source), _Skin(target)
    rotation, scale, shift = _aligned(a, b)
    laid = scale * a.vertices @ rotation.T + shift
    laid = _deformed(laid, scale * _landmarks(a, b)[0] @ rotation.T + shift, a, b)
    face = b.face
    closest = closest_points(b.vertices[face], b.normals[face], laid, a.faces, neighbours=8)
    unit = b.unit
    jaw = np.einsum("nk,nk->n", closest.barycentric, a.jaw_weight[a.faces[closest.triangle]])
    near = (closest.distance < FAR * unit) & (np.abs(jaw - b.jaw_weight[face]) < SAME_JAW)
    face, closest = face[near], closest.chosen(near)
    weights = b.area[face] / (1 + (closest.distance / (0.03 * unit)) ** 2)
    marked = {"lips": MOUTH_WEIGHT, "left_eye": EYE_WEIGHT, "right_eye": EYE_WEIGHT}
    for name, weight in ((f"mask_{part}", weight) for part, weight in marked.items()):
        if name in target.arrays:
            weights = np.where(np.isin(b.index[face], target.arrays[name]), weights * weight, weights)
    return Correspondence(
        points=b.index[face],
        triangles=a.index[a.faces[closest.triangle]],
        barycentric=closest.barycentric,
        weights=weights / weights.sum(),
        rotation=rotation,
        scale=np.array(scale),
        distance=np.array(closest.distance.mean()),
    )


class _Skin:
    """The largest connected surface of a head without its eyeballs, lashes, teeth and the like.

    index: its vertices' numbers in the head. vertices, normals, area: (S, 3), (S, 3), (S,). faces: (F, 3) into
    vertices. face: numbers of the vertices that make up the face as seen from the front, inner lips included.
    """

    def __init__(self, head: HeadModel) -> None:
        template = head.v_template.numpy().astype(np.float64)
        weights = head.weights.numpy().astype(np.float64)
        faces = np.asarray(head.faces, np.int64)
        self.joints = head.J_regressor.numpy().astype(np.float64) @ template
        self.unit = float(np.linalg.norm(self.joints[LEFT_EYE] - self.joints[RIGHT_EYE]))
        eyeball = weights[:, LEFT_EYE:].sum(axis=1) > 0.5
        faces = faces[~eyeball[faces].any(axis=1)]
        count = len(template)
        edges = scipy.sparse.coo_matrix(
            (np.ones(2 * len(faces)), (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())), (count, count)
        )
        _, component = scipy.sparse.csgraph.connected_components(edges, directed=False)
        largest = np.bincount(component[np.unique(faces)]).argmax()
        kept = component == largest
        self.index = np.flatnonzero(kept)
        self.faces = (np.cumsum(kept) - 1)[faces[kept[faces].all(axis=1)]]
        self.vertices = template[kept]
        self.normals = vertex_normals(self.vertices, self.faces)
        a, b, c = self.vertices[self.faces].transpose(1, 0, 2)
        doubled = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        self.area = np.bincount(self.faces.ravel(), np.repeat(doubled / 6, 3), minlength=len(self.vertices))
        self.jaw_weight = weights[kept, JAW]
        self.face = self._face()
        self.seam = _seam(head)

    def _face(self) -> np.ndarray:
        """Vertices between brow and chin that are seen from the front, or lie just behind what is seen."""
        v, unit = self.vertices, self.unit
        eyes = (self.joints[LEFT_EYE] + self.joints[RIGHT_EYE]) / 2
        cell = 0.03 * unit
        low = v[:, :2].min(axis=0)
        # A depth picture from points spread over every triangle.
        steps = 9
        i, j = np.divmod(np.arange(steps * steps), steps)
        inside = i + j < steps
        share = np.stack([i, j, steps - 1 - i - j], axis=1)[inside] / (steps - 1)
        points = np.einsum("sk,fkc->fsc", share, v[self.faces]).reshape(-1, 3)
        size = np.ceil(np.ptp(v[:, :2], axis=0) / cell).astype(int) + 1
        depth = np.full(size[0] * size[1], -np.inf)
        place = ((points[:, :2] - low) / cell).astype(int)
        np.maximum.at(depth, place[:, 0] * size[1] + place[:, 1], points[:, 2])
        own = ((v[:, :2] - low) / cell).astype(int)
        behind = depth[own[:, 0] * size[1] + own[:, 1]] - v[:, 2]
        front = (v[:, 2] > eyes[2] - 0.75 * unit) & (v[:, 1] < eyes[1] + 0.8 * unit)
        front &= v[:, 1] > eyes[1] - 2.0 * unit
        return np.flatnonzero(front & (behind < BEHIND * unit))


def _seam(head: HeadModel) -> np.ndarray | None:
    """The line where the lips meet, (9, 3) from one corner to the other evenly in x, or None if not known."""
    lips = inner_lips(head)
    if lips is None:
        return None
    upper, lower, corners = (head.v_template.numpy().astype(np.float64)[part] for part in lips)
    line = np.concatenate([(upper + lower) / 2, corners])
    line = line[np.argsort(line[:, 0])]
    x = np.linspace(line[0, 0], line[-1, 0], 9)
    return np.stack([np.interp(x, line[:, 0], line[:, axis]) for axis in range(3)], axis=1)


def _landmarks(a: _Skin, b: _Skin) -> tuple[np.ndarray, np.ndarray]:
    """Points that are known to be the same on both heads: eyeballs, and the seam of the lips if both tell it."""
    eyes = [LEFT_EYE, RIGHT_EYE]
    if a.seam is None or b.seam is None:
        return a.joints[eyes], b.joints[eyes]
    return np.concatenate([a.joints[eyes], a.seam]), np.concatenate([b.joints[eyes], b.seam])


def _aligned(a: _Skin, b: _Skin) -> tuple[np.ndarray, float, np.ndarray]:
    """Rotation, scale and shift that lay `a` onto `b`.

    The joints give a start. Eyeballs have their centre in the same place on every head, but the neck's and the
    jaw's joints are where their makers put them, so starts nodding up and down from there are tried as well.
    """
    fixed_a, fixed_b = _landmarks(a, b)
    held = np.full(len(fixed_a), HOLD)
    first, size, _ = similarity(
        np.concatenate([a.joints, fixed_a]),
        np.concatenate([b.joints, fixed_b]),
        np.concatenate([np.ones(5), held]),
    )
    some = a.face[_spread(a.vertices[a.face], ALIGNED)]
    points, normals = a.vertices[some], a.normals[some]

    def refined(
        start: tuple[np.ndarray, float, np.ndarray], rounds: int
    ) -> tuple[float, tuple[np.ndarray, float, np.ndarray]]:
        """Iterative closest points from a start: the mean distance that remains, and the alignment."""
        rotation, scale, shift = start
        for _ in range(rounds):
            pairs = _paired(scale * points @ rotation.T + shift, normals @ rotation.T, b, TRIM)
            rotation, scale, shift = similarity(
                np.concatenate([points[pairs.index], fixed_a]),
                np.concatenate([pairs.place, fixed_b]),
                np.concatenate([np.ones(len(pairs.index)), held]),
            )
        pairs = closest_points(scale * points @ rotation.T + shift, normals @ rotation.T, b.vertices, b.faces)
        return float(np.minimum(pairs.distance, 0.3 * b.unit).mean()), (rotation, scale, shift)

    starts = []
    for degrees in STARTS:
        nod = np.radians(degrees)
        c, s = np.cos(nod), np.sin(nod)
        turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ first
        shift = np.average(fixed_b - size * fixed_a @ turn.T, axis=0, weights=held)
        starts.append(refined((turn, size, shift), 5))
    return refined(min(starts, key=lambda start: start[0])[1], ALIGNMENTS)[1]


def _deformed(laid: np.ndarray, landmarks: np.ndarray, a: _Skin, b: _Skin) -> np.ndarray:
    """The skin of `a`, aligned with `b` as its landmarks are, deformed smoothly onto it: (S, 3)."""
    _, wanted = _landmarks(a, b)
    # The landmarks first and alone: closest points hardly slide along the surface.
    laid = laid + _smooth_field(
        landmarks, wanted - landmarks, np.full(len(wanted), HOLD), laid, LANDMARK_WIDTH * b.unit
    )
    held = wanted
    for width in SMOOTHNESS:
        pairs = _paired(laid[a.face], vertex_normals(laid, a.faces)[a.face], b, TRIM)
        fro = np.concatenate([laid[a.face][pairs.index], held])
        to = np.concatenate([pairs.place, wanted])
        weight = np.concatenate([np.ones(len(pairs.index)), np.full(len(held), DEFORMED_HOLD)])
        moved = _smooth_field(fro, to - fro, weight, np.concatenate([laid, held]), width * b.unit)
        laid, held = laid + moved[: len(laid)], held + moved[len(laid) :]
    return laid


def _smooth_field(
    points: np.ndarray, moves: np.ndarray, weight: np.ndarray, places: np.ndarray, width: float
) -> np.ndarray:
    """Displacements (S, 3) at `places` of a field as smooth as a Gaussian of `width` that follows `moves`."""
    centres = points[_spread(points, CONTROLS)]

    def kernel(x: np.ndarray) -> np.ndarray:
        squared = ((x[:, None, :] - centres[None]) ** 2).sum(axis=2)
        return np.exp(-squared / (2 * width**2))

    k = kernel(points)
    weighted = k * weight[:, None]
    normal = weighted.T @ k + 0.3 * kernel(centres) + 1e-6 * np.eye(len(centres))
    return kernel(places) @ np.linalg.solve(normal, weighted.T @ moves)


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Numbers of up to `count` points far from one another (farthest point sampling)."""
    chosen = [0]
    distance = ((points - points[0]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen)


def similarity(
    points: np.ndarray, places: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, float, np.ndarray]:
    """Rotation (3, 3), scale and shift (3,) that take `points` (N, 3) to `places` with the least squared error.

    Umeyama, Least-squares estimation of transformation parameters between two point patterns, 1991; weighted.
    """
    share = np.ones(len(points)) if weights is None else weights
    share = (share / share.sum())[:, None]
    mean_p, mean_q = (share * points).sum(axis=0), (share * places).sum(axis=0)
    p, q = points - mean_p, places - mean_q
    u, s, vt = np.linalg.svd((share * q).T @ p)
    flip = np.ones(3)
    flip[2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * flip) @ vt
    scale = float((s * flip).sum() / (share * p**2).sum())
    return rotation, scale, mean_q - scale * rotation @ mean_p


@dataclass(frozen=True)
class _Closest:
    """For each of N points the closest one on a surface: triangle, shares of its corners, place, distance."""

    index: np.ndarray
    triangle: np.ndarray
    barycentric: np.ndarray
    place: np.ndarray
    distance: np.ndarray

    def chosen(self, which: np.ndarray) -> _Closest:
        return _Closest(*(getattr(self, f.name)[which] for f in fields(self)))


def _paired(points: np.ndarray, normals: np.ndarray, skin: _Skin, share: float) -> _Closest:
    """The closest points on `skin`, of the `share` of points that lie closest."""
    closest = closest_points(points, normals, skin.vertices, skin.faces)
    finite = closest.distance[np.isfinite(closest.distance)]
    return closest.chosen(closest.distance <= np.quantile(finite, share))


def closest_points(
    points: np.ndarray, normals: np.ndarray, vertices: np.ndarray, faces: np.ndarray, neighbours: int = 3
) -> _Closest:
    """The closest point of a triangle mesh for each of N points, among triangles that face the same way.

    Exact among the triangles around the `neighbours` nearest vertices; the distance is infinite where none of
    them faces the way the point's normal does.
    """
    corners = faces.ravel()
    order = np.argsort(corners, kind="stable")
    count = np.bincount(corners, minlength=len(vertices))
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    widest = min(count.max(), 12)  # vertices with more triangles than that are poles, away from features
    slot = np.minimum(np.arange(widest)[None], count[:, None] - 1)
    around = (order // 3)[np.minimum(start[:, None] + np.maximum(slot, 0), len(order) - 1)]  # (V, widest)
    used = np.flatnonzero(count)
    _, near = cKDTree(vertices[used]).query(points, k=neighbours)
    candidates = around[used[near]].reshape(len(points), -1)  # (N, C)
    triangles = vertices[faces]
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-15)
    share = closest_on_triangles(points[:, None, :], triangles[candidates])
    place = np.einsum("nck,nckx->ncx", share, triangles[candidates])
    distance = np.linalg.norm(place - points[:, None, :], axis=2)
    distance = np.where(np.einsum("ncx,nx->nc", normal[candidates], normals) > SAME_WAY, distance, np.inf)
    best = distance.argmin(axis=1)
    row = np.arange(len(points))
    return _Closest(row, candidates[row, best], share[row, best], place[row, best], distance[row, best])


def closest_on_triangles(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Barycentric shares (..., 3) of the point of each triangle (..., 3, 3) that is closest to the point (..., 3)."""
    a, b, c = triangles[..., 0, :], triangles[..., 1, :], triangles[..., 2, :]
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = (d00 * d11 - d01 * d01).clip(1e-30)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    best = np.stack([1 - v - w, v, w], axis=-1)
    # Outside the triangle the closest point lies on one of its sides.
    least = np.full(v.shape, np.inf)
    on_side = best.copy()
    for i, j in ((0, 1), (1, 2), (2, 0)):
        p, q = triangles[..., i, :], triangles[..., j, :]
        side = q - p
        t = (((points - p) * side).sum(-1) / (side * side).sum(-1).clip(1e-30)).clip(0, 1)
        distance = ((p + t[..., None] * side - points) ** 2).sum(-1)
        shares = np.zeros_like(best)
        shares[..., i], shares[..., j] = 1 - t, t
        closer = distance < least
        least = np.where(closer, distance, least)
        on_side = np.where(closer[..., None], shares, on_side)
    return np.where((best >= 0).all(-1, keepdims=True), best, on_side)


def _read(path: Path, source: HeadModel, target: HeadModel) -> Correspondence | None:
    """What the cache holds, or None if it holds nothing or something damaged."""
    try:
        kept = Correspondence(**read_arrays(path, [f.name for f in fields(Correspondence)], LARGEST_ENTRY))
    except (OSError, ValueError, TypeError):
        return None
    n = len(kept.points) if kept.points.ndim == 1 else 0
    shapes = [a.shape for a in (kept.triangles, kept.barycentric, kept.weights, kept.rotation, kept.scale)]
    numbers = (kept.barycentric, kept.weights, kept.rotation, kept.scale, kept.distance)
    sound = (
        n > 0
        and shapes == [(n, 3), (n, 3), (n,), (3, 3), ()]
        and all(a.dtype.kind == "f" and np.isfinite(a).all() for a in numbers)
        and kept.points.dtype.kind == kept.triangles.dtype.kind == "i"
        and 0 <= kept.points.min() <= kept.points.max() < len(target.v_template)
        and 0 <= kept.triangles.min() <= kept.triangles.max() < len(source.v_template)
    )
    return kept if sound else None
