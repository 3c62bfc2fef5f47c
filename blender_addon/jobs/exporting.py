# SPDX-License-Identifier: GPL-3.0-or-later
"""FBX, glTF, USD and Alembic files of animated heads, with settings under which they come back as they were.

Where the motion comes from goes along: as custom properties in FBX, glTF and USD, as a `.json` beside an Alembic file,
which has no place for it. Paths of this machine and the takes' raw motion stay here.
"""

import contextlib
import errno
import json
import os
import re
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..data.errors import UserError
from ..faces.character import armature_of, owner_of, skins_of
from ..faces.rig import HEAD_MARK
from ..takes import keying
from ..takes.keying import PROVENANCE_KEYS

COMPLETE_ALEMBIC = b"Ogawa\xff"  # how a file begins whose writing came to its end
FBX_CONVENTIONS: dict[str, dict[str, Any]] = {
    "BLENDER": {},
    "UNITY": {"axis_forward": "-Z", "axis_up": "Y", "apply_scale_options": "FBX_SCALE_ALL"},
    "UNREAL": {"axis_forward": "-Y", "axis_up": "Z", "apply_scale_options": "FBX_SCALE_NONE"},
}


@dataclass(frozen=True)
class File:
    """A file to be written.

    objects: what goes into it.
    frames: first and last frame.
    """

    path: Path
    objects: tuple[bpy.types.Object, ...]
    frames: tuple[int, int]


@dataclass(frozen=True)
class Exporter:
    """A kind of file that heads are written to.

    run: has Blender write the file; takes one of `conventions`, where there are any.
    conventions: that the user may choose from: value, name and description.
    types: of the objects that go into the file.
    built: the name of what Blender must be built with.
    """

    name: str
    suffix: str
    tooltip: str
    run: Callable[[File, str], object]
    conventions: tuple[tuple[str, str, str], ...] = ()
    types: tuple[str, ...] = ("MESH", "ARMATURE")
    built: str = ""

    def write(
        self,
        objects: bpy.types.Object | Iterable[bpy.types.Object],
        path: str | Path,
        frame_range: tuple[int, int] | None = None,
        preset: str = "BLENDER",
    ) -> Path:
        """Write animated heads: shape keys, bones, every frame of their animation, and where it comes from.

        Import FBX into Blender with Animation Offset 0, else it comes one frame late.

        Args:
            objects: heads; a mesh stands for its armature and the other way round.
            path: its suffix is added where it is missing.
            frame_range: first and last frame; None takes the keyed frames.
            preset: of FBX, whose conventions of axes and scale are followed: BLENDER, UNITY or UNREAL.

        Raises:
            UserError: there is nothing to export, the preset is unknown, this Blender cannot write such files or would
                leave something out, or the file cannot be written.
        """
        known = [value for value, *_ in self.conventions] or ["BLENDER"]
        if preset not in known:
            raise UserError(f"The {self.name} preset is one of {', '.join(known)}, not “{preset}”.")
        if self.built and not getattr(bpy.app.build_options, self.built):
            advice = "Use Blender from blender.org, or export FBX."
            raise UserError(f"This build of Blender has no {self.name}. {advice}")
        family = _family([objects] if isinstance(objects, bpy.types.Object) else objects)
        target, scene = writable(path, self.suffix), bpy.context.scene
        file = File(
            target,
            tuple(item for item in family if item.type in self.types),
            frame_range or keyed_range(scene, family),
        )
        stood = target.exists()
        with _selected(bpy.context, file.objects), _framed(scene, file.frames), _described(file.objects):
            try:
                self.run(file, preset)
            except (RuntimeError, OSError) as error:
                if not stood:  # what was begun goes
                    with contextlib.suppress(OSError):
                        target.unlink(missing_ok=True)
                text = f"“{target.name}” could not be exported: {_cause(error)}. Choose another place."
                raise UserError(text) from error
            if not target.is_file():
                raise UserError(f"“{target}” could not be written.")
        return target


def _write_fbx(file: File, preset: str) -> None:
    bpy.ops.export_scene.fbx(
        filepath=str(file.path),
        use_selection=True,
        object_types={"ARMATURE", "MESH"},
        use_mesh_modifiers=False,  # shape keys are lost with them
        use_armature_deform_only=True,
        add_leaf_bones=False,
        use_custom_props=True,
        bake_anim=True,
        bake_anim_use_all_bones=True,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        bake_anim_force_startend_keying=True,
        bake_anim_step=1.0,
        bake_anim_simplify_factor=0.0,
        path_mode="COPY",  # textures lie in the file: their paths are private
        embed_textures=True,
        **FBX_CONVENTIONS[preset],
    )
    _without_folder(file.path)


def _write_gltf(file: File, preset: str) -> None:
    _check_gltf(file.objects)
    layered = any(block.animation_data.nla_tracks for block in _animated(file.objects))
    bpy.ops.export_scene.gltf(
        filepath=str(file.path),
        export_format="GLB",
        use_selection=True,
        export_animations=True,
        export_animation_mode="ACTIVE_ACTIONS",
        export_bake_animation=layered,  # else only what has an Action of its own is sampled
        export_force_sampling=True,
        export_frame_range=True,
        export_morph=True,
        export_morph_normal=False,
        export_skins=True,
        export_all_influences=True,
        export_optimize_animation_size=False,
        export_extras=True,
        export_apply=False,
    )
    _without_groups(file.path)


def _check_gltf(objects: Iterable[bpy.types.Object]) -> None:
    """Refuse what glTF's exporter was seen to lose before Blender 4.4: bones of rigs that only the NLA editor moves."""
    if bpy.app.version >= (4, 4, 0):
        return
    for item in objects:
        played = item.animation_data
        foreign = item.type == "ARMATURE" and not item.get(HEAD_MARK)
        if foreign and played is not None and played.action is None and played.nla_tracks:
            raise UserError(
                f"Before 4.4, Blender's glTF exporter leaves out bones of “{item.name}” that only the NLA editor "
                "moves. Export FBX, Alembic or USD, or take the strips out of the NLA editor (Edit Action)."
            )


def _write_usd(file: File, preset: str) -> None:
    known = bpy.ops.wm.usd_export.get_rna_type().properties
    options = {
        "selected_objects_only": True,
        "export_animation": True,
        "export_armatures": True,
        "export_shapekeys": True,
        "only_deform_bones": False,
        "export_custom_properties": True,
        "export_materials": True,
        "export_textures": True,  # beside the file: their own paths are private
        "export_textures_mode": "NEW",  # the same since Blender 4.3
        "relative_paths": True,
        "evaluation_mode": "RENDER",
    }
    given = {name: value for name, value in options.items() if name in known}
    bpy.ops.wm.usd_export(filepath=str(file.path), **given)


def _write_alembic(file: File, preset: str) -> None:
    """A vertex cache, and `<path>.json` saying where the motion comes from."""
    bpy.ops.wm.alembic_export(
        filepath=str(file.path),
        start=file.frames[0],
        end=file.frames[1],
        selected=True,
        flatten=False,
        uvs=True,
        normals=True,
        face_sets=True,
        use_instancing=False,
        evaluation_mode="RENDER",
        as_background_job=False,
    )
    with file.path.open("rb") as written:
        if written.read(len(COMPLETE_ALEMBIC)) != COMPLETE_ALEMBIC:  # of which Blender says nothing
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    origin = {mesh.name: provenance_of(mesh) for mesh in file.objects}
    beside = file.path.with_suffix(".abc.json")
    try:
        beside.write_text(json.dumps(origin, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _without_folder(path: Path) -> None:
    """Take the file's own folder, which Blender writes before names of textures, out of an FBX file.

    Names stay as long as they were, since all places in the file count from its beginning.
    """
    folder = os.path.join(os.path.normpath(os.path.abspath(path.parent)), "").encode()
    content = path.read_bytes()
    if folder in content:
        nowhere = b"./" * (len(folder) // 2) + b"/" * (len(folder) % 2)
        path.write_bytes(content.replace(folder, nowhere))


def _without_groups(path: Path) -> None:
    """Take the add-on's own properties out of a binary glTF file: settings with paths, and takes' motion.

    Before 5.0 Blender shows them among the custom properties, which are exported.
    """
    content = path.read_bytes()
    length = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + length], object_hook=_without_own_groups)
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    head = content[:8] + struct.pack("<II", 20 + len(text) + len(rest), len(text)) + content[16:20]
    path.write_bytes(head + text + rest)


def _without_own_groups(entry: dict[str, Any]) -> dict[str, Any]:
    extras = entry.get("extras")
    if isinstance(extras, dict):
        entry["extras"] = {
            name: value
            for name, value in extras.items()
            if not (name.startswith("diffposetalk") and isinstance(value, dict))
        }
    return entry


EXPORTERS = (
    Exporter(
        "FBX",
        ".fbx",
        "Export the selected heads with bones, shape keys and every keyed frame",
        _write_fbx,
        (
            ("BLENDER", "Blender", "Comes back into Blender as it was"),
            ("UNITY", "Unity", "-Z forward, Y up and scale applied, as Unity's importer expects it"),
            ("UNREAL", "Unreal", "-Y forward and Z up, as Unreal's importer expects it"),
        ),
    ),
    Exporter(
        "Alembic",
        ".abc",
        "Export the selected heads as a vertex cache of every keyed frame",
        _write_alembic,
        types=("MESH",),
        built="alembic",
    ),
    Exporter(
        "glTF",
        ".glb",
        "Export the selected heads as binary glTF with bones, shape keys and every keyed frame",
        _write_gltf,
    ),
    Exporter(
        "USD",
        ".usdc",
        "Export the selected heads as USD with bones, shape keys and every keyed frame",
        _write_usd,
        built="usd",
    ),
)


EXPORTER_OF = {exporter.suffix: exporter for exporter in EXPORTERS}


def provenance_of(item: bpy.types.Object) -> dict[str, Any]:
    """Where the motion that `item` shows comes from; empty for motion made by hand."""
    for action, _ in keying.played_actions(item.data.shape_keys if item.type == "MESH" else item):
        origin = {name: action[name] for name in PROVENANCE_KEYS if name in action}
        if origin:
            return origin
    return {}


def unplayed(objects: Iterable[bpy.types.Object]) -> list[str]:
    """Sentences about takes of heads that are not played and so are in no export of them."""
    return keying.unplayed_takes(_animated(_family(objects)))


def _animated(objects: Iterable[bpy.types.Object]) -> list[bpy.types.ID]:
    """The data-blocks of objects that have animation."""
    blocks = (block for item in objects for block in (item, getattr(item.data, "shape_keys", None)))
    return [block for block in blocks if block is not None and block.animation_data is not None]


def keyed_range(scene: bpy.types.Scene, objects: Iterable[bpy.types.Object]) -> tuple[int, int]:
    """First and last frame with keys of `objects`; the scene's range where there are none."""
    frames = [
        frame
        for block in _animated(objects)
        for action, span in keying.played_actions(block)
        if any(True for _ in keying.action_curves(action))
        for frame in span
    ]
    if not frames:
        return scene.frame_start, scene.frame_end
    return int(min(frames)), int(-(-max(frames) // 1))


def _family(objects: Iterable[bpy.types.Object]) -> list[bpy.types.Object]:
    """The meshes of the characters of `objects`, whatever they hang on, and the armatures that move them."""
    family: dict[bpy.types.Object, None] = {}
    for item in objects:
        hanging = owner_of(item).children_recursive
        for mesh in dict.fromkeys((*skins_of(item), *(below for below in hanging if below.type == "MESH"))):
            family[mesh] = None
            rigs = [m.object for m in mesh.modifiers if m.type == "ARMATURE" and m.object is not None]
            for rig in (armature_of(mesh), *rigs):
                if rig is not None:
                    family[rig] = None
    if not family:
        raise UserError("No head is selected to export. Select one, or the mesh that was keyed.")
    return list(family)


def writable(path: str | Path, suffix: str = "") -> Path:
    """The absolute path of a file to write, with its suffix.

    Raises:
        UserError: its folder does not exist, or it cannot be written.
    """
    target = Path(bpy.path.abspath(str(path)))
    try:
        if suffix and target.suffix.lower() != suffix:
            target = target.with_name(target.name + suffix)
        if not target.parent.is_dir():
            raise UserError(f"The folder “{target.parent}” does not exist. Choose another one.")
        with target.open("ab") if target.exists() else tempfile.TemporaryFile(dir=target.parent):
            pass  # tried, since permissions do not tell of disks that are read-only, nor of folders of other systems
    except (OSError, ValueError) as error:  # among them a name that no file can have
        raise UserError(f"“{target}” cannot be written. Choose another place.") from error
    return target


def _cause(error: Exception) -> str:
    """Why an exporter failed. Blender tells errors of its exporters in Python with their whole traceback."""
    lines = str(error.strerror if isinstance(error, OSError) else error).strip().splitlines()
    raised = [
        match for line in lines if (match := re.match(r"\w*(?:Error|Exception): (?:\[.*?\] )?(.+)", line))
    ]
    cause = raised[-1].group(1) if raised and "Traceback" in str(error) else " ".join(lines)
    return cause.removeprefix("Error: ").rstrip(".")


@contextlib.contextmanager
def _selected(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> Iterator[None]:
    """Select just `objects` in object mode, and put the selection back afterwards.

    Objects that are hidden are shown meanwhile.

    Raises:
        UserError: one is not in the view layer, or in a hidden collection.
    """
    if context.object is not None and context.object.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    view_layer = context.view_layer
    before, active = list(context.selected_objects), view_layer.objects.active
    absent = [item.name for item in objects if item.name not in view_layer.objects]
    hidden = [
        (item, item.hide_get(), item.hide_viewport, item.hide_render)
        for item in objects
        if item.name not in absent
    ]
    for item in before:
        item.select_set(False)
    try:
        for item, *_ in hidden:
            item.hide_viewport = item.hide_render = False
            item.hide_set(False)
        view_layer.update()
        absent += [item.name for item, *_ in hidden if not item.visible_get()]
        if absent:
            names = ", ".join(f"“{name}”" for name in absent)
            raise UserError(
                f"{names} cannot be exported from this view layer: the collection is hidden, excluded or in another "
                "scene. Show it first."
            )
        for item in objects:
            item.select_set(True)
        view_layer.objects.active = objects[0]
        yield
    finally:
        for item, hide, hide_viewport, hide_render in hidden:
            item.select_set(False)
            item.hide_set(hide)
            item.hide_viewport, item.hide_render = hide_viewport, hide_render
        for item in before:
            item.select_set(True)
        view_layer.objects.active = active


@contextlib.contextmanager
def _framed(scene: bpy.types.Scene, frame_range: tuple[int, int]) -> Iterator[None]:
    """Give the scene another frame range for a while; exporters take theirs from it."""
    before = scene.frame_start, scene.frame_end, scene.frame_current, scene.frame_subframe
    scene.frame_start, scene.frame_end = frame_range
    try:
        yield
    finally:
        scene.frame_start, scene.frame_end = before[:2]
        scene.frame_set(before[2], subframe=before[3])


@contextlib.contextmanager
def _described(objects: Sequence[bpy.types.Object]) -> Iterator[None]:
    """Say on the objects where their motion comes from, for exporters that write custom properties."""
    added: list[tuple[bpy.types.Object, str]] = []
    try:
        for item in objects:
            for name, value in provenance_of(item).items():
                if name not in item:
                    item[name] = value
                    added.append((item, name))
        yield
    finally:
        for item, name in added:
            del item[name]
