# SPDX-License-Identifier: GPL-3.0-or-later
"""Words that name a style: the same list through the command line, manifests, evaluation, the protocol and Blender."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.addon_data import addon_data
from support.live_link_files import performance, write_table
from support.style_clips import talking

from diffposetalk.batch.manifest import read_manifest
from diffposetalk.cli import main
from diffposetalk.errors import StyleError
from diffposetalk.evaluate.subjects import ModelSubject
from diffposetalk.files.digest import file_sha256
from diffposetalk.motion.clip import MotionClip, load_motion
from diffposetalk.motion.formats import write_motion
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.networks.model import DiffPoseTalk
from diffposetalk.styles import StyleRequest, library, read_style, resolve_style, style_name
from diffposetalk.styles.creation import style_from_motion
from diffposetalk.styles.style_file import load_style, save_style
from diffposetalk.tracking import performance as tracking

WORDS = {
    "calm": {"preset": "calm"},
    "Anna": {"preset": "Anna"},
    "anna": {"preset": "anna"},
    "library:Anna": {"library": "Anna"},
    "library: two words": {"library": "two words"},
    "none": {"preset": "none"},
    "m.npz": {"motion": "m.npz"},
    "m.npz@20": {"motion": "m.npz", "start_frame": 20},
    "m.npz@mean": {"motion": "m.npz", "window": "mean"},
    "m.npz@auto": {"motion": "m.npz"},
    "m.json": {"motion": "m.json"},
    "take.csv": {"motion": "take.csv"},
    "TAKE.CSV@3": {"motion": "TAKE.CSV", "start_frame": 3},
    "someone.mp4": {"motion": "someone.mp4"},
    "someone.mov@40": {"motion": "someone.mov", "start_frame": 40},
    "bare.npy": {"vector": "bare.npy"},
    "bare.npy@3": {"preset": "bare.npy@3"},
    "Anna.dptstyle": {"file": "Anna.dptstyle"},
    "0.7 calm + 0.3 Anna": {"mix": [{"preset": "calm"}, {"preset": "Anna"}], "amounts": [0.7, 0.3]},
    "70 % calm + 30% m.npz@20": {
        "mix": [{"preset": "calm"}, {"motion": "m.npz", "start_frame": 20}],
        "amounts": [70.0, 30.0],
    },
    "calm + lively 50 %": {"preset": "calm + lively 50 %"},
}


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> DiffPoseTalk:
    return load_model(tiny_model, "cpu")


@pytest.fixture
def clip() -> MotionClip:
    return talking(9)


@pytest.fixture
def place(model: DiffPoseTalk, clip: MotionClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, and the one that programs run in, with a file of every kind; a library with “Anna”; a tracker."""
    clip.save(tmp_path / "m.npz")
    write_motion(clip, tmp_path / "m.json")
    write_table(tmp_path / "take.csv", *performance(6.0))
    (tmp_path / "someone.mp4").write_bytes(b"pictures")

    class Tracked:
        clip = talking(9, mouth=0.4)

    monkeypatch.setattr(tracking, "track_performance", lambda path: Tracked())
    style, _ = style_from_motion(model, talking(7, head=0.02), "Anna")
    np.save(tmp_path / "bare.npy", style.vector.numpy()[None])
    monkeypatch.setenv("DIFFPOSETALK_STYLES", str(tmp_path / "styles"))
    library.export_style(tmp_path / "styles", library.add_style(tmp_path / "styles", style).stem, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_the_same_everywhere(word: str) -> None:
    params = WORDS[word]
    assert StyleRequest.parse(word).to_params() == params
    assert StyleRequest.parse(params).to_params() == params == StyleRequest.parse({"word": word}).to_params()
    assert addon_data("style_request").style_params(word) == params


def test_the_suffixes_are_the_same_on_both_sides() -> None:
    from diffposetalk.motion.formats import MOTION_SUFFIXES
    from diffposetalk.tracking.video import VIDEO_SUFFIXES

    blender = addon_data("style_request")
    assert (blender.MOTION_SUFFIXES, blender.VIDEO_SUFFIXES) == (MOTION_SUFFIXES, VIDEO_SUFFIXES)


def test_every_entry_point_reads_every_word(
    tiny_model: Path, model: DiffPoseTalk, place: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [{"preset": "calm"}, {"file": "Anna.dptstyle"}]
    words = {
        "calm": model.styles["calm"].vector,
        "Calm": model.styles["calm"].vector,
        "library:anna": load_style(place / "Anna.dptstyle").vector,
        "ANNA": load_style(place / "Anna.dptstyle").vector,
        "Anna.dptstyle": load_style(place / "Anna.dptstyle").vector,
        "bare.npy": load_style(place / "Anna.dptstyle").vector,
        "m.npz": read_style(model, talking(9)).vector,
        "m.json": read_style(model, talking(9)).vector,
        "m.npz@20": read_style(model, talking(9), 20).vector,
        "m.npz@mean": read_style(model, talking(9), "mean").vector,
        "take.csv": resolve_style(model, {"motion": "take.csv"}),
        "someone.mp4": read_style(model, talking(9, mouth=0.4)).vector,
        "0.5 calm + 0.5 Anna": resolve_style(model, {"mix": both, "amounts": [1, 1]}),
        "none": None,
    }  # fmt: skip
    rows = [{"audio": str(recording), "output": str(k), "style": word} for k, word in enumerate(words)]
    (place / "lines.json").write_text(json.dumps(rows))
    jobs, bad = read_manifest(place / "lines.json")
    assert not bad
    for job, (word, vector) in zip(jobs, words.items(), strict=True):
        for found in (
            resolve_style(model, {"word": word}),
            resolve_style(model, addon_data("style_request").style_params(word)),
            resolve_style(model, job.style),
            ModelSubject(model, "tiny", style=word).style_of([], 0),
        ):
            if vector is None:
                assert found is None
            else:
                assert found is not None and torch.allclose(found, vector, atol=1e-4), word
        out = place / "out.npz"
        options = ["--model", str(tiny_model), "--device", "cpu", "--seconds", "2", "--steps", "2"]
        assert main(["generate", str(recording), "-o", str(out), "--style", word, *options]) == 0
        assert load_motion(out).provenance["style"] == style_name({"word": word})
        shown = main(["style", "show", word, "--model", str(tiny_model)])
        assert shown == (2 if word == "none" else 0), capsys.readouterr().err


def test_names_are_a_preset_first_then_the_librarys(model: DiffPoseTalk, place: Path) -> None:
    style = load_style(place / "Anna.dptstyle")
    for name in ("calm", "Calm"):
        save_style(place / "styles" / "Calm", style)
        taken = StyleRequest.parse(name).resolve(model)
        assert taken is not None and torch.equal(taken, style.vector) == (name == "Calm")
    own = addon_data("style_request").style_params
    files = {"Calm": place / "styles" / "Calm.dptstyle", "Anna": place / "styles" / "Anna.dptstyle"}
    assert own("calm", str, files, ["calm"]) == {"preset": "calm"}
    assert (
        own("Calm", str, files, ["calm"]) == {"file": str(files["Calm"])} == own("library:CALM", str, files)
    )
    assert own("0.5 anna + 0.5 calm", str, files, ["calm"])["mix"] == [
        {"file": str(files["Anna"])},
        {"preset": "calm"},
    ]
    with pytest.raises(addon_data("errors").UserError, match="no style"):
        own("library:nobody", str, files)


@pytest.mark.parametrize(
    "word",
    ["nobody", "library:nobody", "picture.png", "0.5 calm + 0.5 none", "0 calm + 0 Anna", " ", "a\0.npz"],
)
def test_what_no_word_is(model: DiffPoseTalk, place: Path, word: str) -> None:
    with pytest.raises(StyleError) as caught:
        StyleRequest.parse(word).resolve(model)
    if caught.value.kind in ("style_preset", "style_format"):
        assert "library:NAME" in caught.value.message  # all that would have been understood is named


def test_content_is_told_by_files_not_names(model: DiffPoseTalk, place: Path) -> None:
    def content(word: str) -> object:
        return json.loads(json.dumps(StyleRequest.parse(word).content(model, file_sha256)))

    words = ("calm", "Anna", "m.npz", "m.npz@20", "bare.npy", "none", "0.5 calm + 0.5 Anna")
    before = [content(word) for word in words]
    assert len({json.dumps(each) for each in before}) == len(words)
    assert content("library:anna") == content("Anna") == content("Anna.dptstyle")
    library.add_style(place / "styles", style_from_motion(model, talking(8), "Anna")[0], replace=True)
    after = [content(word) for word in words]
    changed = [word for word, a, b in zip(words, before, after, strict=True) if a != b]
    assert changed == ["Anna", "0.5 calm + 0.5 Anna"]
