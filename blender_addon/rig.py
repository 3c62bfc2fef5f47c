# SPDX-License-Identifier: GPL-3.0-or-later
"""The head in Blender: mesh, shape keys, armature, and the drivers that tie them together.

What Blender evaluates equals the head model's linear blend skinning: shape keys add expressions and pose
correctives to the rest mesh, then the armature turns it about the joints. Every bone's rest axes are FLAME's
axes, so that a bone's local rotation is the model's joint rotation.

The eyes: an expression of the gaze turns a hidden bone, and the eye bone copies it. The eye bone itself
stays free to be animated by hand, on top of the gaze.
"""

import math

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Vector

from .errors import UserError
from .head_asset import HeadAsset, pose_corrective_groups, to_blender

HEAD_MARK = "diffposetalk_head"  # custom property of the mesh and armature objects that add_head made
BASIS_MARK = "diffposetalk_basis"
ASSET_MARK = "diffposetalk_asset"
SHAPE_MARK = "diffposetalk_shape"  # the identity coefficients the head was made with
EXPRESSIONS_MARK = "diffposetalk_expressions"  # the expression names in the basis's order, a line each
JAW_OPEN_ANGLE_MARK = "diffposetalk_jaw_open_angle"

BONE_LENGTH = {"root": 0.06, "neck": 0.08, "jaw": 0.05, "left_eye": 0.03, "right_eye": 0.03}  # metres
SLIDER_RANGE = {"arkit": (0.0, 1.0), "flame": (-10.0, 10.0)}  # evaluation clamps a key to its slider's range

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
    _build_weights(mesh_object, asset)
    modifier = mesh_object.modifiers.new("Armature", "ARMATURE")
    modifier.object = rig_object
    _build_expression_keys(mesh_object, asset, vertices)
    _build_corrective_keys(mesh_object, rig_object, asset, vertices)
    _drive_gaze(mesh_object, rig_object, asset)

    for marked in (mesh_object, rig_object):
        marked[HEAD_MARK] = True
        marked[BASIS_MARK] = asset.basis
        marked[ASSET_MARK] = asset.name
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


def _build_bones(
    context: bpy.types.Context, rig_object: bpy.types.Object, asset: HeadAsset, joints: np.ndarray
) -> None:
    """Make the five joints' bones and the two hidden gaze bones; `joints` is (5, 3) in Blender's axes."""
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

    bones: list[bpy.types.EditBone] = []
    for j, name in enumerate(asset.joint_names):
        bones.append(new_bone(name, j, bones[asset.parents[j]] if asset.parents[j] >= 0 else None))
    for j, name in enumerate(asset.joint_names):
        if name.endswith("_eye"):
            gaze = new_bone(f"{name}_gaze", j, bones[asset.parents[j]])
            gaze.use_deform = False
    bpy.ops.object.mode_set(mode="OBJECT")

    hidden = armature.collections.new("Gaze Drivers")
    for bone in armature.bones:
        if bone.name.endswith("_gaze"):
            hidden.assign(bone)
    hidden.is_visible = False
    visible = armature.collections.new("Head")
    for bone in armature.bones:
        if not bone.name.endswith("_gaze"):
            visible.assign(bone)
    for pose_bone in rig_object.pose.bones:
        pose_bone.rotation_mode = "XYZ"
        pose_bone.lock_location = (True, True, True)
        pose_bone.lock_scale = (True, True, True)
    for eye in ("left_eye", "right_eye"):
        copy = rig_object.pose.bones[eye].constraints.new("COPY_ROTATION")
        copy.name = "Gaze"
        copy.target, copy.subtarget = rig_object, f"{eye}_gaze"
        copy.mix_mode = "BEFORE"  # the gaze acts like a parent: hand animation comes on top of it
        copy.owner_space = copy.target_space = "LOCAL"


def _build_weights(mesh_object: bpy.types.Object, asset: HeadAsset) -> None:
    """Store the skinning weights exactly, one vertex group a joint."""
    for name in asset.joint_names:
        mesh_object.vertex_groups.new(name=name)
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
        driver = key.driver_add("value").driver
        driver.type = "SCRIPTED"
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


def _drive_gaze(mesh_object: bpy.types.Object, rig_object: bpy.types.Object, asset: HeadAsset) -> None:
    """Turn the gaze bones by the expressions that look somewhere."""
    for side, eye in enumerate(("left_eye", "right_eye")):
        gaze = rig_object.pose.bones[f"{eye}_gaze"]
        for axis in range(2):  # pitch about x, yaw about y
            angles = asset.eye_look_angles[:, side, axis]
            expressions = np.flatnonzero(angles)
            if not expressions.size:
                continue
            driver = gaze.driver_add("rotation_euler", axis).driver
            driver.type = "SCRIPTED"
            terms = []
            for e in expressions:
                variable = driver.variables.new()
                variable.name, variable.type = f"v{e}", "SINGLE_PROP"
                target = variable.targets[0]
                target.id_type, target.id = "KEY", mesh_object.data.shape_keys
                target.data_path = f'key_blocks["{asset.expression_names[e]}"].value'
                terms.append(f"v{e}*{angles[e]:.7g}")
            driver.expression = "+".join(terms)
