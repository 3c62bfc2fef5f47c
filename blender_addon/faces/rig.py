# SPDX-License-Identifier: GPL-3.0-or-later
"""The head in Blender: mesh, shape keys, armature, and the drivers that tie them together.

What Blender evaluates equals the head model's linear blend skinning: shape keys add expressions and pose
correctives to the rest mesh, then the armature turns it about the joints. Every bone's rest axes are FLAME's
axes, so that a bone's local rotation is the model's joint rotation.

The joints: where an expression moves a joint by d, the model turns about J + d, which is to move by -d, turn
about J, and move by d again. So the joint's bone, which turns, is moved by d (its location is locked and
driven), and a hidden child of it, which moves by -d, carries the vertices and the joints below.

The eyes: an expression of the gaze turns a hidden bone, and the eye bone copies it. The eye bone itself
stays free to be animated by hand, on top of the gaze.
"""

import math
import string
from collections.abc import Sequence

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..data.errors import UserError
from ..data.head_asset import HeadAsset, pose_corrective_groups, to_blender

HEAD_MARK = "diffposetalk_head"  # custom property of the mesh and armature objects that add_head made
BASIS_MARK = "diffposetalk_basis"
ASSET_MARK = "diffposetalk_asset"
ASSET_FILE_MARK = "diffposetalk_asset_file"  # its name; exports carry it, and folders are private
SHAPE_MARK = "diffposetalk_shape"  # the identity coefficients the head was made with
EXPRESSIONS_MARK = "diffposetalk_expressions"  # the expression names in the basis's order, a line each
JAW_OPEN_ANGLE_MARK = "diffposetalk_jaw_open_angle"

BONE_LENGTH = {"root": 0.06, "neck": 0.08, "jaw": 0.05, "left_eye": 0.03, "right_eye": 0.03}  # metres
SLIDER_RANGE = {"arkit": (0.0, 1.0), "flame": (-10.0, 10.0)}  # evaluation clamps a key to its slider's range
STILL_JOINT = 1e-6  # metres: a joint that all expressions together at 1 move less than this stays still
DRIVER_TERMS = 25  # of a sum in one driver, whose expression may have 255 characters
DRIVER_UNITS = 99999  # factors of a sum are whole numbers up to this, times one factor

# Entries of R - I, row-major, of the unit quaternion (w, x, y, z).
ROTATION_ENTRIES = (
    "-2*(y*y+z*z)", "2*(x*y-w*z)", "2*(x*z+w*y)",
    "2*(x*y+w*z)", "-2*(x*x+z*z)", "2*(y*z-w*x)",
    "2*(x*z-w*y)", "2*(y*z+w*x)", "-2*(x*x+y*y)",
)  # fmt: skip


def add_head(
    context: bpy.types.Context,
    asset: HeadAsset,
    name: str | None = None,
    shape: np.ndarray | None = None,
) -> tuple[bpy.types.Object, bpy.types.Object]:
    """Add `asset` to the scene at the 3D cursor.

    Args:
        context: gives the scene, the collection and the cursor.
        asset: the head.
        name: of the mesh object; the asset's name when None.
        shape: up to 100 identity coefficients, baked into the mesh and the joints.

    Returns:
        The mesh object and the armature object, which is its parent.
    """
    if context.object is not None and context.object.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    name = name or asset.name
    vertices = asset.shaped(shape)
    mesh_object = bpy.data.objects.new(name, _build_mesh(asset, name, vertices))
    rig_object = bpy.data.objects.new(f"{name} Rig", bpy.data.armatures.new(f"{name} Rig"))
    _link(context, rig_object, mesh_object)
    rig_object.location = context.scene.cursor.location
    mesh_object.parent = rig_object

    _build_bones(context, rig_object, asset, to_blender(asset.joints(shape)))
    _build_weights(mesh_object, rig_object, asset)
    modifier = mesh_object.modifiers.new("Armature", "ARMATURE")
    modifier.object = rig_object
    _build_expression_keys(mesh_object, asset, vertices)
    _build_corrective_keys(mesh_object, rig_object, asset, vertices)
    _drive_gaze(mesh_object, rig_object, asset)
    _drive_joints(mesh_object, rig_object, asset)

    for marked in (mesh_object, rig_object):
        marked[HEAD_MARK] = True
        marked[BASIS_MARK] = asset.basis
        marked[ASSET_MARK] = asset.name
        marked[ASSET_FILE_MARK] = asset.file_name
        marked[JAW_OPEN_ANGLE_MARK] = asset.jaw_open_angle
        marked[EXPRESSIONS_MARK] = "\n".join(asset.expression_names)
    if shape is not None:
        mesh_object[SHAPE_MARK] = [float(value) for value in np.asarray(shape).reshape(-1)]
    for selected in context.selected_objects:
        selected.select_set(False)
    mesh_object.select_set(True)
    context.view_layer.objects.active = mesh_object
    return mesh_object, rig_object


def _link(context: bpy.types.Context, *objects: bpy.types.Object) -> None:
    """Link into the active collection, or into the scene's own where that one is excluded or hidden."""
    for item in objects:
        context.collection.objects.link(item)
        context.view_layer.update()
        if not item.visible_get():
            context.collection.objects.unlink(item)
            context.scene.collection.objects.link(item)


def _build_mesh(asset: HeadAsset, name: str, vertices: np.ndarray) -> bpy.types.Mesh:
    """Make the rest mesh with polygons, UVs and materials; `vertices` is (V, 3) in FLAME's axes."""
    mesh = bpy.data.meshes.new(name)
    corners = asset.polygons >= 0
    sizes = corners.sum(axis=1)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", to_blender(vertices).astype(np.float32).ravel())
    mesh.loops.add(int(sizes.sum()))
    mesh.loops.foreach_set("vertex_index", asset.polygons[corners])
    mesh.polygons.add(len(sizes))
    mesh.polygons.foreach_set("loop_start", np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(sizes), bool))
    for m, material_name in enumerate(asset.material_names):
        mesh.materials.append(
            _build_material(material_name, asset.material_colors[m], float(asset.material_roughness[m]))
        )
    mesh.polygons.foreach_set("material_index", asset.polygon_material)
    uv_layer = mesh.uv_layers.new(name="UVMap")
    uv_layer.uv.foreach_set("vector", asset.uv[asset.uv_polygons[corners]].ravel())
    mesh.update(calc_edges=True)
    if mesh.validate():
        bpy.data.meshes.remove(mesh)
        raise UserError(f"The head {asset.name} has polygons that Blender does not accept.")
    return mesh


def _build_material(name: str, color: np.ndarray, roughness: float) -> bpy.types.Material:
    """Make a material that renders in Cycles and EEVEE and shows its colour in Workbench too."""
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0, 0):  # always so from 5.0 on
        material.use_nodes = True
    material.diffuse_color = color
    material.roughness = roughness
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = color
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Alpha"].default_value = color[3]
    if name.lower() in ("skin", "lips", "tongue"):
        shader.inputs["Subsurface Weight"].default_value = 0.1
        shader.inputs["Subsurface Radius"].default_value = (1.0, 0.35, 0.2)
        shader.inputs["Subsurface Scale"].default_value = 0.004  # metres: light spreads a few mm in skin
    return material


def _moves(asset: HeadAsset) -> list[bool]:
    """For each joint, whether expressions move it."""
    return [bool(moved) for moved in np.abs(asset.joint_dirs()).sum(axis=2).max(axis=1) > STILL_JOINT]


def _build_bones(
    context: bpy.types.Context, rig_object: bpy.types.Object, asset: HeadAsset, joints: np.ndarray
) -> None:
    """Make the joints' bones and the hidden ones; `joints` is (5, 3) in Blender's axes.

    Hidden are `<joint>_deform` for joints that expressions move, and `<eye>_gaze` for eyes that they turn.
    """
    armature = rig_object.data
    armature.display_type = "STICK"
    rest_rotation = Matrix.Rotation(math.pi / 2, 4, "X")  # columns are FLAME's axes in Blender's
    context.view_layer.objects.active = rig_object
    bpy.ops.object.mode_set(mode="EDIT")

    def new_bone(name: str, joint: int, parent: bpy.types.EditBone | None) -> bpy.types.EditBone:
        bone = armature.edit_bones.new(name)
        bone.head, bone.tail = (0, 0, 0), (0, BONE_LENGTH[asset.joint_names[joint]], 0)
        bone.matrix = Matrix.Translation(Vector(joints[joint])) @ rest_rotation
        bone.parent = parent
        return bone

    carriers: list[bpy.types.EditBone] = []  # what carries the vertices and the joints below, by joint
    hidden: dict[str, list[str]] = {"Deform": [], "Gaze Drivers": []}
    eyes = [eye for eye in ("left_eye", "right_eye") if asset.gaze_angles(eye).any()]
    for j, (name, moves) in enumerate(zip(asset.joint_names, _moves(asset), strict=True)):
        parent = carriers[asset.parents[j]] if asset.parents[j] >= 0 else None
        carrier = new_bone(name, j, parent)
        if name in eyes:
            hidden["Gaze Drivers"].append(f"{name}_gaze")
            new_bone(f"{name}_gaze", j, parent).use_deform = False
        if moves:
            hidden["Deform"].append(f"{name}_deform")
            carrier.use_deform = False
            carrier = new_bone(f"{name}_deform", j, carrier)
        carriers.append(carrier)
    bpy.ops.object.mode_set(mode="OBJECT")

    visible = armature.collections.new("Head")
    for name in asset.joint_names:
        visible.assign(armature.bones[name])
    for title, names in hidden.items():
        if names:
            collection = armature.collections.new(title)
            collection.is_visible = False
            for name in names:
                collection.assign(armature.bones[name])
    for pose_bone in rig_object.pose.bones:
        pose_bone.rotation_mode = "XYZ"
        pose_bone.lock_location = (True, True, True)
        pose_bone.lock_scale = (True, True, True)
    for eye in eyes:
        copy = rig_object.pose.bones[eye].constraints.new("COPY_ROTATION")
        copy.name = "Gaze"
        copy.target, copy.subtarget = rig_object, f"{eye}_gaze"
        copy.mix_mode = "BEFORE"  # the gaze acts like a parent: hand animation comes on top of it
        copy.owner_space = copy.target_space = "LOCAL"


def _build_weights(mesh_object: bpy.types.Object, rig_object: bpy.types.Object, asset: HeadAsset) -> None:
    """Store the skinning weights exactly, one vertex group a joint."""
    for name in asset.joint_names:
        deform = f"{name}_deform"
        mesh_object.vertex_groups.new(name=deform if deform in rig_object.data.bones else name)
    edited = bmesh.new()
    edited.from_mesh(mesh_object.data)
    layer = edited.verts.layers.deform.verify()
    for vertex, row in zip(edited.verts, asset.weights.tolist(), strict=True):
        groups = vertex[layer]
        for j, weight in enumerate(row):
            if weight > 0.0:
                groups[j] = weight
    edited.to_mesh(mesh_object.data)
    edited.free()


def _add_key(mesh_object: bpy.types.Object, name: str, positions: np.ndarray) -> bpy.types.ShapeKey:
    """Add a shape key with (V, 3) absolute positions in FLAME's axes."""
    key = mesh_object.shape_key_add(name=name, from_mix=False)
    key.data.foreach_set("co", to_blender(positions).astype(np.float32).ravel())
    return key


def _build_expression_keys(mesh_object: bpy.types.Object, asset: HeadAsset, vertices: np.ndarray) -> None:
    """Make one shape key for each expression component, at rest."""
    _add_key(mesh_object, "Basis", vertices)
    low, high = SLIDER_RANGE.get(asset.basis, (-10.0, 10.0))
    for e, name in enumerate(asset.expression_names):
        key = _add_key(mesh_object, name, vertices + asset.expression_dirs[:, :, e])
        key.slider_min, key.slider_max = low, high
        key.value = 0.0


def _build_corrective_keys(
    mesh_object: bpy.types.Object, rig_object: bpy.types.Object, asset: HeadAsset, vertices: np.ndarray
) -> None:
    """Make the pose correctives and drive each by the rotation of its bone."""
    for joint, terms, displacement in pose_corrective_groups(asset.posedirs):
        entries = "".join(f"{entry // 3}{entry % 3}." for entry, _ in terms).rstrip(".")
        key = _add_key(mesh_object, f"{joint}_corrective_{entries}", vertices + displacement)
        key.slider_min, key.slider_max = -10.0, 10.0
        driver = _new_driver(key, "value")
        for component in "wxyz":
            variable = driver.variables.new()
            variable.name, variable.type = component, "TRANSFORMS"
            target = variable.targets[0]
            target.id, target.bone_target = rig_object, joint
            target.transform_type = f"ROT_{component.upper()}"
            target.transform_space = "LOCAL_SPACE"
            target.rotation_mode = "QUATERNION"
        driver.expression = "+".join(
            ROTATION_ENTRIES[entry] if factor == 1.0 else f"{factor:.7g}*({ROTATION_ENTRIES[entry]})"
            for entry, factor in terms
        )


def _new_driver(owner: bpy.types.bpy_struct, path: str, index: int = -1) -> bpy.types.Driver:
    """Add a driver whose value is that of its expression.

    From 5.0 on a driver's curve has keys at 0 and 1, and a value up to 1e-4 above a key becomes the key's: a tenth
    of a millimetre in a location.
    """
    curve = owner.driver_add(path, index)
    curve.keyframe_points.clear()
    curve.driver.type = "SCRIPTED"
    return curve.driver


def _read_property(driver: bpy.types.Driver, name: str, shape_keys: bpy.types.Key, path: str) -> None:
    """Give a driver the variable `name`, a property of the shape keys."""
    variable = driver.variables.new()
    variable.name, variable.type = name, "SINGLE_PROP"
    target = variable.targets[0]
    target.id_type, target.id, target.data_path = "KEY", shape_keys, path


def _drive_gaze(mesh_object: bpy.types.Object, rig_object: bpy.types.Object, asset: HeadAsset) -> None:
    """Turn the gaze bones by the expressions that look somewhere."""
    for eye in ("left_eye", "right_eye"):
        for axis in range(2):  # pitch about x, yaw about y
            angles = asset.gaze_angles(eye)[:, axis]
            expressions = np.flatnonzero(angles)
            if not expressions.size:
                continue
            driver = _new_driver(rig_object.pose.bones[f"{eye}_gaze"], "rotation_euler", axis)
            for e in expressions:
                path = f'key_blocks["{asset.expression_names[e]}"].value'
                _read_property(driver, f"v{e}", mesh_object.data.shape_keys, path)
            driver.expression = "+".join(f"v{e}*{angles[e]:.7g}" for e in expressions)


def _drive_joints(mesh_object: bpy.types.Object, rig_object: bpy.types.Object, asset: HeadAsset) -> None:
    """Move the joints by the expressions.

    A displacement is a sum over all expressions, longer than a driver's expression may be. Its parts are custom
    properties of the shape keys, `<joint>_offset`: for x, y, z in turn as many as there are parts.
    """
    shape_keys = mesh_object.data.shape_keys
    starts = range(0, len(asset.expression_names), DRIVER_TERMS)
    for joint, moves, directions in zip(asset.joint_names, _moves(asset), asset.joint_dirs(), strict=True):
        if not moves:
            continue
        parts = f"{joint}_offset"
        shape_keys[parts] = [0.0] * (3 * len(starts))
        for axis in range(3):
            indices = range(axis * len(starts), (axis + 1) * len(starts))
            for index, start in zip(indices, starts, strict=True):
                driver = _new_driver(shape_keys, f'["{parts}"]', index)
                names = asset.expression_names[start : start + DRIVER_TERMS]
                _drive_by_sum(driver, shape_keys, names, directions[axis, start : start + DRIVER_TERMS])
            for bone, sign in ((joint, ""), (f"{joint}_deform", "-")):
                driver = _new_driver(rig_object.pose.bones[bone], "location", axis)
                letters = string.ascii_lowercase[: len(starts)]
                for letter, index in zip(letters, indices, strict=True):
                    _read_property(driver, letter, shape_keys, f'["{parts}"][{index}]')
                driver.expression = f"{sign}({'+'.join(letters)})"


def _drive_by_sum(
    driver: bpy.types.Driver, shape_keys: bpy.types.Key, expressions: Sequence[str], factors: np.ndarray
) -> None:
    """Let `driver` be the sum of up to DRIVER_TERMS expressions' values times `factors`."""
    unit = float(np.abs(factors).max()) / DRIVER_UNITS or 1.0
    terms = []
    for letter, name, factor in zip(string.ascii_letters, expressions, factors, strict=False):
        whole = round(factor / unit)
        if whole:
            _read_property(driver, letter, shape_keys, f'key_blocks["{name}"].value')
            terms.append(f"{whole:+d}*{letter}")
    driver.expression = f"({''.join(terms)})*{unit:.9g}" if terms else "0"
