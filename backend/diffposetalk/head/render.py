# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a head in motion by a small rasteriser of our own: reports need neither Blender nor a graphics card.

Orthographic projection, a depth buffer, interpolated normals, two lights; colours are the head asset's materials.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .head_model import LEFT_EYE, RIGHT_EYE, HeadModel, vertex_normals

SUPERSAMPLING = 2
"""Samples a pixel along each axis."""
CLAY = (0.62, 0.55, 0.5)
"""Linear RGB of heads whose asset has no materials."""
PAPER = (0.93, 0.93, 0.92)
"""Background, linear RGB."""
VIEW_YAW = 0.25
"""Radians by which the camera stands to the character's left."""
VIEW_HEIGHT, VIEW_DROP, VIEW_DEPTH = 3.9, 0.68, 0.9
"""Height of the picture, how far its middle lies below the eyes and the camera's axis behind them, in distances
between the eyes."""
ASPECT = 0.8
"""Width of a picture over its height."""
LIGHTS = (((0.45, 0.5, 0.75), 0.85), ((-0.8, 0.1, 0.5), 0.25))
"""(direction towards the light, strength)."""
AMBIENT = 0.22
FACING_AWAY = -0.25
"""Cosine to the camera's direction below which a polygon of the resting head is never seen from the front."""
UPRIGHT = np.array([1, -1, 1])
"""Turns points whose y points up into such whose y points down, as in pictures, and back."""
_SMALLEST_GRID, _PIXELS_AT_ONCE = 2, 1 << 21


def render_frames(
    head: HeadModel,
    exp: np.ndarray,
    pose: np.ndarray,
    frames: Sequence[int],
    size: int = 160,
    shape: np.ndarray | None = None,
    view_yaw: float = VIEW_YAW,
) -> np.ndarray:
    """Pictures of some frames of a motion.

    Args:
        exp: (T, 50) coefficients in the head's basis; pose: (T, 6) head and jaw axis-angle, radians.
        frames: which to render, 0 to T - 1.
        size: height of a picture, pixels; its width is ASPECT of that.
        shape: (100,) identity coefficients, or None.
        view_yaw: radians by which the camera stands to the character's left.

    Returns:
        (len(frames), size, width, 3) uint8, sRGB.
    """
    chosen = list(frames)
    vertices = head.posed(exp[chosen], pose[chosen], shape)
    triangles, colours = surface(head)
    height, width = size * SUPERSAMPLING, round(size * ASPECT) * SUPERSAMPLING
    project = _Camera(head, height, width, view_yaw)
    return np.stack(
        [_picture(project(points), triangles, colours, height, width) for points in vertices.astype(float)]
    )


def render_strip(
    head: HeadModel, exp: np.ndarray, pose: np.ndarray, frames: Sequence[int], size: int = 160
) -> np.ndarray:
    """The pictures of `render_frames` side by side, (size, width × len(frames), 3) uint8."""
    return np.concatenate(list(render_frames(head, exp, pose, frames, size)), axis=1)


def surface(head: HeadModel) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (F, 3) of a head and the linear RGB colour (F, 3) of each."""
    arrays = head.arrays
    if not all(name in arrays for name in ("polygons", "polygon_material", "material_colors")):
        return head.faces, np.tile(np.array(CLAY), (len(head.faces), 1))
    polygons = np.asarray(arrays["polygons"])
    colours = np.asarray(arrays["material_colors"], dtype=float)[np.asarray(arrays["polygon_material"]), :3]
    quads = polygons[:, 3] >= 0
    triangles = np.concatenate([polygons[:, :3], polygons[quads][:, [0, 2, 3]]])
    return triangles, np.concatenate([colours, colours[quads]])


def front_of(head: HeadModel) -> HeadModel:
    """The head without the polygons that look away from a camera in front of it: they take half of the time."""
    points = head.v_template.numpy().astype(float)
    polygons = np.asarray(head.arrays["polygons"])
    normals = vertex_normals(points, surface(head)[0])
    kept = normals[polygons[:, :3]].mean(axis=1)[:, 2] > FACING_AWAY
    material = np.asarray(head.arrays["polygon_material"])[kept]
    return HeadModel(head.arrays | {"polygons": polygons[kept], "polygon_material": material})


class _Camera:
    """Vertices (V, 3) in metres to pixels: x to the right, y down, z towards the camera (in pixels too)."""

    def __init__(self, head: HeadModel, height: int, width: int, yaw: float = VIEW_YAW) -> None:
        joints = (head.J_regressor @ head.v_template).numpy()
        left, right = joints[LEFT_EYE], joints[RIGHT_EYE]
        apart = float(np.linalg.norm(left - right))
        self.middle = (left + right) / 2 - apart * np.array([0, VIEW_DROP, VIEW_DEPTH])
        self.scale = height / (VIEW_HEIGHT * apart)
        cos, sin = np.cos(yaw), np.sin(yaw)
        self.turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
        self.origin = np.array([width / 2, height / 2, 0])

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        seen = (vertices - self.middle) @ self.turn.T * self.scale
        return seen * UPRIGHT + self.origin


def _picture(
    points: np.ndarray, triangles: np.ndarray, colours: np.ndarray, height: int, width: int
) -> np.ndarray:
    """One picture (H, W, 3) uint8 at its final size from points in pixels."""
    hit, weights = rasterise(points, triangles, height, width)
    inside = hit >= 0
    corners = triangles[hit[inside]]
    normals = np.einsum("pk,pkc->pc", weights[inside], vertex_normals(points * UPRIGHT, triangles)[corners])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    normals *= np.where(normals[:, 2:] < 0, -1.0, 1.0)  # sheets such as lashes are seen from both sides
    light = np.full(len(normals), AMBIENT)
    for direction, strength in LIGHTS:
        towards = np.array(direction) / np.linalg.norm(direction)
        light += strength * np.clip(normals @ towards, 0, None)
    image = np.tile(np.array(PAPER), (height, width, 1))
    image[inside] = colours[hit[inside]] * light[:, None]
    shape = (height // SUPERSAMPLING, SUPERSAMPLING, width // SUPERSAMPLING, SUPERSAMPLING, 3)
    image = np.clip(image, 0, 1).reshape(shape).mean(axis=(1, 3))
    srgb = np.where(image <= 0.0031308, 12.92 * image, 1.055 * image ** (1 / 2.4) - 0.055)
    return (255 * srgb + 0.5).astype(np.uint8)


def rasterise(
    points: np.ndarray, triangles: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which triangle each pixel shows.

    Args:
        points: (V, 3) in pixels: x right, y down, z larger the nearer. Pixel centres lie at 0.5, 1.5, …
        triangles: (F, 3) indices.

    Returns:
        hit (height, width) int64, -1 for none; weights (height, width, 3), barycentric.
    """
    corners = points[triangles]
    low = np.floor(corners[..., :2].min(axis=1) - 0.5).astype(np.int64)
    high = np.ceil(corners[..., :2].max(axis=1) - 0.5).astype(np.int64)
    edge1, edge2 = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    usable = (np.abs(area) > 1e-9) & (high >= 0).all(axis=1) & (low[:, 0] < width) & (low[:, 1] < height)
    extent = (high - low).max(axis=1) + 1
    covered: list[tuple[np.ndarray, ...]] = []
    side = _SMALLEST_GRID
    while usable.any():
        group = np.flatnonzero(usable & (extent <= side))
        usable[group] = False
        at_once = max(1, _PIXELS_AT_ONCE // (side * side))
        for first in range(0, len(group), at_once):
            chosen = group[first : first + at_once]
            covered.append(_covered(corners[chosen], area[chosen], low[chosen], chosen, side, height, width))
        side = max(side + 1, round(1.35 * side))
    hit = np.full(height * width, -1)
    weights = np.zeros((height * width, 3))
    if covered:
        pixel, depth, triangle, share = (np.concatenate(part) for part in zip(*covered, strict=True))
        nearest = np.full(height * width, -np.inf)
        np.maximum.at(nearest, pixel, depth)
        shown = depth == nearest[pixel]
        hit[pixel[shown]] = triangle[shown]
        weights[pixel[shown]] = share[shown]
    return hit.reshape(height, width), weights.reshape(height, width, 3)


def _covered(
    corners: np.ndarray,
    area: np.ndarray,
    low: np.ndarray,
    index: np.ndarray,
    side: int,
    height: int,
    width: int,
) -> tuple[np.ndarray, ...]:
    """Pixels under triangles that fit into `side` × `side` pixels: pixel, depth, triangle, weights."""
    edge1, edge2 = ((corners[:, k, :2] - corners[:, 0, :2]) / area[:, None] for k in (1, 2))
    place = low + 0.5 - corners[:, 0, :2]
    step = np.arange(side)

    def weight(edge: np.ndarray, sign: int) -> np.ndarray:
        """(n, side, side) linear in a pixel's row and column."""
        start = place[:, :1] * edge[:, 1:] - place[:, 1:] * edge[:, :1]
        return sign * ((start + step * edge[:, 1:])[:, None] - (step * edge[:, :1])[:, :, None])

    second, third = weight(edge2, 1), weight(edge1, -1)
    first = 1 - second - third
    inside = (second >= -1e-9) & (third >= -1e-9) & (first >= -1e-9)
    which, row, column = np.nonzero(inside)
    x, y = low[which, 0] + column, low[which, 1] + row
    within = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    which, row, column, x, y = which[within], row[within], column[within], x[within], y[within]
    share = np.stack([part[which, row, column] for part in (first, second, third)], axis=-1)
    depth = (share * corners[which, :, 2]).sum(axis=1)
    return y * width + x, depth, index[which], share
