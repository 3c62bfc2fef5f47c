# SPDX-License-Identifier: GPL-3.0-or-later
"""Characters whose lips can be measured: real lips, teeth and eyes, keyed and boned as other tools do it.

The surface is the bundled head's with another identity and size, so that it has an inside of the mouth, teeth and lips
that lie on each other; what the keys are called and show, and what the bones carry, is each tool's own. Where the lips
are is known from the head's file and not from what the add-on finds.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np

from support.foreign_rigs import ARKIT, SIDES
from support.foreign_rigs import character_creator as character_creator_names
from support.foreign_rigs import metahuman as metahuman_names
from support.paths import ROOT

TOUCH, OPEN = (
    0.15,
    0.5,
)  # shares of a line's 95th percentile of the gap, as the engine counts closures and openings
TOLERANCE = 0.04


@dataclass
class LipRig:
    """A character.

    keys: shape key to what it shows, as amounts of ARKit's channels; an empty one moves nothing.
    bones: what turns: head, neck, jaw, eyes by the roles they have here; none are left out.
    jaw_moves: the part of the jaw's movement that its bone carries on the skin (teeth always follow it).
    """

    keys: dict[str, dict[str, float]]
    bones: dict[str, str] = field(default_factory=dict)
    jaw_moves: float = 1.0
    scale: float = 1.0
    identity: int = 0


def both(stem: str, amount: float) -> dict[str, float]:
    """A channel's two sides alike."""
    return {f"{stem}{side}": amount for side, _ in SIDES}


def _from_names(names: dict[str, str | None], without: tuple[str, ...] = ()) -> dict[str, dict[str, float]]:
    """Keys that each show their share of the channel that they mean."""
    shares: dict[str, int] = {}
    for channel in names.values():
        if channel:
            shares[channel] = shares.get(channel, 0) + 1
    return {
        key: {channel: 1.0 / shares[channel]} if channel else {}
        for key, channel in names.items()
        if channel not in without
    }


VOWELS = {
    "A": {"jawOpen": 0.62, **both("mouthLowerDown", 0.2)},
    "I": {
        "jawOpen": 0.1,
        **both("mouthStretch", 0.5),
        **both("mouthSmile", 0.2),
        **both("mouthUpperUp", 0.2),
    },
    "U": {"jawOpen": 0.12, "mouthPucker": 0.7},
    "E": {"jawOpen": 0.3, **both("mouthStretch", 0.3), **both("mouthLowerDown", 0.2)},
    "O": {"jawOpen": 0.4, "mouthFunnel": 0.5},
}
VISEMES = {
    "sil": {}, "PP": {**both("mouthPress", 0.6), "mouthRollLower": 0.3, "mouthRollUpper": 0.3},
    "FF": {"mouthRollLower": 0.7, "jawOpen": 0.06, **both("mouthUpperUp", 0.4)},
    "TH": {"jawOpen": 0.22, **both("mouthUpperUp", 0.2)}, "DD": {"jawOpen": 0.18, **both("mouthLowerDown", 0.3)},
    "kk": {"jawOpen": 0.25}, "CH": {"jawOpen": 0.1, "mouthFunnel": 0.6},
    "SS": {"jawOpen": 0.05, **both("mouthStretch", 0.5)},
    "nn": {"jawOpen": 0.15, **both("mouthUpperUp", 0.1)}, "RR": {"jawOpen": 0.15, "mouthFunnel": 0.3},
    "aa": VOWELS["A"], "E": VOWELS["E"], "I": VOWELS["I"], "O": VOWELS["O"], "U": VOWELS["U"],
}  # fmt: skip
PRESTON_BLAIR = {
    "AI": VOWELS["A"], "E": VOWELS["E"], "O": VOWELS["O"], "U": VOWELS["U"], "L": {"jawOpen": 0.3}, "rest": {},
    "WQ": {"mouthPucker": 0.9, "jawOpen": 0.04}, "MBP": VISEMES["PP"], "FV": VISEMES["FF"],
    "etc": {"jawOpen": 0.14, **both("mouthStretch", 0.3)},
}  # fmt: skip


def _arkit() -> LipRig:
    return LipRig({name: {name: 1.0} for name in ARKIT}, {"head": "Head", "neck": "Neck"})


def _weak_close() -> LipRig:
    """mouthClose that closes only three quarters of what jawOpen opens, as sculpted by hand."""
    rig = _arkit()
    rig.keys["mouthClose"] = {"mouthClose": 0.75}
    return rig


def _vrm() -> LipRig:
    keys = {f"Fcl_MTH_{name}": shown for name, shown in VOWELS.items()}
    keys |= {"Fcl_EYE_Close_L": {"eyeBlinkLeft": 1.0}, "Fcl_EYE_Close_R": {"eyeBlinkRight": 1.0}}
    return LipRig(keys, {"head": "J_Bip_C_Head", "neck": "J_Bip_C_Neck"}, identity=1)


def _vroid_with_dead_keys() -> LipRig:
    rig = _vrm()
    dead = ("jawOpen", "jawForward", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
            "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "tongueOut",
            "cheekPuff")  # fmt: skip
    rig.keys |= {name: {} for name in dead}
    return rig


def _mmd() -> LipRig:
    names = {"あ": "A", "い": "I", "う": "U", "お": "O"}
    keys = {name: VOWELS[vowel] for name, vowel in names.items()}
    keys |= {"まばたき": both("eyeBlink", 1.0), "笑い": {}, "にこり": {}}
    bones = {"head": "頭", "neck": "首", "left_eye": "目.L", "right_eye": "目.R"}
    return LipRig(keys, bones, scale=12.5, identity=2)


def _vrchat() -> LipRig:
    keys = {f"vrc.v_{name.lower()}": shown for name, shown in VISEMES.items()}
    return LipRig(
        keys | {"vrc.blink_left": {"eyeBlinkLeft": 1.0}}, {"head": "Head", "neck": "Neck"}, identity=3
    )


def _preston_blair() -> LipRig:
    return LipRig(dict(PRESTON_BLAIR), {}, identity=1)


def _metahuman() -> LipRig:
    """MetaHuman's curves where the jaw is a bone."""
    (names,) = metahuman_names().meshes.values()
    keys = _from_names(names, ("jawOpen",))
    return LipRig(keys, {"head": "head", "neck": "neck_01", "jaw": "FACIAL_C_Jaw"})


def _jaw_bone() -> LipRig:
    """A game's character: a jaw bone and blinks, nothing else."""
    keys = {"Blink_L": {"eyeBlinkLeft": 1.0}, "Blink_R": {"eyeBlinkRight": 1.0}}
    return LipRig(keys, {"head": "Bip01 Head", "neck": "Bip01 Neck", "jaw": "Bip01 Jaw"}, identity=2)


def _character_creator() -> LipRig:
    """Character Creator 4: keys move the skin, and the bones of eyes and jaw what is inside."""
    names = character_creator_names().meshes["CC_Base_Body"]
    bones = {"head": "CC_Base_Head", "neck": "CC_Base_NeckTwist01", "jaw": "CC_Base_JawRoot",
             "left_eye": "CC_Base_L_Eye", "right_eye": "CC_Base_R_Eye"}  # fmt: skip
    return LipRig(_from_names(names), bones, jaw_moves=0.0)


LIP_RIGS: dict[str, Callable[[], LipRig]] = {
    "ARKit": _arkit,
    "ARKit, weak mouthClose": _weak_close,
    "VRM vowels": _vrm,
    "VRoid with dead ARKit keys": _vroid_with_dead_keys,
    "MMD, four vowels": _mmd,
    "VRChat visemes": _vrchat,
    "Preston Blair": _preston_blair,
    "MetaHuman with a jaw bone": _metahuman,
    "Jaw bone alone": _jaw_bone,
    "Character Creator 4": _character_creator,
}


@dataclass
class Face:
    """The surface: (V, 3) vertices in Blender's axes, faces, and what ARKit's channels do to them."""

    vertices: np.ndarray
    faces: list[list[int]]
    units: dict[str, np.ndarray]
    jaw_weight: np.ndarray
    inside: np.ndarray  # teeth and tongue
    eyes: dict[str, np.ndarray]
    joints: dict[str, np.ndarray]
    upper: np.ndarray
    lower: np.ndarray


def read_face(identity: int = 0, scale: float = 1.0) -> Face:
    """The bundled head's surface with an identity of its own; number 0 is the head's."""
    data = dict(np.load(ROOT / "flame_assets" / "head" / "head.npz"))
    shape = np.random.default_rng(identity).normal(0, 0.8 * bool(identity), 100)
    rest = data["v_template"] + data["shapedirs"][:, :, :100] @ shape

    def placed(points: np.ndarray) -> np.ndarray:
        return scale * np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)

    names = [str(name) for name in data["expression_names"]]
    units = {name: placed(data["shapedirs"][:, :, 100 + e]) for e, name in enumerate(names)}
    units["jawOpen"] = placed(data["jaw_open_displacement"])
    parts = data["parts"].astype(str)
    joints = placed(data["J_regressor"] @ rest)
    named = dict(zip((str(name) for name in data["joint_names"]), joints, strict=True))
    weights = dict(zip(named, data["weights"].T, strict=True))
    return Face(
        placed(rest),
        [[corner for corner in polygon if corner >= 0] for polygon in data["polygons"].tolist()],
        units,
        weights["jaw"],
        np.array([any(word in part.lower() for word in ("teeth", "tongue", "gum")) for part in parts]),
        {side: weights[side] > 0.5 for side in ("left_eye", "right_eye")},
        named,
        data["lip_inner_upper"],
        data["lip_inner_lower"],
    )


def build_lip_rig(rig: LipRig, name: str = "Ann") -> tuple[bpy.types.Object, Face]:
    """Make the character. Returns its mesh, and its surface."""
    face = read_face(rig.identity, rig.scale)
    data = bpy.data.meshes.new(name)
    data.from_pydata(face.vertices.tolist(), [], face.faces)
    mesh = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(mesh)
    mesh.shape_key_add(name="Basis")
    skin = 1.0 - face.jaw_weight * (rig.jaw_moves if "jaw" in rig.bones else 0.0)
    for key, shown in rig.keys.items():
        made = mesh.shape_key_add(name=key, from_mix=False)
        offset = sum((amount * face.units[c] for c, amount in shown.items()), np.zeros_like(face.vertices))
        if "jaw" in rig.bones:
            offset[face.inside] = 0.0  # the bone carries them
        if "left_eye" in rig.bones and "Look" in "".join(shown):
            offset[face.eyes["left_eye"] | face.eyes["right_eye"]] = 0.0
        made.data.foreach_set("co", (face.vertices + offset).astype(np.float32).ravel())
        made.value = 0.0
    if rig.bones:
        _build_bones(rig, face, mesh, skin)
    return mesh, face


def _build_bones(rig: LipRig, face: Face, mesh: bpy.types.Object, skin: np.ndarray) -> None:
    """An armature of the bones that the character has, and what they carry."""
    armature = bpy.data.objects.new(f"{mesh.name} Rig", bpy.data.armatures.new(f"{mesh.name} Rig"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    unit = 0.1 * rig.scale
    at = {"neck": face.joints["neck"] - (0, 0, unit), "head": face.joints["neck"], "jaw": face.joints["jaw"],
          "left_eye": face.joints["left_eye"], "right_eye": face.joints["right_eye"]}  # fmt: skip
    parents = {"neck": "hips", "head": "neck", "jaw": "head", "left_eye": "head", "right_eye": "head"}
    edit = armature.data.edit_bones
    hips = edit.new("hips")
    hips.head, hips.tail = face.joints["neck"] - (0, 0, 5 * unit), face.joints["neck"] - (0, 0, 4 * unit)
    for number, role in enumerate(role for role in at if role in rig.bones):
        bone = edit.new(rig.bones[role])
        bone.head = at[role]
        bone.tail = at[role] + (
            (0, -0.5 * unit, -0.2 * unit) if role not in ("neck", "head") else (0, 0, unit)
        )
        bone.roll = 0.3 * number
        bone.parent = edit.get(rig.bones.get(parents[role], "hips"))
    bpy.ops.object.mode_set(mode="OBJECT")
    mesh.parent = armature
    mesh.modifiers.new("Armature", "ARMATURE").object = armature
    weights = {"head": np.ones(len(face.vertices))}
    if "jaw" in rig.bones:
        weights["jaw"] = np.where(face.inside, face.jaw_weight, 1.0 - skin)
    for side in ("left_eye", "right_eye"):
        if side in rig.bones:
            weights[side] = face.eyes[side].astype(float)
    others = sum((w for role, w in weights.items() if role != "head"), np.zeros(len(face.vertices)))
    weights["head"] = np.clip(1.0 - others, 0.0, 1.0)
    for role, values in weights.items():
        group = mesh.vertex_groups.new(name=rig.bones[role])
        for weight in np.unique(values[values > 1e-4].round(4)):
            group.add(np.flatnonzero(values.round(4) == weight).tolist(), float(weight), "REPLACE")


MAKE_RIGIFY = """
import os, sys, bpy, addon_utils
bpy.ops.wm.read_factory_settings(use_empty=True)
addon_utils.enable("rigify", default_set=True)
bpy.ops.object.armature_human_metarig_add()
meta = bpy.context.object
if sys.argv[-2] == "modular":
    bpy.ops.object.mode_set(mode="POSE")
    bpy.ops.pose.rigify_upgrade_face()
    bpy.ops.object.mode_set(mode="OBJECT")
bpy.ops.pose.rigify_generate()
rig = next(o for o in bpy.data.objects if o.type == "ARMATURE" and o is not meta)
bpy.data.libraries.write(sys.argv[-1], {rig})
sys.stdout.flush()
os._exit(0)
"""


def load_rigify(path: Path, kind: str = "classic") -> bpy.types.Object:
    """A generated Rigify rig with the classic or the modular face, made in a process of its own.

    Rigify stays registered and hangs at exit.
    """
    made = subprocess.run(
        [sys.executable, "-c", MAKE_RIGIFY, kind, str(path)], capture_output=True, timeout=600
    )
    assert path.is_file(), made.stderr
    with bpy.data.libraries.load(str(path)) as (there, loaded):
        loaded.objects = [name for name in there.objects if name == "rig"]
    (rig,) = loaded.objects
    bpy.context.scene.collection.objects.link(rig)
    return rig


_BELOW = ("DEF-lip.B", "DEF-chin", "DEF-jaw", "DEF-teeth.B", "DEF-tongue")
_ABOVE = (
    "DEF-lip.T",
    "DEF-nose",
    "DEF-cheek",
    "DEF-teeth.T",
    "DEF-spine.006",
    "DEF-forehead",
    "DEF-brow",
    "DEF-lid",
)


def dress_rigify(rig: bpy.types.Object) -> tuple[bpy.types.Object, Face]:
    """A head on a Rigify rig without any shape key: each vertex follows the bones of its half of the face nearby."""
    below = rig.data.bones["DEF-lip.B.L"].head_local
    face = read_face(0, 1.63)
    middle = 0.5 * (face.vertices[face.upper] + face.vertices[face.lower]).mean(axis=0)
    mouth = np.array([0.0, below[1] + 0.004, 0.5 * (below[2] + rig.data.bones["DEF-lip.T.L"].head_local[2])])
    face.vertices += mouth - middle
    data = bpy.data.meshes.new("Rigged Head")
    data.from_pydata(face.vertices.tolist(), [], face.faces)
    mesh = bpy.data.objects.new("Rigged Head", data)
    bpy.context.scene.collection.objects.link(mesh)
    mesh.parent = rig
    mesh.modifiers.new("Armature", "ARMATURE").object = rig
    for names, share in ((_BELOW, face.jaw_weight), (_ABOVE, 1.0 - face.jaw_weight)):
        used = [bone for bone in rig.data.bones if bone.use_deform and bone.name.startswith(names)]
        near = np.stack([_distance(face.vertices, bone) for bone in used]) + 1e-4
        weights = near**-4 / (near**-4).sum(axis=0) * share
        for bone, values in zip(used, weights, strict=True):
            group = mesh.vertex_groups.new(name=bone.name)
            for index in np.flatnonzero(values > 0.01).tolist():
                group.add([index], float(values[index]), "REPLACE")
    return mesh, face


def _distance(points: np.ndarray, bone: bpy.types.Bone) -> np.ndarray:
    """(V,) distances of points from a bone."""
    head, tail = np.array(bone.head_local), np.array(bone.tail_local)
    along = np.clip((points - head) @ (tail - head) / ((tail - head) @ (tail - head)), 0.0, 1.0)
    return np.linalg.norm(points - head - along[:, None] * (tail - head), axis=1)


def evaluated_gap(mesh: bpy.types.Object, face: Face) -> float:
    """Gap of the inner lips of the evaluated mesh at the scene's frame beyond that at rest, in scene units."""
    evaluated = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    vertices = np.empty(3 * len(evaluated.vertices), np.float32)
    evaluated.vertices.foreach_get("co", vertices)
    height = vertices.reshape(-1, 3)[:, 2]
    rest = face.vertices[:, 2]
    return float((height[face.upper] - height[face.lower] - rest[face.upper] + rest[face.lower]).mean())


def played_gaps(mesh: bpy.types.Object, face: Face, first: int, count: int) -> np.ndarray:
    """(T,) gaps of consecutive frames."""
    gaps = []
    for frame in range(first, first + count):
        bpy.context.scene.frame_set(frame)
        gaps.append(evaluated_gap(mesh, face))
    return np.array(gaps)


def hits(gap: np.ndarray, said: dict[str, np.ndarray]) -> dict[str, int]:
    """How many of the closures and openings of `closures.npz` a gap (T,) at 25 frames per second shows."""
    found = {"closed": 0, "open": 0}
    for kind, (start, end) in zip(said["kind"], said["span"], strict=True):
        low, high = next((low, high) for low, high in said["lines"] if low <= start * 25 < high)
        level = np.percentile(gap[low:high], 95)
        first, last = (start - TOLERANCE) * 25, (end + TOLERANCE) * 25
        near = gap[max(0, int(np.ceil(first - 1e-6))) : int(np.floor(last + 1e-6)) + 1]
        found[str(kind)] += int(near.min() < TOUCH * level if kind == "closed" else near.max() > OPEN * level)
    return found
