# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: install the extension, make a head talk through its console functions, save and render.

Run by `build_addon.py demo`, in an installed Blender or with its Python module. Writes talking_head.blend,
.fbx, .abc and .mp4 to the output folder; pictures and curves for the contact sheet to the frames folder.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

FPS = 25
SHEET_FRAMES = 24
SHEET_SIZE = (330, 396)
VIDEO_SIZE = (400, 480)
EXTENSION = "bl_ext.user_default.diffposetalk"


def main() -> None:
    """Do all stages, saying how long each took."""
    arguments = parse_arguments()
    began = time.monotonic()

    def done(stage: str) -> None:
        nonlocal began
        print(f"   {stage}: {time.monotonic() - began:.1f} s", flush=True)
        began = time.monotonic()

    install(arguments.extension)
    diffposetalk: Any = importlib.import_module("diffposetalk")  # the extension's console functions
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=False)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = FPS, 1.0
    head, rig = diffposetalk.add_head("Talking Head")
    done("install the extension and add a head")

    [keyed] = diffposetalk.generate(head, arguments.audio, style=arguments.style, seed=arguments.seed)
    for warning in keyed.warnings:
        print(f"   note: {warning}")
    scene.frame_start, scene.frame_end = int(keyed.start_frame), keyed.last_frame
    done("generate and key (the first time, starting the backend)")

    light_and_camera(scene, head)
    arguments.frames.mkdir(parents=True, exist_ok=True)
    curves = measure(scene, head, rig, inner_lips())
    times = [scene.frame_start + index for index in telling_frames(np.array(curves["mouth"]))]
    description = {"fps": FPS, "first_frame": scene.frame_start, "frames": times, "curves": curves}
    (arguments.frames / "frames.json").write_text(json.dumps(description), encoding="utf-8")
    done("measure the mouth")
    with quiet():
        for index, frame in enumerate(times):
            scene.frame_set(frame)
            render_still(scene, arguments.frames / f"{index:02d}.png", SHEET_SIZE)
    done(f"render {len(times)} pictures")

    bpy.context.preferences.filepaths.save_version = 0
    bpy.ops.wm.save_as_mainfile(filepath=str(arguments.output / "talking_head.blend"))
    done("save the scene")
    for name, export in (("fbx", diffposetalk.export_fbx), ("abc", diffposetalk.export_alembic)):
        try:
            export(head, arguments.output / f"talking_head.{name}")
            done(f"export .{name}")
        except diffposetalk.UserError as error:
            print(f"   not exported: {error}")
    if not arguments.no_video:
        if bpy.app.build_options.codec_ffmpeg:
            with quiet():
                render_video(scene, arguments.output / "talking_head.mp4")
            done("render the video")
        else:
            print("   no video: this Blender is built without FFmpeg")


def parse_arguments() -> argparse.Namespace:
    """What follows “--” on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--extension", type=Path, required=True)
    parser.add_argument("--audio", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--style")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-video", action="store_true")
    return parser.parse_args(sys.argv[sys.argv.index("--") + 1 :])


def install(extension: Path) -> None:
    """Install and enable the extension, in the user folder that the environment names."""
    bpy.ops.extensions.package_install_files(
        filepath=str(extension), repo="user_default", enable_on_install=True, overwrite=True
    )
    if EXTENSION not in bpy.context.preferences.addons:  # the operator reports success even without
        raise RuntimeError(f"{extension} could not be installed")


def light_and_camera(scene: bpy.types.Scene, head: bpy.types.Object) -> None:
    """A portrait camera and Workbench's studio light, which renders anywhere in about a second."""
    corners = np.array([head.matrix_world @ Vector(corner) for corner in head.bound_box])
    low, high = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    size = high[2] - low[2]
    aim = Vector(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, high[2] - 0.44 * size))
    camera = bpy.data.objects.new("Portrait Camera", bpy.data.cameras.new("Portrait Camera"))
    camera.data.lens = 85
    scene.collection.objects.link(camera)
    turn = math.radians(14)  # a little from the side: profile of the lips and both eyes
    distance = 0.86 * size * camera.data.lens / camera.data.sensor_width
    camera.location = aim + distance * Vector((math.sin(turn), -math.cos(turn), 0.05))
    camera.rotation_euler = (aim - camera.location).to_track_quat("-Z", "Y").to_euler()
    camera.data.clip_start = 0.01
    scene.camera = camera

    scene.render.engine = "BLENDER_WORKBENCH"
    shading = scene.display.shading
    shading.light = "STUDIO"
    shading.studio_light = "paint.sl"
    shading.color_type = "MATERIAL"
    shading.show_cavity = True
    shading.cavity_type = "WORLD"
    shading.show_specular_highlight = True
    shading.show_shadows = False
    scene.display.render_aa = "5"
    scene.view_settings.view_transform = "Standard"
    scene.render.film_transparent = False
    if scene.world is None:
        scene.world = bpy.data.worlds.new("Backdrop")
    scene.world.color = (0.11, 0.12, 0.14)
    scene.render.resolution_percentage = 100


def telling_frames(opening: np.ndarray) -> list[int]:
    """Indices of SHEET_FRAMES frames: the most closed and the most open mouth of each stretch."""
    chosen: list[int] = []
    for stretch in np.array_split(np.arange(len(opening)), SHEET_FRAMES // 2):
        if len(stretch) > 1:
            closed, opened = stretch[opening[stretch].argmin()], stretch[opening[stretch].argmax()]
            chosen += sorted({int(closed), int(opened)})
    return chosen or [0]


def inner_lips() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (K,) of the upper and the lower inner lip that meet when the mouth closes."""
    extension = Path(sys.modules[EXTENSION].__file__ or "").parent
    with np.load(extension / "assets" / "head" / "head.npz", allow_pickle=False) as asset:
        return asset["lip_inner_upper"], asset["lip_inner_lower"]


def measure(
    scene: bpy.types.Scene,
    head: bpy.types.Object,
    rig: bpy.types.Object,
    lips: tuple[np.ndarray, np.ndarray],
) -> dict[str, list[float]]:
    """Mouth opening beyond rest (mm), head turn (degrees) and blink (0 to 1) by frame, as Blender evaluates them."""
    curves: dict[str, list[float]] = {"mouth": [], "head": [], "blink": []}
    blocks = head.data.shape_keys.key_blocks

    def lip_distance(vertices: np.ndarray) -> float:
        upper, lower = (vertices.reshape(-1, 3)[lip] for lip in lips)
        return 1000 * float(np.linalg.norm(upper - lower, axis=1).mean())

    basis = np.empty(3 * len(head.data.vertices), np.float32)
    head.data.vertices.foreach_get("co", basis)
    at_rest = lip_distance(basis)
    for frame in range(scene.frame_start, scene.frame_end + 1):
        scene.frame_set(frame)
        shown = head.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
        vertices = np.empty(3 * len(shown.vertices), np.float32)
        shown.vertices.foreach_get("co", vertices)
        curves["mouth"].append(max(0.0, lip_distance(vertices) - at_rest))
        turn = rig.pose.bones["neck"].matrix_basis.to_quaternion().angle
        curves["head"].append(math.degrees(turn if turn <= math.pi else math.tau - turn))
        curves["blink"].append((blocks["eyeBlinkLeft"].value + blocks["eyeBlinkRight"].value) / 2)
    return curves


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Blender from saying a line for each frame it renders."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


def render_still(scene: bpy.types.Scene, path: Path, size: tuple[int, int]) -> None:
    """Render the present frame as PNG."""
    if hasattr(scene.render.image_settings, "media_type"):
        scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format = "PNG"
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


def render_video(scene: bpy.types.Scene, path: Path) -> None:
    """Render all frames with the sequencer's sound as an MP4."""
    render = scene.render
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format = "MPEG4"
    render.ffmpeg.codec = "H264"
    render.ffmpeg.constant_rate_factor = "MEDIUM"
    render.ffmpeg.audio_codec = "AAC"
    render.resolution_x, render.resolution_y = VIDEO_SIZE
    render.filepath = str(path)
    scene.display.render_aa = "FXAA"
    # A sound strip alone must not make the sequencer render instead of the camera.
    render.use_sequencer = False
    bpy.ops.render.render(animation=True)


if __name__ == "__main__":
    status = 0
    try:
        main()
    except Exception:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # Blender as a module may hang when it is taken down with timers registered
