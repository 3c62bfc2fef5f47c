# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders contact sheets of the bundled head with Blender's Workbench: every unit, jaw, gaze, identities.

    python flame_assets/render_units.py SHEET.png [--head head.npz] [--tile 256] [--columns 8] [--only WORD]

Needs the `bpy` wheel. Geometry is computed here by the same linear blend skinning as smplx's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

HEAD = Path(__file__).parent / "head" / "head.npz"
NECK, JAW, LEFT_EYE, RIGHT_EYE = 1, 2, 3, 4
CAPTION_HEIGHT = 0.011


@dataclass(frozen=True)
class Tile:
    """One picture: a caption, expression coefficients by name, joint rotations, shape coefficients."""

    caption: str
    units: dict[str, float] = field(default_factory=dict)
    jaw: float = 0.0
    neck: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shape: dict[int, float] = field(default_factory=dict)
    view: str = "front"


# view: (direction the camera looks from, point it looks at, height of the picture), in metres
VIEWS = {
    "front": ((0.2, 0.05, 1.0), (0.0, 0.017, 0.0), 0.26),
    "face": ((0.2, 0.05, 1.0), (0.0, -0.018, 0.0), 0.17),
    "side": ((1.0, 0.03, 0.12), (0.0, -0.01, -0.03), 0.34),
    "mouth": ((0.25, 0.05, 1.0), (0.0, -0.035, 0.05), 0.11),
    "eyes": ((0.2, 0.05, 1.0), (0.0, 0.038, 0.03), 0.13),
    "eye": ((0.0, 0.0, 1.0), (0.029, 0.035, 0.03), 0.05),
    "eye side": ((1.0, 0.1, 0.6), (0.029, 0.035, 0.03), 0.05),
    "bust": ((0.35, 0.12, 1.0), (0.0, -0.02, -0.02), 0.36),
    "back": ((0.5, 0.1, -1.0), (0.0, -0.02, -0.04), 0.36),
    "below": ((0.3, -0.6, 1.0), (0.0, -0.02, 0.0), 0.36),
}


def pose_head(head: dict[str, NDArray], tile: Tile) -> NDArray[np.float64]:
    """Vertices (V, 3) of the head in the tile's state."""
    betas = np.zeros(150)
    for index, value in tile.shape.items():
        betas[index] = value
    names = [str(name) for name in head["expression_names"]]
    angles = np.zeros((5, 3))
    angles[NECK], angles[JAW, 0] = tile.neck, tile.jaw
    eyes = np.zeros((2, 2))
    for name, value in tile.units.items():
        betas[100 + names.index(name)] = value
        eyes += value * head["eye_look_angles"][names.index(name)]
    vertices = head["v_template"] + head["shapedirs"] @ betas
    joints = head["J_regressor"] @ vertices
    rotations = [rotation_vector(angle) for angle in angles]
    for eye, (pitch, yaw) in zip((LEFT_EYE, RIGHT_EYE), eyes, strict=True):
        rotations[eye] = rotation_vector((0, yaw, 0)) @ rotation_vector((pitch, 0, 0))
    feature = np.concatenate([(rotation - np.eye(3)).ravel() for rotation in rotations[1:]])
    vertices = vertices + head["posedirs"] @ feature

    turns, places = [rotations[0]], [joints[0]]
    for joint, parent in enumerate(head["kintree_table"][0][1:], start=1):
        turns.append(turns[parent] @ rotations[joint])
        places.append(places[parent] + turns[parent] @ (joints[joint] - joints[parent]))
    posed = [(vertices - joints[joint]) @ turns[joint].T + places[joint] for joint in range(len(joints))]
    return np.einsum("vj,jvk->vk", head["weights"], np.stack(posed))


def rotation_vector(vector: tuple[float, float, float] | NDArray) -> NDArray[np.float64]:
    """Rotation matrix (3, 3) of an axis-angle vector, radians."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = np.asarray(vector) / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def make_mesh(head: dict[str, NDArray]) -> bpy.types.Object:
    """The head as a Blender object at rest, smooth, with its materials."""
    mesh = bpy.data.meshes.new("head")
    polygons = [[int(v) for v in polygon if v >= 0] for polygon in head["polygons"]]
    mesh.from_pydata(head["v_template"].tolist(), [], polygons)
    for name, colour, roughness in zip(
        head["material_names"], head["material_colors"], head["material_roughness"], strict=True
    ):
        material = bpy.data.materials.new(str(name))
        material.diffuse_color = colour
        material.roughness = roughness
        mesh.materials.append(material)
    mesh.polygons.foreach_set("material_index", head["polygon_material"])
    mesh.polygons.foreach_set("use_smooth", np.ones(len(polygons), bool))
    obj = bpy.data.objects.new("head", mesh)
    bpy.context.scene.collection.objects.link(obj)
    return obj


def set_up_scene(tile: int) -> bpy.types.Object:
    """An empty scene lit and rendered by Workbench; returns the camera."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.resolution_x = scene.render.resolution_y = tile
    scene.display.shading.light = "STUDIO"
    scene.display.shading.color_type = "MATERIAL"
    scene.display.shading.show_cavity = True
    scene.display.shading.show_specular_highlight = True
    scene.display.render_aa = "8"
    scene.view_settings.view_transform = "Standard"
    scene.world = bpy.data.worlds.new("world")
    scene.world.color = (0.16, 0.17, 0.19)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.type = "ORTHO"
    camera.data.clip_start = 0.01
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def aim(camera: bpy.types.Object, view: str) -> None:
    """Place the camera for one of VIEWS, its up along +y."""
    direction, target, height = VIEWS[view]
    forward = -Vector(direction).normalized()
    right = forward.cross(Vector((0, 1, 0))).normalized()
    up = right.cross(forward)
    axes = Matrix((right, up, -forward)).transposed().to_4x4()
    camera.matrix_world = Matrix.Translation(Vector(target) - forward) @ axes
    camera.data.ortho_scale = height


def caption_object(camera: bpy.types.Object) -> bpy.types.Object:
    """Text at the lower edge of the camera's picture."""
    curve = bpy.data.curves.new("caption", "FONT")
    curve.align_x = "CENTER"
    obj = bpy.data.objects.new("caption", curve)
    material = bpy.data.materials.new("caption")
    material.diffuse_color = (1, 1, 1, 1)
    curve.materials.append(material)
    obj.parent = camera
    bpy.context.scene.collection.objects.link(obj)
    return obj


def render_sheet(head: dict[str, NDArray], tiles: list[Tile], output: Path, size: int, columns: int) -> None:
    """Render the tiles, `size` pixels each, into one picture."""
    camera = set_up_scene(size)
    obj, caption = make_mesh(head), caption_object(camera)
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * size, columns * size, 4), np.float32)
    sheet[..., 3] = 1.0
    with tempfile.TemporaryDirectory() as folder:
        for i, tile in enumerate(tiles):
            obj.data.vertices.foreach_set("co", pose_head(head, tile).astype(np.float32).ravel())
            obj.data.update()
            aim(camera, tile.view)
            height = VIEWS[tile.view][2]
            caption.data.body = tile.caption
            caption.data.size = height * 0.06
            caption.location = (0, -0.48 * height, -0.1)
            path = Path(folder) / f"{i}.png"
            bpy.context.scene.render.filepath = str(path)
            bpy.ops.render.render(write_still=True)
            image = bpy.data.images.load(str(path))
            pixels = np.empty(size * size * 4, np.float32)
            image.pixels.foreach_get(pixels)
            bpy.data.images.remove(image)
            row, column = rows - 1 - i // columns, i % columns
            sheet[row * size : (row + 1) * size, column * size : (column + 1) * size] = pixels.reshape(
                size, size, 4
            )
    image = bpy.data.images.new("sheet", columns * size, rows * size)
    image.pixels.foreach_set(sheet.ravel())
    image.filepath_raw = str(output)
    image.file_format = "JPEG" if output.suffix in (".jpg", ".jpeg") else "PNG"
    image.save(quality=85)


def all_tiles(head: dict[str, NDArray]) -> list[Tile]:
    """Every unit, the jaw at several angles, mixtures, gaze, head turns and identities."""
    full = float(head["jaw_open_angle"])
    both = ("Left", "Right")
    tiles = [Tile("rest", view="bust"), Tile("rest"), Tile("rest", view="side"), Tile("back", view="back")]
    tiles += [Tile("below", view="below"), Tile("mouth", view="mouth"), Tile("eyes", view="eyes")]
    for name in map(str, head["expression_names"]):
        # mouthClose is what closes the lips of an open jaw; alone it means nothing.
        jaw = full if name == "mouthClose" else 0.0
        view = "eyes" if name.startswith(("eye", "brow")) else "face"
        tiles.append(Tile(name, {name: 1.0}, jaw, view=view))
    tiles += [Tile(f"jaw {share:g}", jaw=share * full) for share in (0.25, 0.5, 1.0, 1.25)]
    tiles += [
        Tile("jaw 1 side", jaw=full, view="side"),
        Tile("jaw 0.6 mouth", jaw=0.6 * full, view="mouth"),
        Tile("jaw 1 mouthClose 1", {"mouthClose": 1.0}, jaw=full),
        Tile("jaw .5 mouthClose .5", {"mouthClose": 0.5}, jaw=0.5 * full, view="mouth"),
        Tile("blink", {f"eyeBlink{side}": 1.0 for side in both}),
        Tile("blink", {f"eyeBlink{side}": 1.0 for side in both}, view="eyes"),
        Tile("blink .5", {f"eyeBlink{side}": 0.5 for side in both}, view="eyes"),
        Tile("blink", {"eyeBlinkLeft": 1.0}, view="eye"),
        Tile("blink .75", {"eyeBlinkLeft": 0.75}, view="eye"),
        Tile("blink, look down", {"eyeBlinkLeft": 1.0, "eyeLookDownLeft": 1.0}, view="eye"),
        Tile("blink, look up", {"eyeBlinkLeft": 1.0, "eyeLookUpLeft": 1.0}, view="eye"),
        Tile("blink, squint", {"eyeBlinkLeft": 1.0, "eyeSquintLeft": 1.0}, view="eye"),
        Tile("blink", {"eyeBlinkLeft": 1.0}, view="eye side"),
        Tile("look left", {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}, view="eyes"),
        Tile("look up", {f"eyeLookUp{side}": 1.0 for side in both}, view="eyes"),
        Tile("look down", {f"eyeLookDown{side}": 1.0 for side in both}, view="eyes"),
        Tile(
            "down + blink", {f"{u}{s}": 1.0 for s in both for u in ("eyeLookDown", "eyeBlink")}, view="eyes"
        ),
        Tile("smile", {f"mouthSmile{side}": 1.0 for side in both}),
        Tile("smile jaw .4", {f"mouthSmile{side}": 0.8 for side in both}, jaw=0.4 * full),
        Tile("press", {f"mouthPress{side}": 1.0 for side in both}, view="mouth"),
        Tile("roll", {"mouthRollUpper": 1.0, "mouthRollLower": 1.0}, view="mouth"),
        Tile("roll jaw .2", {"mouthRollLower": 0.8}, jaw=0.2 * full, view="mouth"),
        Tile("pucker", {"mouthPucker": 1.0}, view="mouth"),
        Tile("funnel jaw .3", {"mouthFunnel": 1.0}, jaw=0.3 * full, view="mouth"),
        Tile(
            "upper up lower down", {f"{u}{s}": 1.0 for s in both for u in ("mouthUpperUp", "mouthLowerDown")}
        ),
        Tile("brows down", {f"browDown{side}": 1.0 for side in both}),
        Tile("brows up", {"browInnerUp": 1.0, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0}),
        Tile("turn", neck=(0.0, 0.6, 0.0), view="bust"),
        Tile("nod", neck=(0.4, 0.0, 0.0), view="bust"),
        Tile("back", neck=(-0.4, 0.0, 0.0), view="bust"),
        Tile("tilt", neck=(0.0, 0.0, 0.4), view="bust"),
        Tile("nod side", neck=(0.4, 0.0, 0.0), view="side"),
        Tile("turn jaw", jaw=full, neck=(0.2, -0.5, 0.1), view="bust"),
    ]
    for component in range(4):
        tiles += [Tile(f"shape {component} {value:+g}", shape={component: value}) for value in (-2.0, 2.0)]
    rng = np.random.default_rng(7)
    for person in range(6):
        shape = dict(enumerate(rng.normal(0, 1, 100)))
        units = {f"eyeBlink{side}": 1.0 for side in both} if person % 3 == 2 else {}
        tiles.append(Tile(f"identity {person}", units, jaw=full * (person % 3 == 1), shape=shape))
    return tiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--head", type=Path, default=HEAD)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--only", default="", help="only tiles whose caption or view holds this word")
    arguments = parser.parse_args()
    with np.load(arguments.head, allow_pickle=False) as file:
        head = {name: file[name] for name in file.files}
    words = arguments.only.split(",")
    tiles = [t for t in all_tiles(head) if any(word in f"{t.caption} {t.view}" for word in words)]
    render_sheet(head, tiles, arguments.sheet, arguments.tile, arguments.columns)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
