# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled head: layout, and that its geometry through smplx does what the names promise."""

from collections import Counter

import numpy as np
import pytest
import torch
from smplx.lbs import lbs
from support.paths import BUNDLED_HEAD

HEAD = BUNDLED_HEAD
ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)
MILLIMETRE = 1e-3

ARKIT = (
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


@pytest.fixture(scope="module")
def head() -> dict[str, np.ndarray]:
    with np.load(HEAD, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def posed(
    head: dict[str, np.ndarray],
    units: dict[str, float] | None = None,
    pose: dict[int, tuple[float, float, float]] | None = None,
    shape: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and joints (5, 3) through smplx's skinning, in double precision."""
    betas = np.zeros(150)
    if shape is not None:
        betas[: len(shape)] = shape
    for name, value in (units or {}).items():
        betas[100 + ARKIT.index(name)] = value
    angles = np.zeros((5, 3))
    for joint, rotation in (pose or {}).items():
        angles[joint] = rotation

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(head[name].astype(np.float64))

    vertices, joints = lbs(
        torch.from_numpy(betas)[None],
        torch.from_numpy(angles).reshape(1, -1),
        tensor("v_template"),
        tensor("shapedirs"),
        tensor("posedirs").reshape(-1, 36).T,
        tensor("J_regressor"),
        torch.from_numpy(head["kintree_table"][0]),
        tensor("weights"),
    )
    return vertices[0].numpy(), joints[0].numpy()


def jaw_open(head: dict[str, np.ndarray], share: float = 1.0) -> dict[int, tuple[float, float, float]]:
    return {JAW: (share * float(head["jaw_open_angle"]), 0.0, 0.0)}


def lip_gap(head: dict[str, np.ndarray], vertices: np.ndarray) -> np.ndarray:
    return vertices[head["lip_inner_upper"], 1] - vertices[head["lip_inner_lower"], 1]


def rotation(axis: int, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def polygon_edges(polygons: np.ndarray) -> list[tuple[int, int]]:
    edges = []
    for polygon in polygons.tolist():
        corners = [v for v in polygon if v >= 0]
        edges += list(zip(corners, corners[1:] + corners[:1], strict=True))
    return edges


def covered_from(eye: np.ndarray, skin: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Which points (n, 3) have one of the triangles (m, 3, 3) in front of them along a direction."""
    a, b, c = skin[:, 0], skin[:, 1] - skin[:, 0], skin[:, 2] - skin[:, 0]
    p = np.cross(direction, c)
    determinant = np.einsum("ij,ij->i", b, p)
    determinant = np.where(np.abs(determinant) < 1e-15, np.inf, determinant)
    hidden = np.zeros(len(eye), bool)
    for number, point in enumerate(eye):
        offset = point - a
        u = np.einsum("ij,ij->i", offset, p) / determinant
        q = np.cross(offset, b)
        v = (q @ direction) / determinant
        distance = np.einsum("ij,ij->i", c, q) / determinant
        hidden[number] = ((u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0)).any()
    return hidden


# Layout


def test_arrays_have_flames_layout(head):
    count = len(head["v_template"])
    assert 4500 <= count <= 6000
    assert head["v_template"].shape == (count, 3)
    assert head["shapedirs"].shape == (count, 3, 150)
    assert head["posedirs"].shape == (count, 3, 36)
    assert head["J_regressor"].shape == (5, count)
    assert head["weights"].shape == (count, 5)
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"):
        assert head[name].dtype == np.float32
        assert np.isfinite(head[name]).all()
    assert head["kintree_table"].dtype == np.int64
    assert head["kintree_table"].tolist() == [[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]
    assert head["joint_names"].tolist() == ["root", "neck", "jaw", "left_eye", "right_eye"]
    assert str(head["basis"]) == "arkit"
    assert tuple(head["expression_names"].tolist()) == ARKIT
    for name in ("name", "license", "credits"):
        assert str(head[name])
    assert HEAD.stat().st_size < 12e6


def test_orientation_and_size(head):
    vertices = head["v_template"]
    height, width = np.ptp(vertices[:, 1]), np.ptp(vertices[head["parts"] == "upper-teeth", 0])
    assert 0.25 < height < 0.45 and 0.03 < width < 0.08
    _, joints = posed(head)
    assert joints[LEFT_EYE, 0] > 0 > joints[RIGHT_EYE, 0]
    nose = vertices[vertices[:, 2].argmax()]
    assert abs(nose[0]) < 0.002 and joints[JAW, 1] - 0.03 < nose[1] < joints[LEFT_EYE, 1]
    assert joints[ROOT, 1] < joints[NECK, 1] < joints[JAW, 1] < joints[LEFT_EYE, 1]


def test_polygons_triangles_uv_and_materials_agree(head):
    polygons, uv_polygons = head["polygons"], head["uv_polygons"]
    assert polygons.shape == uv_polygons.shape == (len(head["polygon_material"]), 4)
    assert (polygons[:, :3] >= 0).all() and polygons.max() == len(head["v_template"]) - 1
    assert np.array_equal(polygons < 0, uv_polygons < 0)
    assert uv_polygons.max() == len(head["uv"]) - 1
    assert head["uv"].min() >= 0 and head["uv"].max() <= 1
    assert len(head["f"]) == len(polygons) + (polygons[:, 3] >= 0).sum()
    assert set(head["f"].ravel()) == set(range(len(head["v_template"])))
    corners = [v for polygon in polygons.tolist() for v in set(polygon) if v >= 0]
    assert len(corners) == (polygons >= 0).sum()
    names = head["material_names"].tolist()
    assert {"skin", "lips", "sclera", "iris", "pupil", "teeth", "tongue", "lashes"} <= set(names)
    assert set(head["polygon_material"].tolist()) == set(range(len(names)))
    assert head["material_colors"].shape == (len(names), 4)
    assert head["material_roughness"].shape == (len(names),)


def test_neck_ends_in_one_clean_loop(head):
    body = head["polygons"][head["parts"][head["polygons"][:, 0]] == "body"]
    edges = polygon_edges(body)
    assert max(Counter(edges).values()) == 1, "neighbouring polygons must run in the same sense"
    uses = Counter(frozenset(edge) for edge in edges)
    assert max(uses.values()) == 2
    border = [edge for edge in edges if uses[frozenset(edge)] == 1]
    onward = dict(border)
    assert len(onward) == len(border)
    loop = [border[0][0]]
    while onward[loop[-1]] != loop[0]:
        loop.append(onward[loop[-1]])
    assert len(loop) == len(border) > 20
    assert (head["weights"][loop, ROOT] > 0.999).all(), "the bust stays"
    points = head["v_template"][loop]
    _, joints = posed(head)
    assert (points[:, 1] < joints[NECK, 1]).all()
    # Nothing ragged: the edge turns gently, all along a ball around the base of the neck.
    steps = np.roll(points, -1, axis=0) - points
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    assert (np.einsum("ij,ij->i", steps, np.roll(steps, -1, axis=0)) > np.cos(np.radians(40))).all()
    rows = np.hstack([2 * points, np.ones((len(points), 1))])
    squares = (points.astype(np.float64) ** 2).sum(axis=1)
    fit = np.linalg.lstsq(rows, squares, rcond=None)[0]
    radius = np.sqrt(fit[3] + fit[:3] @ fit[:3])
    assert np.abs(np.linalg.norm(points - fit[:3], axis=1) - radius).max() < 3 * MILLIMETRE


def test_body_has_no_slivers(head):
    body = head["f"][head["parts"][head["f"][:, 0]] == "body"]
    a, b, c = (head["v_template"][body[:, i]].astype(np.float64) for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert area.min() > 1e-9


# Skinning


def test_weights_are_convex_and_parts_rigid(head):
    weights, parts = head["weights"], head["parts"]
    assert weights.min() >= 0
    assert np.abs(weights.sum(axis=1) - 1).max() < 1e-6
    whole = {"left-eye": LEFT_EYE, "right-eye": RIGHT_EYE, "lower-teeth": JAW, "tongue": JAW}
    for part, joint in {**whole, "upper-teeth": NECK, "lashes": NECK, "brows": NECK}.items():
        assert (weights[parts == part, joint] == 1).all()
    skin = weights[parts == "body"]
    assert not skin[:, [LEFT_EYE, RIGHT_EYE]].any()
    heights = head["v_template"][parts == "body", 1]
    assert skin[heights < heights.min() + 0.02, ROOT].min() > 0.999
    assert skin[heights > 0.02, ROOT].max() < 0.001


def test_neck_weights_rise_smoothly(head):
    body = head["polygons"][head["parts"][head["polygons"][:, 0]] == "body"]
    edges = np.array(polygon_edges(body))
    jump = np.abs(head["weights"][edges[:, 0], ROOT] - head["weights"][edges[:, 1], ROOT])
    assert jump.max() < 0.35


def test_joint_regressor(head):
    regressor, template = head["J_regressor"].astype(np.float64), head["v_template"].astype(np.float64)
    assert regressor.min() >= 0
    assert np.abs(regressor.sum(axis=1) - 1).max() < 1e-6
    assert ((regressor > 0).sum(axis=1) < 60).all()
    joints = regressor @ template
    for joint, part in ((LEFT_EYE, "left-eye"), (RIGHT_EYE, "right-eye")):
        distance = np.linalg.norm(template[head["parts"] == part] - joints[joint], axis=1)
        assert np.ptp(distance) < 0.1 * MILLIMETRE, "the joint is the middle of the ball"
    assert np.abs(joints[[ROOT, NECK, JAW], 0]).max() < 0.1 * MILLIMETRE
    assert np.abs(joints[LEFT_EYE] * [-1, 1, 1] - joints[RIGHT_EYE]).max() < 0.1 * MILLIMETRE


def test_expressions_do_not_move_joints(head):
    shifts = np.einsum("jv,vce->jce", head["J_regressor"], head["shapedirs"][..., 100:])
    assert np.abs(shifts).max() < 1e-8


def test_template_is_symmetric(head):
    template = head["v_template"].astype(np.float64)
    body = template[head["parts"] == "body"]
    distances = np.linalg.norm(body[None, ::7] * [-1, 1, 1] - body[:, None], axis=-1).min(axis=0)
    assert np.quantile(distances, 0.99) < 0.5 * MILLIMETRE


# Jaw


def test_jaw_rotation_shows_the_jaw_open_unit(head):
    rest, _ = posed(head)
    opened, _ = posed(head, pose=jaw_open(head))
    residual = np.linalg.norm(opened - rest - head["jaw_open_displacement"], axis=1)
    assert residual.max() < 0.1 * MILLIMETRE
    assert 0.25 < float(head["jaw_open_angle"]) < 0.4
    assert lip_gap(head, opened)[3] > 25 * MILLIMETRE


def test_jaw_moves_steadily_and_beyond(head):
    travel = []
    for share in np.linspace(0, 1.3, 14):
        vertices, _ = posed(head, pose=jaw_open(head, share))
        travel.append(lip_gap(head, vertices)[3])
    steps = np.diff(travel)
    assert steps.min() > 0 and steps.max() < 1.5 * steps.min()


def test_correctives_answer_only_to_the_jaw(head):
    blocks = head["posedirs"].reshape(-1, 3, 4, 9)
    assert not blocks[:, :, [0, 2, 3]].any()
    still = np.isin(head["parts"], ["lower-teeth", "upper-teeth", "tongue", "left-eye", "right-eye"])
    assert not blocks[still].any()


def test_teeth_and_tongue_follow_the_jaw_rigidly(head):
    rest, joints = posed(head)
    opened, _ = posed(head, pose=jaw_open(head))
    turn = rotation(0, float(head["jaw_open_angle"]))
    for part in ("lower-teeth", "tongue"):
        chosen = head["parts"] == part
        expected = (rest[chosen] - joints[JAW]) @ turn.T + joints[JAW]
        assert np.abs(opened[chosen] - expected).max() < 1e-6
        assert (opened[chosen, 1] - rest[chosen, 1]).mean() < -5 * MILLIMETRE
    upper = head["parts"] == "upper-teeth"
    assert np.abs(opened[upper] - rest[upper]).max() < 1e-7


# Lips


def test_lips_are_closed_at_rest_for_every_identity(head):
    rest, _ = posed(head)
    assert len(head["lip_inner_upper"]) == len(head["lip_inner_lower"]) >= 3
    assert np.abs(lip_gap(head, rest)).max() < 0.1 * MILLIMETRE
    pair = rest[head["lip_inner_upper"]] - rest[head["lip_inner_lower"]]
    assert np.abs(pair[:, 0]).max() < 2 * MILLIMETRE
    rng = np.random.default_rng(0)
    for _ in range(20):
        vertices, _ = posed(head, shape=rng.normal(0, 1, 100))
        assert np.abs(lip_gap(head, vertices)).max() < 0.3 * MILLIMETRE


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.0])
def test_mouth_close_closes_the_open_jaw(head, share):
    vertices, _ = posed(head, {"mouthClose": share}, jaw_open(head, share))
    assert np.abs(lip_gap(head, vertices)).max() < 0.5 * MILLIMETRE


def test_mouth_corners_are_the_ends_of_the_lips(head):
    left, right = head["v_template"][head["mouth_corners"]]
    assert left[0] > 0.02 and right[0] < -0.02
    assert set(head["mouth_corners"].tolist()) <= set(head["mask_lips"].tolist())


def test_teeth_stay_behind_closed_and_rolled_lips(head):
    lips_and_skin = np.isin(head["parts"][head["f"][:, 0]], ["body"])
    front = np.array([0.0, 0.0, 1.0])
    for units in (
        {},
        {"mouthRollUpper": 1.0, "mouthRollLower": 1.0},
        {"mouthPressLeft": 1.0, "mouthPressRight": 1.0},
        {"mouthPucker": 1.0},
        {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
        {"cheekPuff": 1.0},
    ):
        vertices, _ = posed(head, units)
        teeth = vertices[np.isin(head["parts"], ["upper-teeth", "lower-teeth"])]
        teeth = teeth[np.abs(teeth[:, 0]) < 0.02]
        skin = vertices[head["f"][lips_and_skin]]
        assert covered_from(teeth, skin, front).all(), units


# Eyes


@pytest.mark.parametrize("joint, part", [(LEFT_EYE, "left-eye"), (RIGHT_EYE, "right-eye")])
def test_eyes_turn_rigidly_about_their_joint(head, joint, part):
    rest, joints = posed(head)
    turned, _ = posed(head, pose={joint: (0.0, 0.3, 0.0)})
    chosen = head["parts"] == part
    expected = (rest[chosen] - joints[joint]) @ rotation(1, 0.3).T + joints[joint]
    assert np.abs(turned[chosen] - expected).max() < 1e-7
    assert np.abs(turned[~chosen] - rest[~chosen]).max() < 1e-9
    assert not head["shapedirs"][chosen][..., 100:].any(), "no expression moves an eyeball but by its joint"


def test_eye_look_angles(head):
    angles = head["eye_look_angles"]
    assert angles.shape == (50, 2, 2)
    for number, name in enumerate(ARKIT):
        eye = 0 if name.endswith("Left") else 1
        if not name.startswith("eyeLook"):
            assert not angles[number].any()
            continue
        assert not angles[number, 1 - eye].any()
        pitch, yaw = angles[number, eye]
        # Positive pitch looks down, positive yaw to the character's left (+x); "in" is towards the nose.
        outwards = 1 if eye == 0 else -1
        expected = {"Up": (-1, 0), "Down": (1, 0), "In": (0, -outwards), "Out": (0, outwards)}
        kind = name.removeprefix("eyeLook").removesuffix("Left").removesuffix("Right")
        assert (np.sign(pitch), np.sign(yaw)) == expected[kind]
        assert 0.1 < abs(pitch) + abs(yaw) < 0.6


@pytest.mark.parametrize("gaze", ["", "eyeLookDown", "eyeLookUp", "eyeLookIn", "eyeLookOut"])
def test_blink_covers_the_eyeballs(head, gaze):
    units = {f"eyeBlink{side}": 1.0 for side in ("Left", "Right")}
    pose = {}
    if gaze:
        for eye, side in enumerate(("Left", "Right")):
            units[f"{gaze}{side}"] = 1.0
            pitch, yaw = head["eye_look_angles"][ARKIT.index(f"{gaze}{side}"), eye]
            pose[LEFT_EYE + eye] = (float(pitch), float(yaw), 0.0)
    vertices, joints = posed(head, units, pose)
    rest, _ = posed(head)
    skin = head["f"][head["parts"][head["f"][:, 0]] == "body"]
    for joint, part in ((LEFT_EYE, "left-eye"), (RIGHT_EYE, "right-eye")):
        ball = vertices[head["parts"] == part]
        near = np.linalg.norm(rest[skin].mean(axis=1) - joints[joint], axis=1) < 0.06
        for tilt in (-0.25, 0.0, 0.25):
            direction = rotation(0, tilt) @ rotation(1, -tilt) @ np.array([0.0, 0.0, 1.0])
            facing = ball[(ball - joints[joint]) @ direction > 0.001]
            assert covered_from(facing, vertices[skin[near]], direction).all()


def test_open_eyes_show_the_iris(head):
    vertices, _ = posed(head)
    skin = vertices[head["f"][head["parts"][head["f"][:, 0]] == "body"]]
    pupil = head["polygons"][head["polygon_material"] == head["material_names"].tolist().index("pupil")]
    points = vertices[np.unique(pupil[pupil >= 0])]
    assert not covered_from(points, skin, np.array([0.0, 0.0, 1.0])).any()


# Expressions, identities, masks


def test_units_act_on_their_own_side(head):
    x = head["v_template"][:, 0]
    for number, name in enumerate(ARKIT):
        size = np.linalg.norm(head["shapedirs"][..., 100 + number], axis=1)
        assert 0.5 * MILLIMETRE < size.max() < 40 * MILLIMETRE, name
        if name.endswith("Left") and name not in ("jawLeft", "mouthLeft"):
            assert (size * (x > 0)).sum() > 1.5 * (size * (x < 0)).sum(), name
        if name.endswith("Right") and name not in ("jawRight", "mouthRight"):
            assert (size * (x < 0)).sum() > 1.5 * (size * (x > 0)).sum(), name


def test_shape_components_are_ordered_standard_deviations(head):
    energy = (head["shapedirs"][..., :100].astype(np.float64) ** 2).sum(axis=(0, 1))
    assert (np.diff(energy) < 1e-6 * energy[0]).all()
    first = np.linalg.norm(head["shapedirs"][..., 0], axis=1)
    assert MILLIMETRE < first.mean() < 10 * MILLIMETRE
    rng = np.random.default_rng(1)
    for _ in range(10):
        vertices, joints = posed(head, shape=rng.normal(0, 1, 100))
        for joint, part in ((LEFT_EYE, "left-eye"), (RIGHT_EYE, "right-eye")):
            ball = vertices[head["parts"] == part]
            distance = np.linalg.norm(ball - joints[joint], axis=1)
            assert np.ptp(distance) < 0.25 * distance.mean()


def test_masks(head):
    count, y = len(head["v_template"]), head["v_template"][:, 1]
    for name in ("mask_lips", "mask_upper_face", "mask_left_eye", "mask_right_eye"):
        mask = head[name]
        assert mask.dtype == np.int32 and len(set(mask.tolist())) == len(mask) > 50
        assert mask.min() >= 0 and mask.max() < count
    lips, upper = set(head["mask_lips"].tolist()), set(head["mask_upper_face"].tolist())
    assert not lips & upper
    assert y[head["mask_upper_face"]].min() > y[head["mask_lips"]].max()
    assert (head["v_template"][head["mask_left_eye"], 0] > 0).all()
    assert (head["v_template"][head["mask_right_eye"], 0] < 0).all()
    for pair in ("lip_inner_upper", "lip_inner_lower"):
        assert set(head[pair].tolist()) <= lips
    motion = np.linalg.norm(head["jaw_open_displacement"], axis=1)
    assert motion[head["mask_lips"]].max() > 0.02 and motion[head["mask_upper_face"]].max() < 0.002
