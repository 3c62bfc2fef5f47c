# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: its output and exit status. A process of its own costs seconds, so few tests use one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.made_recordings import bad_recordings

import diffposetalk
from diffposetalk import cli
from diffposetalk.cli import main
from diffposetalk.motion.clip import load_motion


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


def run_process(*arguments: object) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "diffposetalk", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
        timeout=600,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process."""

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        try:
            status = main(list(map(str, arguments)))
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        return Done(status, *capsys.readouterr())

    return call


def told(done: Done) -> str:
    """The one line a refused command says."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: ")
    return done.stderr


def test_generate(tiny_model: Path, recording: Path, tmp_path: Path) -> None:
    output = tmp_path / "eine Zeile ü.npz"
    done = run_process(
        "generate", recording, "-o", output, "--model", tiny_model, "--seed", 7, "--style", "calm"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(output)
    assert "motion 100 %" in done.stderr
    clip = load_motion(output)
    assert clip.exp.shape == (150, 50) and clip.pose.shape == (150, 6)
    assert clip.provenance["synthetic"] is True
    assert clip.provenance["seed"] == 7 and clip.provenance["style"] == "calm"
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_takes_differ_and_repeat(run: Run, tiny_model: Path, recording: Path, tmp_path: Path) -> None:
    options = ("--model", tiny_model, "--seconds", "2")
    assert run("generate", recording, "-o", tmp_path / "a.npz", "--takes", 2, *options).returncode == 0
    assert run("generate", recording, "-o", tmp_path / "b.npz", "--seed", 1, *options).returncode == 0
    first, second = (load_motion(tmp_path / f"a-seed{seed}.npz") for seed in (0, 1))
    assert np.abs(first.exp - second.exp).max() > 0.01
    np.testing.assert_allclose(load_motion(tmp_path / "b.npz").exp, second.exp, atol=1e-5)


def test_no_head_pose_and_part(run: Run, tiny_model: Path, recording: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.npz"
    options = ("--start", "1", "--seconds", "2", "--no-head-pose", "--sampler", "ddpm")
    done = run("generate", recording, "-o", output, "--model", tiny_model, *options)
    assert done.returncode == 0, done.stderr
    clip = load_motion(output)
    assert len(clip) == 50
    assert not clip.pose[:, :3].any()


def test_style_extract(run: Run, tiny_model: Path, recording: Path, tmp_path: Path) -> None:
    model = ("--model", tiny_model)
    clip, style = tmp_path / "clip.npz", tmp_path / "style.npy"
    assert run("generate", recording, "-o", clip, *model).returncode == 0
    done = run("style", "extract", clip, "-o", style, *model)
    assert done.returncode == 0, done.stderr
    assert np.load(style).shape == (16,)
    again = run("generate", recording, "-o", tmp_path / "b.npz", "--style", style, *model)
    assert again.returncode == 0, again.stderr
    assert "frame" in told(run("style", "extract", clip, "-o", style, "--start-frame", 9_999, *model))


def test_info(run: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("info", "--json", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout)
    assert described["model"]["name"] == "tiny" and "cpu" in described["devices"]
    monkeypatch.setenv("DIFFPOSETALK_MODEL", str(tiny_model))
    assert "tiny" in run("info").stdout


def test_the_engine_can_be_told_how_to_compute(
    run: Run, tiny_model: Path, recording: Path, tmp_path: Path
) -> None:
    settings = ["--model", tiny_model, "--precision", "float32", "--threads", 1, "--batch", 3]
    compute = json.loads(run("info", "--json", *settings).stdout)["compute"]
    assert compute["precision"] == "float32" and compute["threads"] == 1 and compute["batch"] == 3
    motions = []
    for extra in ([], ["--dynamic-threshold", 0.5, 0.1, 0.2]):
        done = run("generate", recording, "-o", tmp_path / "out.npz", "--seconds", 1, *settings, *extra)
        assert done.returncode == 0
        motions.append(load_motion(tmp_path / "out.npz").pose)
    assert np.abs(motions[1]).max() < np.abs(motions[0]).max()
    done = run("generate", recording, "-o", tmp_path / "out.npz", *settings, "--dynamic-threshold", 2, 1, 4)
    assert "thresholding" in told(done)


@pytest.mark.parametrize("command", ["generate", "style", "info", "serve"])
def test_help(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0 and "usage" in done.stdout


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_what_the_addon_leaves_out_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    for name in [name for name in sys.modules if name.split(".")[:2] == ["diffposetalk", command]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(diffposetalk, "__path__", [str(tmp_path)])  # where neither is
    done = run(command, "--help")
    assert done.returncode == 2
    assert "not part of the add-on's package" in told(done) and "./backend[train]" in told(done)


def test_a_module_that_training_needs_is_another_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'accelerate'", name="accelerate")

    monkeypatch.setattr(cli, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match="accelerate"):
        main(["train", "--help"])


def test_bad_recordings_are_told_in_one_line(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    bad_recordings(tmp_path)
    words = {
        "empty.wav": "0 bytes",
        "text.wav": "text file",
        "silent.wav": "silent",
        "one.wav": "too short",
        "cut.wav": "cut off",
        "missing.wav": "no recording",
        ".": "folder",
    }
    before = sorted(tmp_path.iterdir())
    for name, word in words.items():
        assert word in told(run("generate", tmp_path / name, "-o", tmp_path / "o.npz", "--model", tiny_model))
    assert sorted(tmp_path.iterdir()) == before


def test_other_mistakes(run: Run, tiny_model: Path, recording: Path, tmp_path: Path) -> None:
    base = ("generate", recording, "-o", tmp_path / "o.npz")
    model = ("--model", tiny_model)
    assert "required" in told(run("generate"))
    assert "invalid choice" in told(run("sing"))
    assert "config.json" in told(run(*base, "--model", tmp_path))
    assert "calm" in told(run(*base, *model, "--style", "angry"))
    assert "does not exist" in told(run(*base, *model, "--style", tmp_path / "no.npz"))
    assert "not available" in told(run(*base, *model, "--device", "cuda:9"))
    assert "take" in told(run(*base, *model, "--takes", 0))
    assert "steps" in told(run(*base, *model, "--steps", 10_000))
    assert "uidance" in told(run(*base, *model, "--speech-guidance", "-3"))
    assert "does not exist" in told(run("generate", recording, "-o", tmp_path / "no" / "o.npz", *model))
    assert "folder" in told(run("generate", recording, "-o", tmp_path, *model))
    assert not list(tmp_path.iterdir())


def test_a_refusal_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    assert "0 bytes" in told(run_process("generate", tmp_path / "empty.wav", "-o", tmp_path / "o.npz"))
