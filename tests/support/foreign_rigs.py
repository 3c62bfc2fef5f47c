# SPDX-License-Identifier: GPL-3.0-or-later
"""Characters in the naming schemes of other tools, with what each of their shape keys means.

The names are those that the tools document or export, written out here independently of the add-on's tables.
"""

from dataclasses import dataclass, field

import bpy

SIDES = (("Left", "L"), ("Right", "R"))
PAIRED = ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "mouthSmile",
          "mouthFrown", "mouthDimple", "mouthStretch", "mouthPress", "mouthLowerDown", "mouthUpperUp", "browDown",
          "browOuterUp", "cheekSquint", "noseSneer")  # fmt: skip
MIDDLE = ("jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
          "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "browInnerUp",
          "cheekPuff")  # fmt: skip
ARKIT = (*(stem + side for stem in PAIRED for side, _ in SIDES), *MIDDLE)


@dataclass
class Rig:
    """A character to build.

    meshes: mesh name to {shape key: the channel that it means, or None for something else}.
    bones: name to (parent, head, tail) in the armature's space.
    """

    meshes: dict[str, dict[str, str | None]]
    bones: dict[str, tuple[str, tuple, tuple]] = field(default_factory=dict)
    head: str = ""
    neck: str = ""


def _body(hips, neck, head, left_eye="", right_eye="", jaw="", up=2):
    """Bones of a standing body; `up` is the armature's axis that points up (2 is z, 1 is y)."""

    def place(x, forward, height):
        return (x, -forward, height) if up == 2 else (x, height, forward)

    bones = {
        hips: ("", place(0, 0, 0.9), place(0, 0, 1.0)),
        neck: (hips, place(0, 0, 1.5), place(0, 0.03, 1.6)),
        head: (neck, place(0, 0.03, 1.6), place(0, 0.03, 1.8)),
    }
    for name, x in ((left_eye, 0.032), (right_eye, -0.032)):
        if name:
            bones[name] = (head, place(x, 0.1, 1.68), place(x, 0.13, 1.68))
    if jaw:
        bones[jaw] = (head, place(0, 0.05, 1.62), place(0, 0.12, 1.58))
    return bones


def vroid():
    """VRoid Studio with perfect sync: ARKit's names capitalised, beside VRoid's own, several meshes."""
    face = {name[0].upper() + name[1:]: name for name in ARKIT}
    face |= {"TongueOut": None, "Fcl_ALL_Fun": None, "Fcl_BRW_Joy": None, "Fcl_MTH_A": None, "Fcl_MTH_I": None,
             "Fcl_MTH_U": None, "Fcl_MTH_E": None, "Fcl_MTH_O": None, "Fcl_HA_Fung": None}  # fmt: skip
    hair = {"Hair_Long": None}
    bones = _body("J_Bip_C_Hips", "J_Bip_C_Neck", "J_Bip_C_Head", "J_Adj_L_FaceEye", "J_Adj_R_FaceEye")
    return Rig({"Face": face, "Hair": hair}, bones, "J_Bip_C_Head", "J_Bip_C_Neck")


def ready_player_me():
    """Ready Player Me: ARKit's names and Oculus visemes on head and teeth; an armature with y up."""
    head = {name: name for name in ARKIT}
    visemes = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U")
    head |= {f"viseme_{viseme}": None for viseme in visemes} | {"mouthOpen": None, "mouthSmile": None,
                                                                "eyesClosed": None, "tongueOut": None}  # fmt: skip
    teeth = {n: n for n in ARKIT if n.startswith(("jaw", "mouth"))} | {"mouthOpen": None, "mouthSmile": None}
    bones = _body("Hips", "Neck", "Head", "LeftEye", "RightEye", up=1) | {
        "HeadTop_End": ("Head", (0, 1.8, 0.03), (0, 1.85, 0.03))
    }
    return Rig({"Wolf3D_Head": head, "Wolf3D_Teeth": teeth}, bones, "Head", "Neck")


def character_creator():
    """Reallusion's ExPlus profile on body, brows and tongue."""
    own = {"eyeBlink": "Eye_Blink", "eyeSquint": "Eye_Squint", "eyeWide": "Eye_Wide", "mouthSmile": "Mouth_Smile",
           "mouthFrown": "Mouth_Frown", "mouthDimple": "Mouth_Dimple", "mouthStretch": "Mouth_Stretch",
           "mouthPress": "Mouth_Press", "mouthLowerDown": "Mouth_Down_Lower", "mouthUpperUp": "Mouth_Up_Upper",
           "browDown": "Brow_Drop", "browOuterUp": "Brow_Raise_Outer", "cheekSquint": "Cheek_Raise",
           "noseSneer": "Nose_Sneer"}  # fmt: skip
    body = {f"{key}_{letter}": stem + side for stem, key in own.items() for side, letter in SIDES}
    body |= {
        "Eye_L_Look_L": "eyeLookOutLeft", "Eye_L_Look_R": "eyeLookInLeft", "Eye_L_Look_Up": "eyeLookUpLeft",
        "Eye_L_Look_Down": "eyeLookDownLeft", "Eye_R_Look_L": "eyeLookInRight", "Eye_R_Look_R": "eyeLookOutRight",
        "Eye_R_Look_Up": "eyeLookUpRight", "Eye_R_Look_Down": "eyeLookDownRight", "Jaw_Open": "jawOpen",
        "Jaw_Forward": "jawForward", "Jaw_L": "jawLeft", "Jaw_R": "jawRight", "Mouth_Close": "mouthClose",
        "Mouth_L": "mouthLeft", "Mouth_R": "mouthRight", "Mouth_Shrug_Upper": "mouthShrugUpper",
        "Mouth_Shrug_Lower": "mouthShrugLower", "Brow_Raise_Inner_L": "browInnerUp",
        "Brow_Raise_Inner_R": "browInnerUp",
        "Cheek_Puff_L": "cheekPuff", "Cheek_Puff_R": "cheekPuff", "Mouth_Roll_In_Upper_L": "mouthRollUpper",
        "Mouth_Roll_In_Upper_R": "mouthRollUpper", "Mouth_Roll_In_Lower_L": "mouthRollLower",
        "Mouth_Roll_In_Lower_R": "mouthRollLower",
    }  # fmt: skip
    for corner in ("Up_L", "Up_R", "Down_L", "Down_R"):
        body |= {f"Mouth_Pucker_{corner}": "mouthPucker", f"Mouth_Funnel_{corner}": "mouthFunnel"}
    other = ("Brow_Compress_L Brow_Compress_R Nose_Nostril_Raise_L Nose_Nostril_Raise_R Nose_Crease_L Cheek_Suck_L "
             "Mouth_Smile_Sharp_L Mouth_Smile_Sharp_R Mouth_Tighten_L Mouth_Blow_L Mouth_Roll_Out_Upper_L "
             "Mouth_Push_Upper_L Mouth_Pull_Upper_L Mouth_Up Mouth_Down Mouth_Upper_L Mouth_Lower_R Mouth_Drop_Upper "
             "Mouth_Chin_Up Mouth_Contract Jaw_Backward Jaw_Up Jaw_Down Neck_Swallow_Up Head_Turn_Up Head_Turn_L "
             "Head_Tilt_L Eyelash_Upper_Up_L Ear_Up_L V_Open V_Explosive V_Dental_Lip V_Tight_O V_Tight V_Wide "
             "V_Affricate V_Lip_Open V_Tongue_up")  # fmt: skip
    body |= {name: None for name in other.split()}
    brows = {k: v for k, v in body.items() if k.startswith("Brow_")}
    tongue = {"Jaw_Open": "jawOpen", "V_Tongue_up": None, "Tongue_Out": None}
    bones = _body(
        "CC_Base_Hip",
        "CC_Base_NeckTwist01",
        "CC_Base_Head",
        "CC_Base_L_Eye",
        "CC_Base_R_Eye",
        "CC_Base_JawRoot",
    )
    return Rig({"CC_Base_Body": body, "Male_Brow": brows, "CC_Base_Tongue": tongue}, bones, "CC_Base_Head",
               "CC_Base_NeckTwist01")  # fmt: skip


def metahuman():
    """MetaHuman's control curves as shape keys, with the prefix of the exporter's mesh."""
    own = {"eyeBlink": "eyeBlink", "eyeSquint": "eyeSquintInner", "eyeWide": "eyeWiden", "eyeLookUp": "eyeLookUp",
           "eyeLookDown": "eyeLookDown", "mouthSmile": "mouthCornerPull", "mouthFrown": "mouthCornerDepress",
           "mouthDimple": "mouthDimple", "mouthStretch": "mouthStretch", "mouthLowerDown": "mouthLowerLipDepress",
           "mouthUpperUp": "mouthUpperLipRaise", "browDown": "browDown", "browOuterUp": "browRaiseOuter",
           "cheekSquint": "eyeCheekRaise", "noseSneer": "noseWrinkle"}  # fmt: skip
    face = {f"{key}{letter}": stem + side for stem, key in own.items() for side, letter in SIDES}
    face |= {
        "eyeLookLeftL": "eyeLookOutLeft", "eyeLookRightL": "eyeLookInLeft", "eyeLookLeftR": "eyeLookInRight",
        "eyeLookRightR": "eyeLookOutRight", "jawOpen": "jawOpen", "jawFwd": "jawForward", "jawLeft": "jawLeft",
        "jawRight": "jawRight", "mouthLeft": "mouthLeft", "mouthRight": "mouthRight", "browRaiseInL": "browInnerUp",
        "browRaiseInR": "browInnerUp", "mouthCheekBlowL": "cheekPuff", "mouthCheekBlowR": "cheekPuff",
        "jawChinRaiseDL": "mouthShrugLower", "jawChinRaiseDR": "mouthShrugLower", "jawChinRaiseUL": "mouthShrugUpper",
        "jawChinRaiseUR": "mouthShrugUpper", "mouthUpperLipRollInL": "mouthRollUpper",
        "mouthUpperLipRollInR": "mouthRollUpper", "mouthLowerLipRollInL": "mouthRollLower",
        "mouthLowerLipRollInR": "mouthRollLower", "mouthPressUL": "mouthPressLeft", "mouthPressDL": "mouthPressLeft",
        "mouthPressUR": "mouthPressRight", "mouthPressDR": "mouthPressRight",
    }  # fmt: skip
    for corner in ("UL", "UR", "DL", "DR"):
        face |= {f"mouthFunnel{corner}": "mouthFunnel", f"mouthLipsPurse{corner}": "mouthPucker",
                 f"mouthLipsTogether{corner}": "mouthClose", f"mouthLipsTowards{corner}": None}  # fmt: skip
    face |= {name: None for name in ("browLateralL", "browLateralR", "eyeFaceScrunchL", "mouthUp", "mouthDown",
             "mouthSharpCornerPullL", "noseNostrilDilateL", "mouthUpperLipBiteL", "tongueOut")}  # fmt: skip
    prefixed = {f"CTRL_expressions_{name}": channel for name, channel in face.items()}
    bones = _body("pelvis", "neck_01", "head", "FACIAL_L_Eye", "FACIAL_R_Eye", "FACIAL_C_Jaw")
    return Rig({"head_lod0_mesh": prefixed}, bones, "head", "neck_01")


def faceit():
    """Faceit with a user's own prefix and suffix, sides in front, over face, lashes and teeth; no armature."""

    def spelled(name):
        for side, letter in SIDES:
            if name in {stem + side for stem in PAIRED}:
                return f"ANN_{letter}_{name.removesuffix(side)}.v2"
        return f"ANN_{name}.v2"

    face = {spelled(name): name for name in ARKIT} | {"ANN_tongueOut.v2": None, "fixNose": None}
    lashes = {spelled(n): n for n in ARKIT if n.startswith(("eyeBlink", "eyeLook", "eyeWide", "eyeSquint"))}
    return Rig({"Ann Face": face, "Ann Lashes": lashes, "Ann Teeth": {spelled("jawOpen"): "jawOpen"}})


RIGS = {"VRoid": vroid, "Ready Player Me": ready_player_me, "Character Creator": character_creator,
        "MetaHuman": metahuman, "Faceit": faceit}  # fmt: skip


def _sided(**own: str) -> dict[str, str]:
    """{key}: channel for both sides, from stem="Key?" where ? is the side, Left or L alike."""
    found = {}
    for stem, key in own.items():
        for side, letter in SIDES:
            found[key.replace("?", side).replace("!", letter)] = stem + side
    return found


def unified_expressions():
    """VRCFaceTracking's Unified Expressions, the base shapes as its documentation lists them."""
    face = _sided(
        eyeBlink="EyeClosed?", eyeLookDown="EyeLookDown?", eyeLookIn="EyeLookIn?", eyeLookOut="EyeLookOut?",
        eyeLookUp="EyeLookUp?", eyeSquint="EyeSquint?", eyeWide="EyeWide?", mouthSmile="MouthCornerPull?",
        mouthFrown="MouthFrown?", mouthDimple="MouthDimple?", mouthStretch="MouthStretch?", mouthPress="MouthPress?",
        mouthLowerDown="MouthLowerDown?", mouthUpperUp="MouthUpperUp?", browDown="BrowLowerer?",
        browOuterUp="BrowOuterUp?", cheekSquint="CheekSquint?", noseSneer="NoseSneer?",
    )  # fmt: skip
    face |= {"JawOpen": "jawOpen", "JawLeft": "jawLeft", "JawRight": "jawRight", "JawForward": "jawForward",
             "MouthClosed": "mouthClose", "MouthRaiserUpper": "mouthShrugUpper",
             "MouthRaiserLower": "mouthShrugLower"}  # fmt: skip
    for side, _ in SIDES:
        face |= {f"BrowInnerUp{side}": "browInnerUp", f"BrowPinch{side}": f"browDown{side}",
                 f"CheekPuff{side}": "cheekPuff",
                 f"MouthCornerSlant{side}": f"mouthSmile{side}", f"CheekSuck{side}": None,
                 f"MouthTightener{side}": None,
                 f"LipSuckCorner{side}": None, f"MouthUpperDeepen{side}": None,
                 f"NasalDilation{side}": None}  # fmt: skip
        for lip in ("Upper", "Lower"):
            face |= {f"LipSuck{lip}{side}": f"mouthRoll{lip}", f"LipFunnel{lip}{side}": "mouthFunnel",
                     f"LipPucker{lip}{side}": "mouthPucker", f"Mouth{lip}{side}": f"mouth{side}"}  # fmt: skip
    face |= {name: None for name in ("JawBackward", "JawClench", "JawMandibleRaise", "TongueOut", "TongueUp")}
    return Rig({"Body": face})


def daz_genesis_9():
    """Daz Genesis 9's FACS morphs as its exporter names them; it has no eyeWide."""
    single = ("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut",
              "eyeLookUp",
              "eyeSquint", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthSmile", "mouthStretch",
              "mouthUpperUp",
              "noseSneer")  # fmt: skip
    face = _sided(**{stem: f"facs_bs_{stem[0].upper()}{stem[1:]}?" for stem in single})
    face |= {"facs_bs_JawOpen": "jawOpen", "facs_bs_JawForward": "jawForward", "facs_bs_JawLeft": "jawLeft",
             "facs_bs_JawRight": "jawRight", "facs_bs_MouthLeft": "mouthLeft",
             "facs_bs_MouthRight": "mouthRight"}  # fmt: skip
    for side, _ in SIDES:
        face |= {f"facs_bs_BrowInnerUp{side}": "browInnerUp", f"facs_bs_CheekPuff{side}": "cheekPuff",
                 f"facs_bs_JawClench{side}": None}  # fmt: skip
        for lip in ("Upper", "Lower"):
            face |= {f"facs_bs_MouthClose{lip}{side}": "mouthClose", f"facs_bs_MouthFunnel{lip}{side}": "mouthFunnel",
                     f"facs_bs_MouthPurse{lip}{side}": "mouthPucker",
                     f"facs_bs_MouthRoll{lip}{side}": f"mouthRoll{lip}",
                     f"facs_bs_MouthShrug{lip}{side}": f"mouthShrug{lip}",
                     f"facs_bs_MouthPress{lip}{side}": f"mouthPress{side}"}  # fmt: skip
    return Rig({"Genesis9": {f"Genesis9__{key}": channel for key, channel in face.items()}})


def daz_genesis_8():
    """Daz Genesis 8.1: FACS morphs with a suffix, the jaw's without."""
    face = {f"facs_bs_{name[0].upper()}{name[1:]}_div2": name for name in ARKIT if not name.startswith("jaw")}
    face |= {f"facs_jnt_{name[0].upper()}{name[1:]}": name for name in ARKIT if name.startswith("jaw")}
    return Rig({"Genesis8_1Female": {f"Genesis8_1Female__{key}": channel for key, channel in face.items()}})


def faceshift():
    """Faceshift's 48 shapes, which have no mouthClose, mouthPress, and both lips' sides in one."""
    face = _sided(
        eyeBlink="EyeBlink_!", eyeSquint="EyeSquint_!", eyeLookDown="EyeDown_!", eyeLookIn="EyeIn_!",
        eyeLookOut="EyeOut_!",
        eyeLookUp="EyeUp_!", eyeWide="EyeOpen_!", browDown="BrowsD_!", browOuterUp="BrowsU_!",
        mouthFrown="MouthFrown_!",
        mouthSmile="MouthSmile_!", mouthDimple="MouthDimple_!", mouthStretch="LipsStretch_!",
        cheekSquint="CheekSquint_!",
    )  # fmt: skip
    face |= {"BrowsU_C": "browInnerUp", "JawFwd": "jawForward", "JawLeft": "jawLeft", "JawOpen": "jawOpen",
             "JawRight": "jawRight", "MouthLeft": "mouthLeft", "MouthRight": "mouthRight",
             "LipsFunnel": "mouthFunnel",
             "LipsUpperClose": "mouthRollUpper", "LipsLowerClose": "mouthRollLower", "LipsPucker": "mouthPucker",
             "ChinLowerRaise": "mouthShrugLower", "ChinUpperRaise": "mouthShrugUpper", "Puff": "cheekPuff",
             "LipsUpperUp": "mouthUpperUp?", "LipsLowerDown": "mouthLowerDown?", "Sneer": "noseSneer?"}  # fmt: skip
    face |= {name: None for name in ("JawChew", "LipsUpperOpen", "LipsLowerOpen")}
    return Rig({"Head": face})


def fuse():
    """Adobe Fuse's shapes, as far as they are ARKit's."""
    face = _sided(
        eyeBlink="Blink_?", browDown="BrowsDown_?", browOuterUp="BrowsUp_?", eyeWide="EyesWide_?",
        mouthFrown="Frown_?",
        mouthLowerDown="LowerLipDown_?", mouth="Midmouth_?", noseSneer="NoseScrunch_?", mouthSmile="Smile_?",
        eyeSquint="Squint_?", mouthUpperUp="UpperLipUp_?", jaw="Jaw_?",
    )  # fmt: skip
    for side, _ in SIDES:
        face |= {f"CheekPuff_{side}": "cheekPuff", f"MouthNarrow_{side}": "mouthPucker",
                 f"MouthWhistle_NarrowAdjust_{side}": "mouthFunnel", f"BrowsIn_{side}": None,
                 f"BrowsOuterLower_{side}": None, f"JawRotateY_{side}": None, f"JawRotateZ_{side}": None}  # fmt: skip
    face |= {"JawForeward": "jawForward", "MouthOpen": "jawOpen", "LowerLipIn": "mouthRollLower",
             "UpperLipIn": "mouthRollUpper", "JawBackward": None, "Jaw_Down": None, "Jaw_Up": None,
             "LowerLipOut": None,
             "MouthDown": None, "MouthUp": None, "TongueUp": None, "UpperLipOut": None}  # fmt: skip
    return Rig({"Body": face})


def numbered():
    """ARKit's names behind numbers, as some avatar makers order them."""
    face = {f"AK_{n:02d}_{name[0].upper()}{name[1:]}": name for n, name in enumerate(ARKIT, 1)}
    return Rig({"Face": face})


SCHEMES = {"Unified Expressions": unified_expressions, "Daz Genesis 9": daz_genesis_9, "Daz Genesis 8.1": daz_genesis_8,
           "Faceshift": faceshift, "Adobe Fuse": fuse, "numbered": numbered}  # fmt: skip


def meant(rig: Rig) -> set[tuple[str, str, str]]:
    """(channel, mesh, key) of all that a rig's keys mean; "?" in a channel is both sides."""
    return {
        (channel.replace("?", side), mesh, key)
        for mesh, keys in rig.meshes.items()
        for key, channel in keys.items()
        if channel
        for side in (("Left", "Right") if "?" in channel else ("",))
    }


def build(rig: Rig, name: str = "Ann"):
    """Make a character. Returns its armature or the empty that holds its meshes, and the meshes."""
    owner = bpy.data.objects.new(name, bpy.data.armatures.new(name) if rig.bones else None)
    bpy.context.scene.collection.objects.link(owner)
    if rig.bones:
        bpy.context.view_layer.objects.active = owner
        bpy.ops.object.mode_set(mode="EDIT")
        for number, (bone, (parent, head, tail)) in enumerate(rig.bones.items()):
            made = owner.data.edit_bones.new(bone)
            made.head, made.tail, made.roll = head, tail, 0.4 * number  # rolls as importers leave them
            made.parent = owner.data.edit_bones.get(parent)
        bpy.ops.object.mode_set(mode="OBJECT")
    meshes = []
    for mesh_name, keys in rig.meshes.items():
        mesh = bpy.data.meshes.new(mesh_name)
        mesh.from_pydata([(0, 0, 0), (0.1, 0, 0), (0, 0.1, 0)], [], [(0, 1, 2)])
        item = bpy.data.objects.new(mesh_name, mesh)
        bpy.context.scene.collection.objects.link(item)
        item.parent = owner
        if rig.bones:
            item.modifiers.new("Armature", "ARMATURE").object = owner
        item.shape_key_add(name="Basis")
        for number, key in enumerate(keys):
            made = item.shape_key_add(name=key, from_mix=False)
            made.data[number % 3].co.z += 0.001 * (number + 1)
            made.value = 0.0
        meshes.append(item)
    return owner, meshes
