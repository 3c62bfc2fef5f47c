# SPDX-License-Identifier: GPL-3.0-or-later
"""Lips of other people's characters, looked at on the evaluated mesh: that they close, open and never cross."""

from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from support.lip_rigs import LIP_RIGS, build_lip_rig, dress_rigify, hits, load_rigify, played_gaps, read_face

FIXTURE = Path(__file__).parents[2] / "fixtures" / "closures.npz"
MOUTH_MM = 1.5e-3  # how far lips may be pressed into each other, in metres on a head of human size


@pytest.fixture(scope="session")
def said():
    """Lines that the bundled model spoke, and where lips close and open in them."""
    return dict(np.load(FIXTURE))


@pytest.fixture(scope="session")
def spoken(part, said):
    """Those lines as motion, with the jaw down at closures as the model leaves it in wide styles."""
    exp, pose = said["exp"].astype(np.float32), said["pose"].astype(np.float32)
    names = list(part("data.arkit").EXPRESSION_NAMES)
    angle = part("data.bundled").bundled_jaw_open_angle()
    at = np.arange(len(exp))
    for kind, (start, end) in zip(said["kind"], said["span"], strict=True):
        if kind == "closed":
            bump = 0.2 * np.exp(-0.5 * ((at - 12.5 * (start + end)) / 2.0) ** 2)
            room = np.minimum(bump, 1.0 - exp[:, names.index("mouthClose")])
            exp[:, names.index("mouthClose")] += room
            pose[:, 3] += 1.04 * angle * room
    return part("data.motion").Motion(exp, pose[:, :3], pose[:, 3:], 25.0, "arkit", (), {"synthetic": True})


@pytest.fixture
def speak(part):
    """Function that keys motion on a mesh's character, the head still."""
    keying, targets, bundled = part("takes.keying"), part("faces.targets"), part("data.bundled")

    def speak(mesh, motion):
        (target,) = targets.find_targets([mesh], bundled.bundled_jaw_open_angle())
        take = keying.Take(motion, "line · take 1 (seed 0)")
        keying.key_takes([keying.Assignment((target,), (take,), 1)], strength=0.0)
        return target

    return speak


@pytest.mark.parametrize("name", LIP_RIGS)
def test_lips_close_and_open_on_the_mesh(speak, said, spoken, name, record_property):
    rig = LIP_RIGS[name]()
    mesh, face = build_lip_rig(rig)
    speak(mesh, spoken)
    gaps = played_gaps(mesh, face, 1, len(spoken.exp))
    found = hits(gaps, said)
    record_property("hits", found)
    print(
        name,
        found,
        "deepest mm",
        1e3 * gaps.min() / rig.scale,
        "95th mm",
        1e3 * np.percentile(gaps, 95) / rig.scale,
    )
    assert found["closed"] >= 17 and found["open"] >= 17, found
    assert gaps.min() > -MOUTH_MM * rig.scale


@pytest.mark.parametrize("name", ["ARKit", "Jaw bone alone"])
def test_the_gap_does_not_depend_on_where_the_head_looks(part, speak, spoken, name):
    """On a character that lies on its side, a hundredth of its size, with a subdivided face."""
    mesh, _ = build_lip_rig(LIP_RIGS[name]())
    rig = mesh.parent
    rig.matrix_world = Matrix.Rotation(1.0, 4, "Z") @ Matrix.Rotation(1.5, 4, "X") @ Matrix.Scale(0.01, 4)
    mesh.modifiers.new("Smooth", "SUBSURF").levels = 1
    target = speak(mesh, spoken)
    lips = part("faces.character").lips_of(target.character, target.jaw_open_angle)
    head = rig.pose.bones[target.character.bones.head]
    head.rotation_mode = "XYZ"
    bpy.context.scene.frame_set(10)
    gap = part("faces.lips").shown_gap(lips, rig, head.name)
    assert 0.02e-3 < gap < 0.2e-3
    head.rotation_euler = (0.5, 0.3, 0.2)
    bpy.context.view_layer.update()
    assert part("faces.lips").shown_gap(lips, rig, head.name) == pytest.approx(gap, rel=1e-3)


@pytest.mark.parametrize("kind", ["classic", "modular"])
def test_rigifys_lips_close_and_open(part, speak, said, spoken, tmp_path, kind):
    """Half of the lines, as each frame of such a rig takes a while."""
    rig = load_rigify(tmp_path / "rigify.blend", kind)
    mesh, face = dress_rigify(rig)
    detected = part("faces.character").find_character(rig)
    bpy.context.view_layer.objects.active = rig
    assert bpy.ops.diffposetalk.mapping_preset(preset="RIGIFY") == {"FINISHED"}
    preset = part("faces.character").find_character(rig)
    moved = [[(row.source, row.target, row.channel) for row in found.rows] for found in (preset, detected)]
    assert moved[0] == moved[1] and preset.bones.jaw_by == detected.bones.jaw_by == "BONE"
    end = int(said["lines"][2, 1])
    half = part("data.motion").Motion(
        spoken.exp[:end], spoken.head[:end], spoken.jaw[:end], 25.0, "arkit", (), {"synthetic": True}
    )
    speak(rig, half)
    gaps = played_gaps(mesh, face, 1, end)
    here = said["span"][:, 0] * 25 < end
    found = hits(gaps, {**said, "kind": said["kind"][here], "span": said["span"][here]})
    print(kind, found, "deepest mm", 1e3 * gaps.min() / 1.63, "95th mm", 1e3 * np.percentile(gaps, 95) / 1.63)
    counts = {kind: int((said["kind"][here] == kind).sum()) for kind in ("closed", "open")}
    assert found["closed"] == counts["closed"] and found["open"] >= counts["open"] - 1, (found, counts)
    assert gaps.min() > -MOUTH_MM * 1.63


@pytest.mark.parametrize("name", ["our own head", "ARKit", "MetaHuman with a jaw bone", "VRChat visemes"])
def test_no_slider_lets_lips_cross(api, part, speak, spoken, name):
    """Every slider of Adjust Take at both of its ends, on the evaluated mesh."""
    adjustment = part("data.adjustment")
    if name == "our own head":
        (mesh, _), face = api.add_head(), read_face()
    else:
        mesh, face = build_lip_rig(LIP_RIGS[name]())
    properties = bpy.types.Action.bl_rna.properties["diffposetalk"].fixed_type.properties
    short = part("data.motion").Motion(
        spoken.exp[:80], spoken.head[:80], spoken.jaw[:80], 25.0, "arkit", (), {"synthetic": True}
    )
    for slider in adjustment.NAMES:
        for value in (properties[slider].hard_min, properties[slider].hard_max):
            change = adjustment.Adjustment(**{slider: value})
            speak(mesh, adjustment.adjusted(short, change))
            gaps = played_gaps(mesh, face, 1, len(short.exp))
            assert gaps.min() > -MOUTH_MM, (slider, value, 1e3 * gaps.min())
            assert slider == "mouth" or gaps.max() > 2 * MOUTH_MM, (slider, value)
