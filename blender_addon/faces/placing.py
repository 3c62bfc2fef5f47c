# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a new head stands in a window: not inside of something else, and where it can be seen."""

import math

import bpy
from mathutils import Euler, Vector

GAP = 0.1  # metres between a head and what it was moved away from
FAR = 8.0  # times a head's height: from further away nobody sees a face
NEAR = 2.5
FROM = Euler((math.radians(82), 0.0, math.radians(25)))  # the face, from a little aside and above


def bounds(item: bpy.types.Object) -> tuple[Vector, Vector]:
    """Lowest and highest corner of an object's box in the world, in metres."""
    corners = [item.matrix_world @ Vector(corner) for corner in item.bound_box]
    return (
        Vector(min(corner[axis] for corner in corners) for axis in range(3)),
        Vector(max(corner[axis] for corner in corners) for axis in range(3)),
    )


def put_beside(context: bpy.types.Context, mesh: bpy.types.Object, rig: bpy.types.Object) -> None:
    """Move a new head to the right, out of the visible meshes that it would stand in."""
    context.view_layer.update()
    low, high = bounds(mesh)
    others = [bounds(item) for item in context.visible_objects if item.type == "MESH" and item != mesh]
    moved = 0.0
    for other_low, other_high in sorted(others, key=lambda box: box[0].x):
        apart = any(
            high[axis] + moved * (axis == 0) < other_low[axis]
            or low[axis] + moved * (axis == 0) > other_high[axis]
            for axis in range(3)
        )
        if not apart:
            moved = other_high.x + GAP - low.x
    rig.location.x += moved
    context.view_layer.update()


def show(context: bpy.types.Context, mesh: bpy.types.Object) -> None:
    """Bring the 3D View that was clicked in close to a head's face, unless it is close already."""
    space = context.space_data
    if space is None or space.type != "VIEW_3D":
        return
    low, high = bounds(mesh)
    height = high.z - low.z
    view = space.region_3d
    in_view = (view.view_location - (low + high) / 2).length < view.view_distance / 3
    if view.view_distance > FAR * height or not in_view:
        view.view_location = (low + high) / 2
        view.view_distance = NEAR * height
        view.view_rotation = FROM.to_quaternion()
        view.view_perspective = "PERSP"
