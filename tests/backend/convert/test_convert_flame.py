# SPDX-License-Identifier: GPL-3.0-or-later
"""FLAME files of every form into head assets: against smplx, and what is refused."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import smplx
import torch
from support import flame_files
from support.paths import BUNDLED_HEAD

from diffposetalk.cli import main
from diffposetalk.convert.face_regions import face_regions
from diffposetalk.convert.flame import convert_flame
from diffposetalk.errors import ModelError, OutputError
from diffposetalk.head.head_model import ROOT, HeadModel, load_head

WRITERS = {
    "2020": flame_files.write_chumpy_pickle,
    "2023": flame_files.write_pickle,
    "npz": flame_files.write_npz,
}


@pytest.fixture(scope="module")
def flame_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flame_files.write_pickle(tmp_path_factory.mktemp("flame") / "flame2023.pkl")


def official(**changes: Any) -> dict[str, Any]:
    """FLAME's arrays with some replaced (None removes one); without displacements, which makes a small file."""
    flat = np.zeros((5023, 3, 400), np.float16)
    arrays = {**flame_files.official_arrays(), "shapedirs": flat, **changes}
    return {name: array for name, array in arrays.items() if array is not None}


def written(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def refusal(source: Path, **options: Any) -> ModelError:
    """The error of a conversion that must fail and leave nothing behind."""
    folder = source.parent
    before = sorted(folder.iterdir())
    with pytest.raises(ModelError) as caught:
        convert_flame(source, folder / "head.npz", **options)
    assert sorted(folder.iterdir()) == before
    return caught.value


def test_the_generated_files_have_the_official_layout() -> None:
    arrays = flame_files.official_arrays()
    assert arrays["v_template"].shape == (5023, 3) and arrays["f"].shape == (9976, 3)
    assert arrays["shapedirs"].shape == (5023, 3, 400) and arrays["posedirs"].shape == (5023, 3, 36)
    assert scipy.sparse.isspmatrix_csc(arrays["J_regressor"]) and arrays["J_regressor"].shape == (5, 5023)
    assert arrays["f"].dtype == arrays["kintree_table"].dtype == np.uint32
    assert arrays["kintree_table"][0].tolist() == [4294967295, 0, 1, 1, 1]
    assert np.unique(arrays["f"]).size == 5023
    assert np.allclose(arrays["weights"].sum(axis=1), 1)
    # Joints move with identity by millimetres, with expressions by hundredths to tenths of one.
    moves = np.einsum("jv,vck->jck", arrays["J_regressor"].toarray(), arrays["shapedirs"])
    assert np.abs(moves[:, :, :3]).max() > 1e-3 and 1e-5 < np.abs(moves[1:3, :, 300:]).max() < 1e-3


def test_the_2020_file_is_what_python_2_and_chumpy_write(tmp_path: Path) -> None:
    path = flame_files.write_chumpy_pickle(tmp_path / "flame.pkl")
    with path.open("rb") as file:
        names = [(op.name, arg) for op, arg, _ in pickletools.genops(file) if op.name in ("PROTO", "GLOBAL")]
    assert ("PROTO", 2) in names
    for needed in ("chumpy.ch Ch", "numpy.core.multiarray _reconstruct", "scipy.sparse.csc csc_matrix"):
        assert ("GLOBAL", needed) in names
    with pytest.raises(ModuleNotFoundError, match="chumpy"):
        pickle.loads(path.read_bytes(), encoding="latin1")


@pytest.fixture(scope="module")
def smplx_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """smplx's own FLAME on the same arrays."""
    folder = tmp_path_factory.mktemp("smplx")
    flame_files.write_pickle(folder / "FLAME_NEUTRAL.pkl")
    flame_files.write_static_embedding(folder / "flame_static_embedding.pkl")
    return smplx.FLAME(str(folder), num_betas=100, num_expression_coeffs=50, batch_size=6)


@pytest.mark.parametrize("form", WRITERS)
def test_geometry_equals_smplx(form: str, tmp_path: Path, smplx_model: Any) -> None:
    suffix = ".npz" if form == "npz" else ".pkl"
    convert_flame(WRITERS[form](tmp_path / f"flame{suffix}"), tmp_path / "head.npz")
    head = load_head(tmp_path / "head.npz")
    torch.manual_seed(0)
    shape, expression = torch.randn(6, 100), torch.randn(6, 50)
    turns = {name: 0.3 * torch.randn(6, 3) for name in ("root", "neck", "jaw", "left", "right")}
    with torch.no_grad():
        expected = smplx_model(
            betas=shape,
            expression=expression,
            global_orient=turns["root"],
            neck_pose=turns["neck"],
            jaw_pose=turns["jaw"],
            leye_pose=turns["left"],
            reye_pose=turns["right"],
        ).vertices
        found = posed(head, shape, expression, torch.cat(list(turns.values()), dim=1))
    assert (found - expected).abs().max() < 1e-5
    # And as motion is shown: head rotation on the neck, or on the root.
    for joint, name in ((1, "neck_pose"), (ROOT, "global_orient")):
        with torch.no_grad():
            pose = torch.cat([turns["neck"], turns["jaw"]], dim=1)
            mine = head.vertices(expression, pose, shape, joint)
            theirs = smplx_model(
                betas=shape, expression=expression, jaw_pose=turns["jaw"], **{name: turns["neck"]}
            ).vertices
        assert (mine - theirs).abs().max() < 1e-5


def posed(head: HeadModel, shape: torch.Tensor, expression: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
    """Vertices with all five joints turned."""
    vertices, _ = smplx.lbs.lbs(
        torch.cat([shape, expression], dim=1),
        pose,
        head.v_template[None],
        head.shapedirs,
        head.posedirs,
        head.J_regressor,
        head.parents,
        head.weights,
    )
    return vertices


def test_all_forms_give_the_same_head(tmp_path: Path) -> None:
    heads = []
    for form, write in WRITERS.items():
        path = tmp_path / ("flame.npz" if form == "npz" else f"flame{form}.pkl")
        convert_flame(write(path), tmp_path / "head.npz")
        heads.append(load_head(tmp_path / "head.npz").arrays)
    for other in heads[1:]:
        for name in set(heads[0]) - {"name"}:
            assert np.array_equal(heads[0][name], other[name]), name


@pytest.mark.parametrize("wrap", ["Select", "MatVecMult"])
def test_chumpy_objects_that_compute_their_value(wrap: str, tmp_path: Path) -> None:
    flame_files.write_chumpy_pickle(tmp_path / "flame.pkl", official(), wrap)
    convert_flame(tmp_path / "flame.pkl", tmp_path / "head.npz")
    template = load_head(tmp_path / "head.npz").v_template.numpy()
    assert np.array_equal(template, flame_files.official_arrays()["v_template"].astype(np.float32))


@pytest.mark.parametrize("wrap", ["subtract", "Unknown"])
def test_chumpy_objects_that_need_chumpy_are_named(wrap: str, tmp_path: Path) -> None:
    error = refusal(flame_files.write_chumpy_pickle(tmp_path / "flame.pkl", official(), wrap))
    assert wrap in error.message


def test_other_containers(tmp_path: Path) -> None:
    """An ordered dictionary, and matrices of NumPy's older kind."""
    content = OrderedDict(
        official(J_regressor=np.asmatrix(flame_files.official_arrays()["J_regressor"].toarray()))
    )
    convert_flame(written(tmp_path / "flame.pkl", content), tmp_path / "head.npz")
    regressor = load_head(tmp_path / "head.npz").J_regressor.numpy()
    assert np.allclose(regressor, flame_files.official_arrays()["J_regressor"].toarray())


def test_npz_with_objects_inside(tmp_path: Path) -> None:
    """What numpy.savez makes of the pickle's dictionary: a sparse matrix pickled into an array."""
    np.savez(tmp_path / "flame.npz", **{name: np.array(value) for name, value in official().items()})
    convert_flame(tmp_path / "flame.npz", tmp_path / "head.npz")
    assert load_head(tmp_path / "head.npz").basis == "flame"


def test_the_asset_holds_what_is_needed(flame_file: Path, tmp_path: Path) -> None:
    summary = convert_flame(flame_file, tmp_path / "head.npz")
    assert (summary.vertices, summary.lips, summary.regions, summary.uv) == (5023, "mesh", "mesh", "cylinder")
    head = load_head(tmp_path / "head.npz")
    arrays = head.arrays
    assert str(arrays["basis"]) == "flame"
    assert [str(n) for n in arrays["expression_names"]] == [f"Exp{i:03d}" for i in range(50)]
    assert [str(n) for n in arrays["joint_names"]] == ["root", "neck", "jaw", "left_eye", "right_eye"]
    official_dirs = flame_files.official_arrays()["shapedirs"].astype(np.float32)
    assert np.array_equal(arrays["shapedirs"][:, :, :100], official_dirs[:, :, :100])
    assert np.array_equal(arrays["shapedirs"][:, :, 100:], official_dirs[:, :, 300:350])
    polygons, uv_polygons = arrays["polygons"], arrays["uv_polygons"]
    assert polygons.shape == uv_polygons.shape == (9976, 4)
    assert (polygons[:, 3] == -1).all() and (uv_polygons[:, 3] == -1).all()
    assert uv_polygons.max() < len(arrays["uv"]) and 0 <= arrays["uv"].min() <= arrays["uv"].max() <= 1
    spans = np.ptp(arrays["uv"][uv_polygons[:, :3], 0], axis=1)
    assert (spans > 0.5).sum() <= 2, "no triangle spans the picture but those around the crown"
    assert arrays["polygon_material"].shape == (9976,)
    assert arrays["polygon_material"].max() < len(arrays["material_names"])
    # The jaw's angle opens the mouth, and lips meet at rest.
    exp = np.zeros((2, 50), np.float32)
    pose = np.zeros((2, 6), np.float32)
    pose[1, 3] = arrays["jaw_open_angle"]
    closed, opened = head.lip_gap(exp, pose)
    assert abs(closed) < 1e-3 and opened > 0.02


def test_landmarks_and_masks(flame_file: Path, tmp_path: Path) -> None:
    masks = flame_files.write_masks(tmp_path / "FLAME_masks.pkl")
    for landmarks in (
        flame_files.write_landmarks(tmp_path / "landmark_embedding.npy"),
        flame_files.write_static_embedding(tmp_path / "flame_static_embedding.pkl"),
    ):
        summary = convert_flame(flame_file, tmp_path / "head.npz", landmarks=landmarks, masks=masks)
        assert (summary.lips, summary.regions) == ("landmarks", "masks")
        arrays = load_head(tmp_path / "head.npz").arrays
        assert np.array_equal(arrays["mask_lips"], flame_files.masks()["lips"])
        template = arrays["v_template"]
        for region, side in (("mask_left_eye", 1), ("mask_right_eye", -1)):
            assert (np.sign(template[arrays[region], 0]) == side).mean() > 0.99
        upper, lower = template[arrays["lip_inner_upper"]], template[arrays["lip_inner_lower"]]
        assert len(upper) == 3 and np.abs(upper - lower).max() < 4e-3
        assert np.ptp(template[arrays["mouth_corners"], 0]) > 0.03


def test_landmarks_that_hold_torch_tensors_too(flame_file: Path, tmp_path: Path) -> None:
    """A widely used landmark file keeps its dynamic landmarks as tensors of PyTorch; they are passed over."""
    content = {**flame_files.landmarks(), "dynamic_lmk_faces_idx": torch.zeros(79, 17, dtype=torch.long)}
    np.save(tmp_path / "landmarks.npy", np.array(content, dtype=object), allow_pickle=True)
    assert (
        convert_flame(flame_file, tmp_path / "h.npz", landmarks=tmp_path / "landmarks.npy").lips
        == "landmarks"
    )


def test_regions_found_on_a_mesh_are_the_known_ones() -> None:
    """On the bundled head, whose regions are known."""
    with np.load(BUNDLED_HEAD) as file:
        head = {name: file[name] for name in file.files}
    kept = np.isin(head["parts"], ["body", "left-eye", "right-eye"])
    number = np.cumsum(kept) - 1
    found = face_regions(
        head["v_template"][kept],
        number[head["f"][kept[head["f"]].all(axis=1)]],
        head["weights"][kept],
        head["J_regressor"] @ head["v_template"],
    )
    back = np.flatnonzero(kept)
    middle = head["v_template"][back[found["lip_inner_upper"]]]
    known = head["v_template"][head["lip_inner_upper"]]
    assert len(middle) >= 5
    assert np.abs(np.interp(middle[:, 0], known[:, 0], known[:, 1]) - middle[:, 1]).max() < 1e-3
    corners = head["v_template"][back[found["mouth_corners"]]]
    assert (
        np.abs(np.abs(corners[:, 0]) - np.abs(head["v_template"][head["mouth_corners"], 0]).mean()).max()
        < 5e-3
    )
    for name in ("mask_lips", "mask_upper_face", "mask_left_eye", "mask_right_eye"):
        mine, theirs = set(back[found[name]]), set(head[name]) & set(back)
        assert len(mine & theirs) > 0.75 * len(theirs), name


def test_a_head_without_lips_says_so(flame_file: Path, tmp_path: Path) -> None:
    convert_flame(flame_file, tmp_path / "head.npz")
    arrays = dict(load_head(tmp_path / "head.npz").arrays)
    del arrays["lip_inner_upper"]
    with pytest.raises(ModelError, match="--landmarks"):
        HeadModel(arrays).lip_gap(np.zeros((1, 50), np.float32), np.zeros((1, 6), np.float32))


def test_texture_coordinates_of_a_file(flame_file: Path, tmp_path: Path) -> None:
    faces = flame_files.official_arrays()["f"].astype(int)[::-1]  # another order than FLAME's
    lines = [f"v {i} 0 0" for i in range(5023)] + [f"vt {i / 5023} 0.5" for i in range(5023)]
    lines += [f"f {a + 1}/{a + 1} {b + 1}/{b + 1} {c + 1}/{c + 1}" for a, b, c in faces]
    (tmp_path / "head.obj").write_text("\n".join(lines))
    assert convert_flame(flame_file, tmp_path / "head.npz", uv=tmp_path / "head.obj").uv == "file"
    arrays = load_head(tmp_path / "head.npz").arrays
    assert np.array_equal(arrays["uv_polygons"], arrays["polygons"])
    assert np.allclose(arrays["uv"][:, 0], np.arange(5023) / 5023)
    (tmp_path / "head.obj").write_text("\n".join(lines[:-1]))
    (tmp_path / "head.npz").unlink()
    (tmp_path / "flame.pkl").write_bytes(flame_file.read_bytes())
    assert "Wavefront" in refusal(tmp_path / "flame.pkl", uv=tmp_path / "head.obj").message
    assert "does not exist" in refusal(tmp_path / "flame.pkl", uv=tmp_path / "no.obj").message


def test_a_gendered_flame_is_fine(tmp_path: Path) -> None:
    arrays = official(v_template=flame_files.official_arrays()["v_template"] * 1.02, gender="female")
    summary = convert_flame(written(tmp_path / "female_model.pkl", arrays), tmp_path / "head.npz")
    assert "female_model" in summary.name


@pytest.mark.parametrize(
    ("vertices", "joints", "name"),
    [(6890, 24, "SMPL"), (10475, 55, "SMPL-X"), (778, 16, "MANO"), (5118, 5, "5,118")],
)
def test_other_body_models_are_named(vertices: int, joints: int, name: str, tmp_path: Path) -> None:
    model = {
        "v_template": np.zeros((vertices, 3)),
        "f": np.zeros((2 * vertices, 3), np.uint32),
        "shapedirs": np.zeros((vertices, 3, 10)),
        "weights": np.zeros((vertices, joints)),
    }
    assert name in refusal(written(tmp_path / "model.pkl", model)).message
    np.savez(tmp_path / "model.npz", **model, part2num=np.array({"hips": 0}))
    assert name in refusal(tmp_path / "model.npz").message


def with_value(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


# What is wrong: the change to FLAME's arrays, and a word of the message.
WRONG: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "no template": (lambda good: {"v_template": None}, "v_template"),
    "no regressor": (lambda good: {"J_regressor": None}, "J_regressor"),
    "not finite": (
        lambda good: {"shapedirs": with_value(good["shapedirs"], (7, 1, 333), np.nan)},
        "not finite",
    ),
    "fewer directions": (lambda good: {"shapedirs": good["shapedirs"][:, :, :150]}, "5023 × 3 × 150"),
    "fewer triangles": (lambda good: {"f": good["f"][:-1]}, "9975 × 3"),
    "a triangle too far": (lambda good: {"f": with_value(good["f"], (3, 1), 5023)}, "triangle"),
    "other joints": (lambda good: {"kintree_table": np.array([[-1, 0, 1, 2, 3], range(5)])}, "joints"),
    "other weights": (lambda good: {"weights": good["weights"] * 2}, "weights"),
    "millimetres": (lambda good: {"v_template": good["v_template"] * 1000}, "metres"),
    "text": (lambda good: {"posedirs": "lbs"}, "posedirs"),
    "an array of objects": (lambda good: {"weights": np.full((5023, 5), None)}, "weights"),
    "complex numbers": (lambda good: {"weights": good["weights"].astype(complex)}, "weights"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays(case: str, tmp_path: Path) -> None:
    change, word = WRONG[case]
    error = refusal(written(tmp_path / "flame.pkl", official(**change(official()))))
    assert word in error.message and "flame.pkl" in error.message and "\n" not in error.message


def test_regressor_with_indices_outside_itself(tmp_path: Path) -> None:
    regressor = flame_files.official_arrays()["J_regressor"].copy()
    regressor.indices[5] = 4_000_000
    assert "J_regressor" in refusal(written(tmp_path / "flame.pkl", official(J_regressor=regressor))).message


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.98, 0.99999])
def test_truncated_files(share: float, tmp_path: Path) -> None:
    data = written(tmp_path / "whole.pkl", official()).read_bytes()
    (tmp_path / "flame.pkl").write_bytes(data[: int(share * len(data))])
    assert refusal(tmp_path / "flame.pkl").kind in ("pickle_damaged", "pickle_refused")
    data = flame_files.write_npz(tmp_path / "whole.npz", official()).read_bytes()
    (tmp_path / "flame.npz").write_bytes(data[: int(share * len(data))])
    assert refusal(tmp_path / "flame.npz").kind in ("flame_format", "pickle_damaged", "pickle_refused")


def test_damaged_archives(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "good.npz", **{k: official()[k] for k in ("v_template", "f", "weights")})
    data = bytearray((tmp_path / "good.npz").read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = data.copy()
        for place in rng.integers(0, len(data), 8):
            damaged[place] ^= 0xFF
        (tmp_path / "flame.npz").write_bytes(damaged)
        refusal(tmp_path / "flame.npz")


def test_an_npz_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)}
    )
    with zipfile.ZipFile(tmp_path / "flame.npz", "w") as archive:
        archive.writestr("v_template.npy", header.getvalue() + bytes(100))
    assert refusal(tmp_path / "flame.npz").kind == "flame_format"


class Canary:
    """Pickles to a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hostile_objects(canary: Path) -> list[Any]:
    touch = f"touch {canary}"
    return [
        Canary(os.system, touch),
        Canary(exec, f"open({str(canary)!r}, 'w')"),
        Canary(eval, f"open({str(canary)!r}, 'w')"),
        Canary(getattr, os, "system"),
        Canary(np.load, str(canary)),
        Canary(np.fromfile, str(canary)),
        Canary(open, str(canary), "w"),
    ]


@pytest.mark.parametrize("number", range(7))
def test_hostile_files_run_nothing(number: int, flame_file: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    hostile = hostile_objects(canary)[number] if number != 3 else Canary(getattr, "x", "upper")
    whole = tmp_path / "flame.pkl"
    template = flame_files.official_arrays()["v_template"]
    for content in (hostile, {"v_template": hostile}, [hostile], {"v_template": template, "extra": hostile}):
        assert refusal(written(whole, content)).kind == "pickle_refused"
    whole.unlink()
    # Inside an array of an archive, and in the optional files.
    np.savez(tmp_path / "flame.npz", v_template=np.array([hostile], dtype=object))
    assert refusal(tmp_path / "flame.npz").kind == "pickle_refused"
    flame = tmp_path / "good.pkl"
    flame.symlink_to(flame_file)
    np.save(tmp_path / "landmarks.npy", np.array({"static_lmk_faces_idx": hostile}, dtype=object))
    assert refusal(flame, landmarks=tmp_path / "landmarks.npy").kind == "pickle_refused"
    written(tmp_path / "masks.pkl", {"lips": hostile})
    assert refusal(flame, masks=tmp_path / "masks.pkl").kind == "pickle_refused"
    assert not canary.exists()


def test_an_array_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    array = np.zeros(3)
    data = pickle.dumps({"v_template": array}, protocol=2).replace(b"K\x03\x85", b"J\x00\xca\x9a\x3b\x85")
    assert data != pickle.dumps({"v_template": array}, protocol=2)
    (tmp_path / "flame.pkl").write_bytes(data)
    assert "v_template" in refusal(tmp_path / "flame.pkl").message


def test_wrong_optional_files(flame_file: Path, tmp_path: Path) -> None:
    flame = tmp_path / "flame.pkl"
    flame.symlink_to(flame_file)
    other = written(tmp_path / "other.pkl", {"lips": np.array([1, 2])})
    assert "landmarks" in refusal(flame, landmarks=other).message
    assert "forehead" in refusal(flame, masks=other).message
    beyond = {name: np.array([9999]) for name in flame_files.masks()}
    assert "vertices" in refusal(flame, masks=written(tmp_path / "masks.pkl", beyond)).message
    assert "does not exist" in refusal(flame, masks=tmp_path / "none.pkl").message
    bad = {**flame_files.landmarks(), "static_lmk_faces_idx": np.full(51, 10_000)}
    assert "triangles" in refusal(flame, landmarks=written(tmp_path / "lm.pkl", bad)).message


def test_a_destination_that_cannot_be_written(flame_file: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        convert_flame(flame_file, tmp_path / "no folder" / "head.npz")
    (tmp_path / "head.npz").mkdir()
    with pytest.raises(OutputError):
        convert_flame(flame_file, tmp_path / "head.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["head.npz"]


def test_command_line(flame_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "flame", str(flame_file), "-o", str(tmp_path / "mine")]) == 0
    assert "5,023 vertices" in capsys.readouterr().out
    assert load_head(tmp_path / "mine.npz").basis == "flame"
    (tmp_path / "text.pkl").write_text("not a pickle")
    for source in ("text.pkl", "missing.pkl"):
        assert main(["convert", "flame", str(tmp_path / source), "-o", str(tmp_path / "no.npz")]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "no.npz").exists()


@pytest.mark.parametrize(
    "name", ["v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table"]
)
def test_head_assets_are_checked_when_read(name: str, tmp_path: Path) -> None:
    arrays = dict(load_head(BUNDLED_HEAD).arrays)
    for wrong in (arrays[name][:-1], np.array("text"), np.full_like(arrays[name], np.nan, dtype=np.float32)):
        if name == "kintree_table" and wrong.dtype.kind == "f":
            continue
        np.savez(tmp_path / "head.npz", **{**arrays, name: wrong})
        with pytest.raises(ModelError):
            load_head(tmp_path / "head.npz")


def test_damaged_head_assets(tmp_path: Path) -> None:
    data = BUNDLED_HEAD.read_bytes()
    for share in (0.0, 0.1, 0.9):
        (tmp_path / "head.npz").write_bytes(data[: int(share * len(data))])
        with pytest.raises(ModelError):
            load_head(tmp_path / "head.npz")
