# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion between expression bases: the bundled ARKit head and a FLAME-like head of another person and mesh.

The FLAME-like head was made from the bundled one, so it is known which point is which, and the bounds below are
what was measured, with a margin. They say nothing about FLAME itself.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import lsq_linear
from support import flame_files
from support.paths import BUNDLED_HEAD

from diffposetalk.cli import main
from diffposetalk.convert.flame import convert_flame
from diffposetalk.errors import ModelError, MotionError
from diffposetalk.files.user_folder import user_cache_folder
from diffposetalk.generation.options import GenerationOptions
from diffposetalk.generation.speak import animate
from diffposetalk.head.basis_conversion import CHUNK, Residual, convert
from diffposetalk.head.bounded_least_squares import _coordinate_descent, bounded_least_squares
from diffposetalk.head.correspondence import (
    closest_on_triangles,
    correspond,
    find_correspondence,
    similarity,
)
from diffposetalk.head.head_model import HeadModel, load_head
from diffposetalk.head.jaw_fields import jaw_features, jaw_fields, jaw_slope
from diffposetalk.motion.clip import MotionClip, load_motion
from diffposetalk.networks.checkpoint import load_model

MILLIMETRE = 1e-3


@pytest.fixture(scope="module")
def flame_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flame")
    flame_files.write_npz(folder / "flame.npz")
    convert_flame(folder / "flame.npz", folder / "head.npz")
    (folder / "flame.npz").unlink()
    return folder / "head.npz"


@pytest.fixture(scope="module")
def flame(flame_path: Path) -> HeadModel:
    return load_head(flame_path)


@pytest.fixture(scope="module")
def bundled() -> HeadModel:
    return load_head(BUNDLED_HEAD)


def names() -> list[str]:
    return [str(name) for name in load_head(BUNDLED_HEAD).arrays["expression_names"]]


def arkit_motion(frames: int = 200, gaze: float = 0.0) -> MotionClip:
    """Smooth random motion of all units, left and right mostly together; the jaw between closed and fully open."""
    rng = np.random.default_rng(0)
    exp = np.clip(1.4 * gaussian_filter1d(rng.normal(size=(frames, 50)), 4, axis=0), 0, 1)
    units = names()
    for index, name in enumerate(units):
        if name.startswith("eyeLook"):
            exp[:, index] *= gaze
        elif name.endswith("Left") and name not in ("jawLeft", "mouthLeft"):
            exp[:, units.index(name[:-4] + "Right")] = 0.9 * exp[:, index]
    exp[:, units.index("mouthClose")] = 0
    pose = np.zeros((frames, 6))
    pose[:, :3] = 0.2 * gaussian_filter1d(rng.normal(size=(frames, 3)), 10, axis=0)
    pose[:, 3] = np.clip(0.08 + 0.48 * gaussian_filter1d(rng.normal(size=frames), 3), 0, 0.36)
    return MotionClip(
        exp.astype(np.float32), pose.astype(np.float32), 25.0, "arkit", None, tuple(units), {"seed": 1}
    )


def flame_noise(frames: int = 200, size: float = 3.2) -> MotionClip:
    """Smooth random coefficients, Gaussian in all 50 directions, which no face ever made."""
    rng = np.random.default_rng(5)
    exp = size * gaussian_filter1d(rng.normal(size=(frames, 50)), 4, axis=0)
    pose = np.zeros((frames, 6))
    pose[:, 3] = np.clip(0.06 + 0.4 * gaussian_filter1d(rng.normal(size=frames), 3), 0, 0.36)
    return MotionClip(exp.astype(np.float32), pose.astype(np.float32), 25.0, "flame")


def face_vertices(head: HeadModel, clip: MotionClip) -> np.ndarray:
    pose = torch.from_numpy(clip.pose).clone()
    pose[:, :3] = 0
    with torch.no_grad():
        return head.vertices(torch.from_numpy(clip.exp), pose).numpy()


def round_trip(
    clip: MotionClip, a: HeadModel, b: HeadModel
) -> tuple[MotionClip, MotionClip, dict[str, float]]:
    """There, back again, and what remains: vertices of the face in mm (mean, p95), lip gap in mm (mean, max)."""
    there, residual = convert(clip, a, b)
    back, _ = convert(there, b, a)
    used = np.unique(correspond(a, b).triangles)
    distance = np.linalg.norm(face_vertices(a, clip) - face_vertices(a, back), axis=2)[:, used] / MILLIMETRE
    gap = np.abs(a.lip_gap(clip.exp, clip.pose) - a.lip_gap(back.exp, back.pose)) / MILLIMETRE
    across = np.abs(a.lip_gap(clip.exp, clip.pose) - b.lip_gap(there.exp, there.pose)) / MILLIMETRE
    return (
        there,
        back,
        {
            "residual": residual.mean,
            "residual p95": residual.p95,
            "moved": residual.moved,
            "vertices": float(distance.mean()),
            "vertices p95": float(np.percentile(distance, 95)),
            "lips": float(gap.mean()),
            "lips max": float(gap.max()),
            "lips across": float(across.mean()),
        },
    )


def within(found: dict[str, float], **bounds: float) -> None:
    """Assert every bound in millimetres; the message shows all figures."""
    shown = {name: round(value, 3) for name, value in found.items()}
    for name, bound in bounds.items():
        assert found[name.replace("_", " ")] < bound, (name, shown)


def test_correspondence_finds_the_true_points(bundled: HeadModel, flame: HeadModel) -> None:
    """Where the FLAME-like head's vertices really come from is known."""
    match = find_correspondence(bundled, flame)
    mesh, _ = flame_files._resampled()
    rest = bundled.v_template.numpy().astype(np.float64)
    true = (mesh @ rest)[match.points]
    found = np.einsum("nk,nkc->nc", match.barycentric, rest[match.triangles])
    error = np.linalg.norm(found - true, axis=1) / MILLIMETRE
    assert len(match.points) > 1500 and float(match.distance) < 1 * MILLIMETRE
    assert np.median(error) < 1.8 and np.percentile(error, 90) < 4
    for mask, median in (("mask_lips", 1.0), ("mask_left_eye", 1.7), ("mask_right_eye", 1.7)):
        own = error[np.isin(match.points, flame.arrays[mask])]
        assert len(own) > 100 and np.median(own) < median, mask
    assert abs(float(match.scale) - flame_files.SCALE) < 0.03
    tilt = np.degrees(np.arctan2(match.rotation[2, 1], match.rotation[1, 1]))
    assert abs(tilt - np.degrees(flame_files.TILT)) < 4
    assert np.isclose(match.weights.sum(), 1) and (match.weights >= 0).all()
    lips = np.concatenate([flame.arrays["lip_inner_upper"], flame.arrays["lip_inner_lower"]])
    assert np.isin(lips, match.points).mean() > 0.9, "the rims of the lips are among the points"


@pytest.mark.parametrize("ahead", [-0.05, 0.05])
def test_joints_of_the_body_may_be_elsewhere(ahead: float, bundled: HeadModel, flame: HeadModel) -> None:
    """Where neck and root turn is a matter of taste, so they must not decide how two heads are aligned."""
    regressor = flame.arrays["J_regressor"].copy()
    template = flame.arrays["v_template"]
    for joint in (0, 1):
        place = regressor[joint] @ template + [0, -0.02, ahead]
        regressor[joint] = 0
        regressor[joint, np.linalg.norm(template - place, axis=1).argmin()] = 1
    match = find_correspondence(bundled, HeadModel({**flame.arrays, "J_regressor": regressor}))
    usual = find_correspondence(bundled, flame)
    assert np.abs(match.rotation - usual.rotation).max() < 0.02 and abs(match.scale - usual.scale) < 0.01
    rest = bundled.v_template.numpy()
    places = {}
    for name, found in (("moved", match), ("usual", usual)):
        points = np.einsum("nk,nkc->nc", found.barycentric, rest[found.triangles])
        places[name] = dict(zip(found.points.tolist(), points, strict=True))
    both = sorted(places["moved"].keys() & places["usual"].keys())
    apart = np.linalg.norm([places["moved"][p] - places["usual"][p] for p in both], axis=1)
    assert np.percentile(apart, 95) < 0.5 * MILLIMETRE


def test_a_head_corresponds_to_itself(bundled: HeadModel) -> None:
    match = find_correspondence(bundled, bundled)
    rest = bundled.v_template.numpy().astype(np.float64)
    found = np.einsum("nk,nkc->nc", match.barycentric, rest[match.triangles])
    assert np.abs(found - rest[match.points]).max() < 1e-9
    assert np.abs(match.rotation - np.eye(3)).max() < 1e-9 and abs(match.scale - 1) < 1e-9


def test_a_head_to_itself_is_exact(bundled: HeadModel) -> None:
    clip = arkit_motion()
    same, residual = convert(clip, bundled, load_head(BUNDLED_HEAD))
    assert np.array_equal(same.exp, clip.exp) and np.array_equal(same.pose, clip.pose)
    assert (residual.mean, residual.maximum) == (0, 0)


def test_the_same_head_under_another_name_of_its_basis(bundled: HeadModel) -> None:
    """Nothing but the solver between the two: the bundled head's own units as if they were FLAME's components.

    Unbounded above and below, they must be found again; the ridge alone is in the way.
    """
    arrays = {
        **bundled.arrays,
        "basis": np.array("flame"),
        "eye_look_angles": np.zeros((50, 2, 2), np.float32),
    }
    twin = HeadModel(arrays)
    clip = arkit_motion()
    there, residual = convert(clip, bundled, twin)
    assert residual.mean < 0.05 and residual.p95 < 0.2
    assert np.abs(there.pose[:, 3] - clip.pose[:, 3]).mean() < np.radians(0.2)
    assert np.array_equal(there.pose[:, :3], clip.pose[:, :3])


def test_arkit_to_flame_and_back(bundled: HeadModel, flame: HeadModel) -> None:
    clip = arkit_motion()
    there, back, found = round_trip(clip, bundled, flame)
    assert found["moved"] > 2
    within(found, residual=0.5, residual_p95=1.2, vertices=0.4, vertices_p95=1.1, lips=0.2, lips_max=0.8)
    within(found, lips_across=0.3)
    assert there.basis == "flame" and back.basis == "arkit"
    assert (
        there.expression_names[:2] == ("Exp000", "Exp001") and back.expression_names == clip.expression_names
    )
    assert np.array_equal(there.pose[:, :3], clip.pose[:, :3]), "the head rotation is copied"
    assert (there.pose[:, 4:] == 0).all()
    assert np.abs(there.exp).max() <= 4 and back.exp.min() >= 0 and back.exp.max() <= 1


def test_flame_to_arkit_and_back(bundled: HeadModel, flame: HeadModel) -> None:
    """Faces that ARKit can nearly make: converted ARKit motion with 15 % of noise over all components."""
    clip, _ = convert(arkit_motion(), bundled, flame)
    noise = flame_noise()
    clip = replace(clip, exp=(clip.exp + 0.15 * noise.exp).astype(np.float32))
    _, _, found = round_trip(clip, flame, bundled)
    within(found, residual=0.9, residual_p95=1.9, vertices=0.7, vertices_p95=1.4, lips=0.2, lips_max=0.6)


def test_what_arkit_cannot_show_is_reported(bundled: HeadModel, flame: HeadModel) -> None:
    """Half of noise in all directions lies where ARKit, from 0 to 1, has nothing. The residual must say so."""
    there, residual = convert(flame_noise(), flame, bundled)
    assert residual.mean > 1.5 and residual.maximum > residual.p95 > residual.mean
    used = correspond(flame, bundled)
    wanted = face_vertices(flame, flame_noise()) - flame.v_template.numpy()
    shown = face_vertices(bundled, there) - bundled.v_template.numpy()
    source = (
        np.einsum("nk,tnkc->tnc", used.barycentric, wanted[:, used.triangles]) @ used.rotation.T * used.scale
    )
    miss = np.linalg.norm(source - shown[:, used.points], axis=2) / MILLIMETRE
    assert np.isclose(miss.mean(), residual.mean, rtol=1e-3), (
        "the residual is that of the heads as posed by smplx"
    )
    assert np.isclose(miss.max(), residual.maximum, rtol=1e-2)


@pytest.mark.parametrize(
    ("units", "jaw", "lost"),
    [
        ({"eyeBlinkLeft": 1, "eyeBlinkRight": 1}, 0.0, 0.2),
        ({"mouthSmileLeft": 1, "mouthSmileRight": 1}, 0.1, 0.3),
        ({"mouthFunnel": 1}, 0.2, 0.3),
        # The FLAME-like head's fifty components can say only 0.6 of this one.
        ({"browInnerUp": 1}, 0.0, 0.5),
        ({}, 1.0, 0.2),
        ({}, 0.0, 0.01),
    ],
)
def test_expressions_come_back(
    units: dict[str, float], jaw: float, lost: float, bundled: HeadModel, flame: HeadModel
) -> None:
    clip = arkit_motion(1)
    clip.exp[:], clip.pose[:] = 0, 0
    clip.pose[0, 3] = jaw * bundled.jaw_open_angle
    for name, value in units.items():
        clip.exp[0, names().index(name)] = value
    there, back, _ = round_trip(clip, bundled, flame)
    for name, value in units.items():
        assert abs(back.exp[0, names().index(name)] - value) < lost, name
    others = np.abs(np.delete(back.exp[0], [names().index(name) for name in units]))
    # A fully open jaw takes up to half of units of the lower lip along, to meet it on another person.
    assert others.max() < 0.6 and others.mean() < 0.05, "nothing else moves much"
    assert abs(back.pose[0, 3] - clip.pose[0, 3]) < np.radians(1.5)
    if not units and not jaw:
        assert np.abs(there.exp).max() < 1e-4 and np.abs(there.pose).max() < 1e-5, "rest stays rest"


def test_blinking_eyes_close_on_the_other_head(bundled: HeadModel, flame: HeadModel) -> None:
    """The opening between the lids, seen at the middle of the eye, shrinks to little on both heads."""
    clip = arkit_motion(1)
    clip.exp[:], clip.pose[:] = 0, 0
    for side in ("Left", "Right"):
        clip.exp[0, names().index(f"eyeBlink{side}")] = 1
    there, _ = convert(clip, bundled, flame)
    mesh, _ = flame_files._resampled()
    # The vertices of the bundled head's lids that blinking moves most come down on the other head as far.
    moved = face_vertices(bundled, clip)[0] - bundled.v_template.numpy()
    lid = np.flatnonzero(np.linalg.norm(mesh @ moved, axis=1) > 8 * MILLIMETRE)
    other = face_vertices(flame, there)[0] - flame.v_template.numpy()
    assert len(lid) > 10
    ratio = other[lid, 1].mean() / (flame_files.SCALE * (mesh @ moved)[lid, 1].mean())
    assert 0.85 < ratio < 1.15


def test_gaze(bundled: HeadModel, flame: HeadModel) -> None:
    clip = arkit_motion(60, gaze=1.0)
    there, residual = convert(clip, bundled, flame)
    assert len(residual.lost) == 1 and "gaze" in residual.lost[0]
    assert there.provenance["conversion_lost"] == list(residual.lost)
    back, residual = convert(there, flame, bundled)
    turning = [i for i, name in enumerate(names()) if name.startswith("eyeLook")]
    assert (back.exp[:, turning] == 0).all(), "no gaze is made up from the lids"
    # Between two heads that turn their eyes it is kept.
    other = HeadModel({**bundled.arrays, "v_template": bundled.arrays["v_template"] * np.float32(1.02)})
    there, residual = convert(clip, bundled, other)
    assert residual.lost == ()
    angles = bundled.eye_look_angles.numpy()
    error = np.einsum("te,esk->tsk", there.exp - clip.exp, angles)
    assert np.degrees(np.abs(error)).mean() < 1 and np.degrees(np.abs(error)).max() < 6


def test_jaw_turned_aside_is_reported(bundled: HeadModel, flame: HeadModel) -> None:
    clip = arkit_motion(5)
    clip.pose[:, 4] = 0.05
    _, residual = convert(clip, bundled, flame)
    assert any("aside" in loss for loss in residual.lost)


def test_provenance(bundled: HeadModel, flame: HeadModel) -> None:
    clip = replace(arkit_motion(5), shape=np.ones(100, np.float32))
    there, residual = convert(clip, bundled, flame)
    assert there.provenance["seed"] == 1 and there.provenance["converted_from"] == "arkit"
    assert there.provenance["conversion_residual_mm"]["mean"] == pytest.approx(residual.mean, abs=1e-3)
    json.dumps(there.provenance)
    assert there.shape is None and there.fps == clip.fps


def test_a_clip_of_another_basis_is_refused(bundled: HeadModel, flame: HeadModel) -> None:
    with pytest.raises(MotionError, match="convert motion") as caught:
        convert(arkit_motion(5), flame, bundled)
    assert caught.value.kind == "motion_basis"


def test_frames_do_not_depend_on_one_another(bundled: HeadModel, flame: HeadModel) -> None:
    """So that windows may be converted as they come, and an hour in parts."""
    clip = arkit_motion(CHUNK + 100)
    whole, residual = convert(clip, bundled, flame)
    first = CHUNK - 30
    part, _ = convert(replace(clip, exp=clip.exp[first:], pose=clip.pose[first:]), bundled, flame)
    assert np.abs(whole.exp[first:] - part.exp).max() < 1e-4
    assert residual.mean < residual.p95 < residual.maximum


def test_the_linear_form_is_the_skinning(flame: HeadModel, bundled: HeadModel) -> None:
    points = np.arange(0, 5000, 7)
    for head, clip in ((flame, flame_noise(20)), (bundled, arkit_motion(20))):
        features = jaw_features(clip.exp.astype(np.float64), clip.pose[:, 3].astype(np.float64))
        found = np.einsum("tf,ncf->tnc", features, jaw_fields(head, points))
        expected = face_vertices(head, clip)[:, points] - head.v_template.numpy()[points]
        skin = head.weights.numpy()[points, 3:].sum(axis=1) < 0.01  # eyes turn too, which the form leaves out
        assert np.abs(found - expected)[:, skin].max() < 1e-6


def test_slope_of_the_features() -> None:
    rng = np.random.default_rng(0)
    exp, jaw = rng.normal(size=(4, 50)), rng.uniform(-0.1, 0.5, 4)
    step = 1e-6
    numeric = (jaw_features(exp, jaw + step) - jaw_features(exp, jaw - step)) / (2 * step)
    assert np.abs(jaw_slope(exp, jaw) - numeric).max() < 1e-8


def test_cache(bundled: HeadModel, flame: HeadModel, tmp_path: Path) -> None:
    first = correspond(bundled, flame, cache=tmp_path)
    [file] = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    again = correspond(bundled, flame, cache=tmp_path)
    assert file.stat().st_mtime_ns == stamp and np.array_equal(first.points, again.points)
    whole = file.read_bytes()
    with np.load(file) as kept:
        arrays = {name: kept[name] for name in kept.files}
    np.savez(tmp_path / "far.npz", **{**arrays, "triangles": arrays["triangles"] + 10_000})
    np.savez(tmp_path / "nan.npz", **{**arrays, "weights": arrays["weights"] * np.nan})
    damages = [whole[: len(whole) // 2], *((tmp_path / name).read_bytes() for name in ("far.npz", "nan.npz"))]
    for damaged in damages:
        file.write_bytes(damaged)
        mended = correspond(bundled, flame, cache=tmp_path)
        assert np.array_equal(mended.points, first.points) and file.read_bytes() != damaged
    # Another head, another entry.
    correspond(
        bundled, HeadModel({**flame.arrays, "mask_lips": flame.arrays["mask_lips"][:-1]}), cache=tmp_path
    )
    assert len(list(tmp_path.glob("correspondence-*.npz"))) == 2


def test_without_a_cache(bundled: HeadModel, flame: HeadModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert len(correspond(bundled, flame, cache=tmp_path / "file" / "folder").points) > 1500


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFPOSETALK_CACHE", "/somewhere")
    assert user_cache_folder() == Path("/somewhere")
    monkeypatch.delenv("DIFFPOSETALK_CACHE")
    assert user_cache_folder().name == "diffposetalk"


def test_heads_without_lips_and_masks(bundled: HeadModel, flame: HeadModel) -> None:
    bare = {k: v for k, v in flame.arrays.items() if not k.startswith(("mask_", "lip_", "mouth_"))}
    _, residual = convert(arkit_motion(20), bundled, HeadModel(bare))
    assert residual.mean < 1.0


def test_least_squares_in_a_box() -> None:
    rng = np.random.default_rng(0)
    n = 12
    low, high = np.zeros(n), np.ones(n)
    low[3] = high[3] = 0.25
    high[5], low[7] = np.inf, -np.inf
    j = rng.normal(size=(40, 30, n))
    y = rng.normal(size=(40, 30)) * 3
    a = j.transpose(0, 2, 1) @ j
    b = np.einsum("tmi,tm->ti", j, y)
    x = bounded_least_squares(a, b, low, high, np.zeros((40, n)))
    slow = _coordinate_descent(a, b, low, high, np.clip(np.zeros((40, n)), low, high))
    widened = np.where(low == high, high + 1e-9, high)
    for k in range(40):
        expected = lsq_linear(j[k], y[k], (low, widened), tol=1e-12).x
        assert np.abs(x[k] - expected).max() < 1e-5
        assert np.abs(slow[k] - expected).max() < 1e-5


def test_similarity_and_closest_points() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(20, 3))
    rotation, scale, shift = similarity(points, 1.3 * points @ np.diag([-1.0, -1, 1]) + [1, 2, 3])
    assert np.allclose(rotation, np.diag([-1.0, -1, 1])) and np.isclose(scale, 1.3)
    assert np.allclose(shift, [1, 2, 3])
    triangles, queries = rng.normal(size=(300, 3, 3)), rng.normal(size=(300, 3))
    share = closest_on_triangles(queries, triangles)
    assert np.allclose(share.sum(axis=1), 1) and share.min() >= 0
    found = np.linalg.norm(np.einsum("nk,nkc->nc", share, triangles) - queries, axis=1)
    grid = rng.dirichlet([0.5, 0.5, 0.5], 4000)
    tried = np.linalg.norm(np.einsum("gk,nkc->ngc", grid, triangles) - queries[:, None], axis=2).min(axis=1)
    assert (found <= tried + 1e-12).all() and (tried - found).max() < 0.2


def test_residual_is_readable() -> None:
    assert "0.50 mm mean" in str(Residual(0.5, 1.0, 2.0, 3.0))


def test_convert_motion_on_the_command_line(
    flame_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arkit_motion(30, gaze=1.0).save(tmp_path / "arkit.npz")
    base = ["convert", "motion", str(tmp_path / "arkit.npz"), str(tmp_path / "out.npz")]
    heads = ["--from-head", str(BUNDLED_HEAD), "--to-head", str(flame_path)]
    assert main([*base, *heads]) == 0
    said = capsys.readouterr().out
    assert "mm mean" in said and "arkit to flame" in said and "gaze" in said
    clip = load_motion(tmp_path / "out.npz")
    assert clip.basis == "flame" and clip.provenance["converted_from"] == "arkit"
    # The wrong way round, damaged and missing files: one line, nothing written.
    (tmp_path / "out.npz").unlink()
    (tmp_path / "half.npz").write_bytes(flame_path.read_bytes()[:10_000])
    wrong = [
        ["--from-head", str(flame_path), "--to-head", str(BUNDLED_HEAD)],
        ["--from-head", str(BUNDLED_HEAD), "--to-head", str(tmp_path / "half.npz")],
        ["--from-head", str(BUNDLED_HEAD), "--to-head", str(tmp_path / "none.npz")],
        ["--from-head", str(tmp_path / "arkit.npz"), "--to-head", str(flame_path)],
    ]
    for options in wrong:
        assert main([*base, *options]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "out.npz").exists()


def test_generation_for_another_head(tiny_model: Path, recording: Path, flame_path: Path) -> None:
    model = load_model(tiny_model, "cpu")
    heads = (BUNDLED_HEAD, flame_path)
    windows: list[MotionClip] = []
    _, [clip] = animate(
        model,
        recording,
        GenerationOptions(),
        heads=heads,
        on_window=lambda take, start, window: windows.append(window),
    )
    _, [plain] = animate(model, recording, GenerationOptions((0,)))
    assert clip.basis == "flame" and plain.basis == "arkit" and len(clip) == len(plain)
    assert (
        clip.provenance["converted_from"] == "arkit" and clip.provenance["conversion_residual_mm"]["mean"] > 0
    )
    assert windows and all(window.basis == "flame" for window in windows)
    assert sum(map(len, windows)) == len(clip)
    _, [same] = animate(model, recording, GenerationOptions((0,)), heads=(flame_path, BUNDLED_HEAD))
    assert np.array_equal(same.exp, plain.exp), "no conversion where the target speaks the model's basis"
    with pytest.raises(ModelError, match="own basis"):
        animate(model, recording, GenerationOptions((0,)), heads=(flame_path, flame_path))


def test_generate_for_another_head_on_the_command_line(
    tiny_model: Path, recording: Path, flame_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [
        "generate",
        str(recording),
        "-o",
        str(tmp_path / "o.npz"),
        "--model",
        str(tiny_model),
        "--device",
        "cpu",
    ]
    assert main([*base, "--target-head", str(flame_path), "--model-head", str(BUNDLED_HEAD)]) == 0
    assert "converted from arkit to flame" in capsys.readouterr().err
    assert load_motion(tmp_path / "o.npz").basis == "flame"
    assert main([*base, "--model-head", str(BUNDLED_HEAD)]) == 2
    assert "--target-head" in capsys.readouterr().err
