# SPDX-License-Identifier: GPL-3.0-or-later
"""Styles: which four seconds, figures, mixtures, files, the library, and what a caller can ask for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.live_link_files import performance, write_table
from support.paths import BUNDLED_HEAD
from support.read_only_disk import disk_at
from support.style_clips import talking
from support.tiny_model import tiny_config

from diffposetalk.errors import MotionError, StyleError
from diffposetalk.head.head_model import load_head
from diffposetalk.motion.clip import MotionClip, load_motion, resample
from diffposetalk.motion.formats import read_motion
from diffposetalk.motion.style_measures import StyleMeasures, mixed_measures
from diffposetalk.networks.checkpoint import load_model, save_model
from diffposetalk.networks.model import DiffPoseTalk, StylePreset
from diffposetalk.styles import library, read_style, resolve_style, style_name
from diffposetalk.styles.creation import style_from_motion, unbroken
from diffposetalk.styles.description import measure_style
from diffposetalk.styles.illustration import illustrate
from diffposetalk.styles.mixing import mix_styles
from diffposetalk.styles.pictures import PLOT_HEIGHT, PLOT_WIDTH, reference_plot, thumbnail_strip
from diffposetalk.styles.style_file import (
    SUFFIX,
    Style,
    load_style,
    mixture,
    save_style,
    style_of_preset,
    style_space,
    vector_for,
)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> DiffPoseTalk:
    return load_model(tiny_model, "cpu")


def another(seed: int, **changes: object) -> DiffPoseTalk:
    """A model of other random weights."""
    torch.manual_seed(seed)
    made = DiffPoseTalk(replace(tiny_config(), name=f"other {seed}", **changes))  # type: ignore[arg-type]
    for name, buffer in made.normalizer.named_buffers():
        buffer.copy_(torch.ones_like(buffer) * (0.1 if name.endswith("std") else 0.0))
    return made.eval()


# Which four seconds ------------------------------------------------------------------------------


def test_the_window_read_has_speech(model: DiffPoseTalk) -> None:
    reading = read_style(model, talking(20, silent_from=6))
    [start] = reading.starts
    assert reading.frames == 100 and start + 100 <= 6 * 25 + 40 and not reading.notes
    assert reading.motion.shape == (1, 100, 54) and reading.vector.shape == (16,)


def test_the_window_read_is_closest_to_the_mean(model: DiffPoseTalk) -> None:
    clip = talking(24)
    clip.pose[:120, 1] = 0.6  # turned away in the beginning, which is not how the rest is
    reading = read_style(model, clip)
    mean = read_style(model, clip, "mean")
    assert reading.starts[0] >= 100 and len(mean.starts) > 50
    others = [read_style(model, clip, s).vector for s in range(0, 480, 40)]
    nearest = min(float((v - mean.vector).norm()) for v in others)
    assert float((reading.vector - mean.vector).norm()) <= nearest + 1e-5


def test_a_chosen_window(model: DiffPoseTalk) -> None:
    reading = read_style(model, talking(10), 33)
    assert reading.starts == (33,)
    for start in (-1, 151, 10_000):
        with pytest.raises(StyleError) as caught:
            read_style(model, talking(10), start)
        assert caught.value.kind == "style_range"


def test_short_references_are_read_whole_and_said_so(model: DiffPoseTalk) -> None:
    reading = read_style(model, talking(2.4))
    assert reading.frames == 60 and "short: 2.4 s" in reading.notes[0]
    with pytest.raises(StyleError) as caught:
        read_style(model, talking(0.8))
    assert caught.value.kind == "style_short"


def test_a_mouth_that_hardly_moves_is_said(model: DiffPoseTalk) -> None:
    assert "hardly moves" in read_style(model, talking(8, mouth=0.0)).notes[0]


def test_nothing_is_read_where_the_face_was_not_seen(model: DiffPoseTalk) -> None:
    clip = talking(20)
    clip.provenance["unseen"] = [[3.0, 7.0], [12.5, 13.0]]
    seen = np.ones(500, bool)
    seen[75:175] = seen[312:325] = False
    for start in read_style(model, clip, "mean").starts:
        assert seen[start : start + 100].all()
    with pytest.raises(StyleError) as caught:
        read_style(model, clip, 60)
    assert caught.value.kind == "style_range"
    assert [len(piece) for piece in unbroken(clip)] == [75, 137, 175]
    clip.provenance["unseen"] = [[1.0, 19.5]]
    assert read_style(model, clip).frames == 25
    clip.provenance["unseen"] = [[0.5, 19.5]]
    with pytest.raises(StyleError):
        read_style(model, clip)
    for broken in ("text", [3], [[1, "x"]], [None]):
        clip.provenance["unseen"] = broken
        assert read_style(model, clip).frames == 100


def test_other_frame_rates_and_shapes_of_models(model: DiffPoseTalk) -> None:
    fast = resample(talking(8), 60.0)
    assert read_style(model, fast).frames == 100
    flame = replace(talking(8), basis="flame", expression_names=())
    with pytest.raises(StyleError) as caught:
        read_style(model, flame)
    assert caught.value.kind == "style_basis"


# Figures ------------------------------------------------------------------------------------------


def test_figures_are_of_what_was_done() -> None:
    head = load_head(BUNDLED_HEAD)
    quiet = measure_style([talking(12, head=0.04, tempo=0.5, blink_every=3)], head)
    more = measure_style([talking(12, mouth=0.3, head=0.08, tempo=1.0, blink_every=1.5, brows=0.4)], head)
    assert more.head_amplitude == pytest.approx(2 * quiet.head_amplitude, rel=0.02)
    assert quiet.head_amplitude == pytest.approx(np.degrees(0.04 / np.sqrt(2 * 3)), rel=0.02)
    assert quiet.head_tempo == pytest.approx(0.5, rel=0.05) and more.head_tempo == pytest.approx(
        1.0, rel=0.05
    )
    assert quiet.blinks == pytest.approx(20) and more.blinks == pytest.approx(40)
    assert more.mouth_opening > 1.3 * quiet.mouth_opening > 5
    assert more.lip_activity > 1.3 * quiet.lip_activity
    assert more.brow_activity == pytest.approx(2 * quiet.brow_activity, rel=0.01)
    assert quiet.seconds == 12
    halves = [
        replace(talking(12), exp=talking(12).exp[a:b], pose=talking(12).pose[a:b])
        for a, b in ((0, 150), (150, 300))
    ]
    assert measure_style(halves, head).head_amplitude == pytest.approx(
        measure_style([talking(12)], head).head_amplitude, rel=0.02
    )
    still = measure_style([talking(6, head=0.0)], head)
    assert still.head_tempo == 0 and "Hz" not in str(still) and "mm" in str(still)


def test_figures_survive_their_file() -> None:
    figures = measure_style([talking(6)], load_head(BUNDLED_HEAD))
    again = StyleMeasures.from_dict(json.loads(json.dumps(figures.to_dict())))
    assert again is not None and again.blinks == pytest.approx(figures.blinks, abs=1e-3)
    assert StyleMeasures.from_dict({}) is None and StyleMeasures.from_dict("x") is None
    assert StyleMeasures.from_dict(figures.to_dict() | {"mouth_opening": None}) is None
    flame = replace(figures, blinks=None, brow_activity=None)
    assert StyleMeasures.from_dict(flame.to_dict()) == StyleMeasures.from_dict(flame.to_dict())
    assert mixed_measures([figures, None], [0.5, 0.5]) is None
    half = mixed_measures([figures, replace(figures, head_amplitude=0.0)], [0.25, 0.75])
    assert half is not None and half.head_amplitude == pytest.approx(figures.head_amplitude / 4)


# Mixtures -----------------------------------------------------------------------------------------


def test_mixtures_go_from_one_to_the_other_at_the_same_length() -> None:
    a, b = torch.randn(128, generator=torch.manual_seed(1)), torch.randn(128, generator=torch.manual_seed(2))
    assert torch.allclose(mix_styles([a, b], [1, 0]), a) and torch.allclose(mix_styles([a, b], [0, 2]), b)
    along = [float(mix_styles([a, b], [1 - t, t]) @ (b - a)) for t in np.linspace(0, 1, 11)]
    assert along == sorted(along)
    length = [float(mix_styles([a, b], [1 - t, t]).norm()) for t in np.linspace(0, 1, 11)]
    assert length == pytest.approx(np.linspace(float(a.norm()), float(b.norm()), 11).tolist(), rel=1e-4)
    assert float(mix_styles([a, -a], [0.5, 0.5]).norm()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("amounts", [[1.0], [-1, 2], [0, 0], [float("nan"), 1]])
def test_amounts_that_cannot_be(amounts: list[float]) -> None:
    with pytest.raises(StyleError):
        mix_styles([torch.ones(3), torch.ones(3)], amounts)


# Files --------------------------------------------------------------------------------------------


def made(model: DiffPoseTalk, name: str = "Anna", **settings: object) -> Style:
    return style_from_motion(model, talking(9), name, head=load_head(BUNDLED_HEAD), **settings)[0]  # type: ignore[arg-type]


def test_a_style_survives_its_file(model: DiffPoseTalk, tmp_path: Path) -> None:
    style = made(model, description="Wie Anna spricht", source={"kind": "motion", "file": "a.npz"})
    path = save_style(tmp_path / "Anna ü", style)
    assert path.name == "Anna ü.dptstyle"
    again = load_style(path)
    assert again.name == "Anna ü" and again.description == "Wie Anna spricht"
    assert torch.equal(again.vector, style.vector) and again.space == style_space(model)
    assert again.measures == StyleMeasures.from_dict(style.measures.to_dict() if style.measures else {})
    assert (
        again.measured == "reference" and again.source["windows_from_s"] and again.source["file"] == "a.npz"
    )
    assert again.thumbnail.startswith(b"\x89PNG\r\n\x1a\n") and again.thumbnail == style.thumbnail
    assert path.stat().st_size < 200_000
    assert torch.equal(vector_for(model, again), style.vector)


def test_a_style_of_another_encoder_is_read_anew_or_refused(model: DiffPoseTalk, tmp_path: Path) -> None:
    other = another(5)
    style = load_style(save_style(tmp_path / "x", made(model)))
    vector = vector_for(other, style)
    assert not torch.allclose(vector, style.vector)
    assert torch.allclose(
        vector, read_style(other, talking(9), int(style.source["windows_from_s"][0] * 25)).vector, atol=1e-4
    )
    bare = replace(style, parts=())
    with pytest.raises(StyleError) as caught:
        vector_for(other, bare)
    assert caught.value.kind == "style_model" and "tiny" in caught.value.message
    with pytest.raises(StyleError) as caught:
        vector_for(another(5, basis="flame", coefficient_range=None), style)
    assert caught.value.kind == "style_basis"


def test_a_further_trained_denoiser_keeps_its_styles(model: DiffPoseTalk) -> None:
    student = another(5)
    student.style_encoder.load_state_dict(model.style_encoder.state_dict())
    assert style_space(student) == style_space(model) != style_space(another(5))
    student.normalizer.motion_mean += 0.01
    assert style_space(student) != style_space(model)


def test_a_mixture_is_kept_and_read_anew(model: DiffPoseTalk, tmp_path: Path) -> None:
    anna, calm = made(model), style_of_preset(model, "calm")
    style = mixture(model, "Both", [anna, calm], [3.0, 1.0])
    assert style.source["of"] == [{"style": "Anna", "amount": 0.75}, {"style": "Calm", "amount": 0.25}]
    again = load_style(save_style(tmp_path / "Both", style))
    assert torch.allclose(again.vector, mix_styles([anna.vector, calm.vector], [0.75, 0.25]))
    assert [p.preset for p in again.parts] == ["", "calm"]
    other = another(5)
    with pytest.raises(StyleError) as caught:
        vector_for(other, again)
    assert caught.value.kind == "style_model"
    other.styles = {"calm": StylePreset("Calm", "", torch.ones(16))}
    expected = mix_styles([vector_for(other, anna), torch.ones(16)], [0.75, 0.25])
    assert torch.allclose(vector_for(other, again), expected, atol=1e-4)
    assert not mixture(model, "Three", [style, anna], [0.5, 0.5]).parts


def test_damaged_style_files_are_refused(model: DiffPoseTalk, tmp_path: Path) -> None:
    path = save_style(tmp_path / "x", made(model))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for content in (b"", b"text", whole[:100], whole[: len(whole) // 2], whole[200:]):
        path.write_bytes(content)
        with pytest.raises(StyleError):
            load_style(path)
    for _ in range(40):
        broken = bytearray(whole)
        broken[int(rng.integers(len(whole)))] ^= 0xFF
        path.write_bytes(broken)
        try:
            load_style(path)
        except StyleError as error:
            assert error.kind == "style_format"
    with pytest.raises(StyleError) as caught:
        load_style(tmp_path / "nothing.dptstyle")
    assert caught.value.kind == "style_missing"


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"version": 99},
        {"parts": [{"amount": float("nan"), "preset": "", "windows": [0, 1]}]},
        {"parts": [{"amount": 1, "preset": "", "windows": [0, 9]}]},
        {"parts": [{"amount": 1, "preset": "", "windows": [1, 1]}]},
        {"parts": 3},
        {"notes": None},
        {"measures": 7, "source": 1, "parts": []},
    ],
)
def test_style_files_that_say_impossible_things(model: DiffPoseTalk, tmp_path: Path, changes: dict) -> None:
    path = save_style(tmp_path / "x", made(model))
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays["meta"])) | changes
    with path.open("wb") as file:
        np.savez(file, **(arrays | {"meta": np.array(json.dumps(meta))}))
    if "source" in changes:  # what only describes is left out
        assert load_style(path).measures is None
        return
    with pytest.raises(StyleError) as caught:
        load_style(path)
    assert caught.value.kind == "style_format"


# The library --------------------------------------------------------------------------------------


def test_the_library_keeps_renames_copies_and_removes(model: DiffPoseTalk, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "deep" / "styles", tmp_path / "usb stick"
    assert library.list_styles(folder) == []
    style = made(model)
    path = library.add_style(folder, style)
    with pytest.raises(StyleError) as caught:
        library.add_style(folder, replace(style, name="ANNA"))
    assert caught.value.kind == "style_exists"
    assert library.add_style(folder, replace(style, description="new"), replace=True) == path
    assert library.find_style(folder, "aNNa") == path
    library.rename_style(folder, "anna", "Änne")
    elsewhere.mkdir()
    copy = library.export_style(folder, "Änne", elsewhere)
    assert copy == elsewhere / "Änne.dptstyle"
    assert library.import_style(folder, copy).stem == "Änne 2"
    assert [e.name for e in library.list_styles(folder)] == ["Änne 2", "Änne"] or [
        e.name for e in library.list_styles(folder)
    ] == ["Änne", "Änne 2"]
    with pytest.raises(StyleError):
        library.rename_style(folder, "Änne 2", "Änne")
    library.rename_style(folder, "Änne 2", "ÄNNE 2")
    library.delete_style(folder, "Änne")
    assert [e.style.description for e in library.list_styles(folder) if e.style] == ["new"]
    for function in (library.find_style, library.delete_style):
        with pytest.raises(StyleError) as caught:
            function(folder, "nobody")
        assert caught.value.kind == "style_missing"


def test_a_damaged_file_does_not_hide_the_others(model: DiffPoseTalk, tmp_path: Path) -> None:
    library.add_style(tmp_path, made(model))
    (tmp_path / f"Bad{SUFFIX}").write_bytes(b"PK\x03\x04 something")
    (tmp_path / "notes.txt").write_text("no style")
    (tmp_path / f".part-1{SUFFIX}").write_bytes(b"left over")
    good, bad = library.list_styles(tmp_path)
    assert good.style is not None and bad.style is None and "Bad.dptstyle" in bad.problem
    with pytest.raises(StyleError):
        library.import_style(tmp_path, tmp_path / "notes.txt")
    assert (tmp_path / f"Bad{SUFFIX}").read_bytes() == b"PK\x03\x04 something"


def test_a_library_that_cannot_be_used(model: DiffPoseTalk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(StyleError) as caught:
            library.add_style(folder, made(model))
        assert caught.value.kind == "style_library" and "annot be" in caught.value.message
    with pytest.raises(StyleError):
        library.list_styles(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_folder_that_becomes_read_only_loses_nothing(
    model: DiffPoseTalk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add_style(tmp_path, made(model))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("rename", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    for call in (
        lambda: library.rename_style(tmp_path, "Anna", "Berta"),
        lambda: library.delete_style(tmp_path, "Anna"),
        lambda: library.add_style(tmp_path, made(model, "Berta")),
        lambda: library.import_style(tmp_path, tmp_path / f"Anna{SUFFIX}"),
    ):
        with pytest.raises(StyleError) as caught:
            call()
        assert "Permission denied" in caught.value.message
    monkeypatch.undo()
    assert [e.name for e in library.list_styles(tmp_path)] == ["Anna"]


def test_a_disk_that_is_read_only_can_still_be_read_from(model: DiffPoseTalk, tmp_path: Path) -> None:
    folder = tmp_path / "styles"
    folder.mkdir()
    with disk_at(folder) as make_read_only:
        library.add_style(folder, made(model))
        loose = library.export_style(folder, "Anna", tmp_path / "Berta")
        make_read_only()
        for call in (
            lambda: library.rename_style(folder, "Anna", "Berta"),
            lambda: library.delete_style(folder, "Anna"),
            lambda: library.add_style(folder, made(model, "Berta")),
            lambda: library.add_style(folder, made(model), replace=True),
            lambda: library.import_style(folder, loose),
        ):
            with pytest.raises(StyleError, match="Read-only file system"):
                call()
        assert [e.name for e in library.list_styles(folder)] == ["Anna"]
        vector = resolve_style(model, {"file": str(library.find_style(folder, "Anna"))})
        assert torch.equal(vector, load_style(loose).vector)
        assert library.export_style(folder, "Anna", tmp_path / "copy").is_file()


def test_odd_things_in_the_library_are_reported_and_left_alone(model: DiffPoseTalk, tmp_path: Path) -> None:
    good = library.add_style(tmp_path, made(model))
    (tmp_path / f"folder{SUFFIX}").mkdir()
    (tmp_path / f"dangling{SUFFIX}").symlink_to(tmp_path / "gone")
    (tmp_path / f"empty{SUFFIX}").touch()
    (tmp_path / f"cut{SUFFIX}").write_bytes(good.read_bytes()[:-200])
    found = {entry.name: entry for entry in library.list_styles(tmp_path)}
    assert set(found) == {"Anna", "folder", "dangling", "empty", "cut"}
    for name, entry in found.items():
        assert (entry.style is not None) == (name == "Anna")
        assert (entry.problem == "") == (name == "Anna")
    library.add_style(tmp_path, made(model, "Berta"))
    assert (tmp_path / f"cut{SUFFIX}").stat().st_size == good.stat().st_size - 200


@pytest.mark.parametrize(
    "name", ["", "  ", "a/b", "a\\b", "..", ".hidden", "x.", "con", "NUL.a", "a\nb", "x" * 81, 'say "hi"']
)
def test_names_that_cannot_be_files(name: str) -> None:
    with pytest.raises(StyleError) as caught:
        library.check_name(name)
    assert caught.value.kind == "style_name"


def test_names_from_files() -> None:
    assert (
        library.named_after("/a/b/My_take: 1?.csv") == "My take 1" and library.named_after("...") == "Style"
    )
    assert library.check_name(" Ödön 日本 ") == "Ödön 日本"


def test_where_the_library_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert library.library_folder(tmp_path) == tmp_path
    monkeypatch.setenv("DIFFPOSETALK_STYLES", str(tmp_path / "s"))
    assert library.library_folder() == tmp_path / "s"
    monkeypatch.delenv("DIFFPOSETALK_STYLES")
    monkeypatch.setenv("DIFFPOSETALK_DATA", str(tmp_path))
    assert library.library_folder() == tmp_path / "styles"


# What a caller can ask for ------------------------------------------------------------------------


def test_what_can_be_asked_for(model: DiffPoseTalk, tmp_path: Path) -> None:
    clip = talking(9)
    motion = clip.save(tmp_path / "m.npz")
    times, columns = performance(6.0)
    table = write_table(tmp_path / "take.csv", times, columns)
    style = made(model)
    file = save_style(tmp_path / "Anna", style)
    library.add_style(tmp_path / "lib", style)
    np.save(tmp_path / "bare.npy", style.vector.numpy()[None])
    asked = [
        ({"preset": "calm"}, "calm", torch.zeros(16)),
        ({"motion": str(motion), "start_frame": 20}, "m.npz", read_style(model, clip, 20).vector),
        ({"motion": str(motion)}, "m.npz", read_style(model, clip).vector),
        ({"motion": str(motion), "window": "mean"}, "m.npz", read_style(model, clip, "mean").vector),
        ({"motion": str(table)}, "take.csv", read_style(model, read_motion(table)).vector),
        ({"file": str(file)}, "Anna", style.vector),
        ({"library": "anna", "folder": str(tmp_path / "lib")}, "anna", style.vector),
        ({"vector": str(tmp_path / "bare.npy")}, "bare.npy", style.vector),
    ]
    for spec, name, vector in asked:
        found = resolve_style(model, spec)
        assert found is not None and torch.allclose(found, vector, atol=1e-5), spec
        assert style_name(spec) == name
    both = {"mix": [{"file": str(file)}, {"preset": "calm"}], "amounts": [0.5, 0.5]}
    assert style_name(both) == "Anna 0.50 + calm 0.50"
    found = resolve_style(model, both)
    assert found is not None and torch.allclose(found, mix_styles([style.vector, torch.zeros(16)], [1, 1]))
    assert resolve_style(model, None) is None and style_name(None) == ""


def test_the_released_codes_files_are_flames(model: DiffPoseTalk, tmp_path: Path) -> None:
    exp = np.random.default_rng(0).standard_normal((120, 50)).astype(np.float32)
    np.savez(tmp_path / "released.npz", exp=exp, pose=np.zeros((120, 6), np.float32))
    with pytest.raises(StyleError) as caught:
        resolve_style(model, {"motion": str(tmp_path / "released.npz")})
    assert caught.value.kind == "style_basis" and "flame" in caught.value.message
    speaks_flame = another(3, basis="flame", coefficient_range=None)
    assert resolve_style(speaks_flame, {"motion": str(tmp_path / "released.npz")}) is not None


@pytest.mark.parametrize(
    "spec",
    [
        {"file": "nothing.dptstyle"},
        {"library": "nobody"},
        {"mix": [{"preset": "calm"}]},
        {"mix": [{"preset": "calm"}, None], "amounts": [1, 1]},
        {"mix": [{"preset": "calm"}], "amounts": ["x"]},
        {"mix": 3, "amounts": [1]},
        {"motion": "nothing.npz"},
    ],
)
def test_what_cannot_be_asked_for(model: DiffPoseTalk, spec: dict) -> None:
    with pytest.raises((StyleError, MotionError)):
        resolve_style(model, spec)
    nested: dict = {"preset": "calm"}
    for _ in range(50):
        nested = {"mix": [nested], "amounts": [1]}
    with pytest.raises(StyleError):
        resolve_style(model, nested)


@pytest.mark.parametrize("window", ["middle", 3.5, True, None])
def test_windows_that_cannot_be(model: DiffPoseTalk, tmp_path: Path, window: object) -> None:
    motion = talking(9).save(tmp_path / "m.npz")
    key = "start_frame" if isinstance(window, float | bool) else "window"
    with pytest.raises(StyleError):
        resolve_style(model, {"motion": str(motion), key: window})


# Pictures -----------------------------------------------------------------------------------------


def test_thumbnails_show_the_head(model: DiffPoseTalk) -> None:
    head = load_head(BUNDLED_HEAD)
    strip = thumbnail_strip([talking(3)], head)
    assert strip.dtype == np.uint8 and strip.shape[0] == 224 and strip.std() > 20
    open_, closed = (
        thumbnail_strip([talking(3, mouth=0.35)], head),
        thumbnail_strip([talking(3, mouth=0)], head),
    )
    assert np.abs(open_.astype(int) - closed).max() > 60


def test_plots_light_up_what_is_read() -> None:
    clip = talking(10)
    clip.provenance["unseen"] = [[8.0, 9.0]]
    plot = reference_plot(clip, [50], 100, 25.0)
    assert plot.shape == (PLOT_HEIGHT, PLOT_WIDTH, 3)
    lit = (plot[2] == np.array([54, 74, 104])).all(axis=1)
    first, last = np.flatnonzero(lit)[[0, -1]]
    assert abs(first / PLOT_WIDTH - 0.2) < 0.01 and abs(last / PLOT_WIDTH - 0.6) < 0.01
    assert (plot[2, round(0.85 * PLOT_WIDTH)] == [70, 44, 44]).all()
    one = MotionClip(np.zeros((1, 50), np.float32), np.zeros((1, 6), np.float32))
    assert reference_plot(one, [0], 1, 25.0).shape == plot.shape


def test_presets_are_measured_and_pictured(tiny_model: Path, recording: Path, tmp_path: Path) -> None:
    model = load_model(tiny_model, "cpu")
    presets = {"calm": model.styles["calm"], "other": StylePreset("Other", "Says", torch.ones(16))}
    save_model(model, tmp_path / "model", presets)
    told = illustrate(tmp_path / "model", recording, load_head(BUNDLED_HEAD))
    again = load_model(tmp_path / "model", "cpu").styles
    assert set(told) == set(again) == {"calm", "other"}
    assert all(style.measures is not None and style.measures.seconds > 10 for style in again.values())
    assert torch.allclose(again["other"].vector, torch.ones(16)) and again["other"].description == "Says"
    for key in again:
        assert (tmp_path / "model" / "thumbnails" / f"{key}.png").read_bytes().startswith(b"\x89PNG")


def test_translation_survives_its_file(tmp_path: Path) -> None:
    clip = replace(
        talking(2), translation=np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    )
    again = load_motion(clip.save(tmp_path / "a.npz"))
    assert again.translation is not None and np.array_equal(again.translation, clip.translation)
    assert resample(again, 50.0).translation.shape == (len(resample(again, 50.0)), 3)
    np.savez(tmp_path / "b.npz", exp=clip.exp, pose=clip.pose, translation=np.zeros((3, 3)))
    with pytest.raises(MotionError):
        load_motion(tmp_path / "b.npz")
