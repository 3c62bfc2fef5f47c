# SPDX-License-Identifier: GPL-3.0-or-later
"""The code on the documentation's pages: commands are parsed, and run where that is cheap; files are read.

What is only parsed needs hours, a video, a cluster, or files that are not ours to have; other tests run it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from support.code_blocks import CodeBlock, by_page, code_blocks
from support.paths import ROOT
from support.style_clips import talking
from support.tiny_model import save_tiny_model

from diffposetalk.batch.manifest import read_manifest
from diffposetalk.cli import build_parser, main
from diffposetalk.motion.clip import load_motion
from diffposetalk.server.jsonrpc import bind_params
from diffposetalk.server.methods import Backend
from diffposetalk.train.recipe import read_recipe
from diffposetalk.train.recordings import read_recordings

ONLY_PARSED = re.compile(
    r"serve|train |evaluate |convert checkpoint|convert flame|style track|\S+ \S+ talk\.mp4"
    r"|.*(--ray|--model paper|_head)"
)
OTHER_PROGRAMS = {"cp", "ray", "hf", "tensorboard"}


def commands(block: CodeBlock) -> list[list[str]]:
    """The commands of a block, as words."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


@pytest.fixture(scope="module")
def build_addon() -> ModuleType:
    """The build script."""
    spec = importlib.util.spec_from_file_location("build_addon", ROOT / "build_addon.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_addon"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages speak of, and a small model with ARKit's expressions."""
    bundled = ROOT / "flame_assets" / "model" / "config.json"
    names = tuple(json.loads(bundled.read_text(encoding="utf-8"))["expression_names"])
    monkeypatch.setenv("DIFFPOSETALK_MODEL", str(save_tiny_model(tmp_path / "model", names)))
    monkeypatch.setenv("DIFFPOSETALK_STYLES", str(tmp_path / "styles"))
    monkeypatch.chdir(tmp_path)
    speech, rate = soundfile.read(next((ROOT / "flame_assets" / "clips").glob("*.flac")))
    soundfile.write("line.wav", speech[: 2 * rate], rate)
    talking(8).save(tmp_path / "someone.npz")
    return tmp_path


@pytest.mark.parametrize("block", code_blocks("shell"), ids=str)
def test_commands_are_understood(block: CodeBlock, build_addon: ModuleType) -> None:
    assert commands(block)
    for words in commands(block):
        if words[:3] == ["accelerate", "launch", "--multi_gpu"]:
            words = words[words.index("-m") + 1 :]
        if words[0] == "diffposetalk":
            arguments = [word for word in words[1:] if word != "SOURCE..."] + ["x"] * ("SOURCE..." in words)
            build_parser(arguments).parse_args(arguments)
        elif words[:2] == ["python", "build_addon.py"]:
            assert callable(getattr(build_addon, f"run_{words[2]}"))
        elif words[:2] == ["pip", "install"]:
            project = (ROOT / "backend" / "pyproject.toml").read_text(encoding="utf-8")
            for extra in re.findall(r"\w+", "".join(re.findall(r"\[(.*)\]", words[2]))):
                assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
        else:
            assert words[0] in OTHER_PROGRAMS, words


def runnable_pages() -> dict[str, list[list[str]]]:
    """The commands of each page that are run."""
    found: dict[str, list[list[str]]] = {}
    for page, blocks in by_page("shell").items():
        for words in (words for block in blocks for words in commands(block)):
            if words[0] == "diffposetalk" and not ONLY_PARSED.match(shlex.join(words[1:])):
                found.setdefault(page, []).append(words[1:])
    return found


@pytest.mark.parametrize("page", runnable_pages())
def test_commands_do_what_the_page_says(page: str, workplace: Path, capsys: pytest.CaptureFixture) -> None:
    for block in code_blocks("csv manifest"):
        lay_out_manifest(block, workplace)
    for arguments in runnable_pages()[page]:
        assert main(arguments) == 0, (arguments, capsys.readouterr().err)
        if "-o" in arguments and "--takes" not in arguments:
            output = Path(arguments[arguments.index("-o") + 1])
            assert load_motion(output).exp.shape[1] == 50
    assert "Traceback" not in capsys.readouterr().err


def lay_out_manifest(block: CodeBlock, folder: Path) -> Path:
    """Write a manifest of a page with recordings and references where it looks for them."""
    for name in re.findall(r"[\w/]+\.(?:wav|npz)", block.text):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / ("line.wav" if name.endswith(".wav") else "someone.npz"), target)
    manifest = folder / "lines.csv"
    manifest.write_text(block.text, encoding="utf-8")
    return manifest


@pytest.mark.parametrize("page", by_page("python backend"))
def test_python_runs(page: str, workplace: Path) -> None:
    for block in code_blocks("csv manifest"):
        lay_out_manifest(block, workplace)
    names: dict[str, object] = {}
    if page == "formats.md":
        exec("import diffposetalk", names)
    with contextlib.redirect_stdout(io.StringIO()):
        for block in by_page("python backend")[page]:
            exec(compile(block.text, str(block), "exec"), names)
    if "again" in names:
        clip, again = names["clip"], names["again"]
        assert np.array_equal(clip.exp[:20], again.exp[:20])  # type: ignore[attr-defined]
        assert not np.array_equal(clip.exp[20:45], again.exp[20:45])  # type: ignore[attr-defined]


@pytest.mark.parametrize("block", code_blocks("csv manifest"), ids=str)
def test_manifests_are_read(block: CodeBlock, workplace: Path) -> None:
    jobs, bad = read_manifest(lay_out_manifest(block, workplace))
    assert jobs and not bad


@pytest.mark.parametrize("block", code_blocks("csv recordings"), ids=str)
def test_lists_of_recordings_are_read(block: CodeBlock, workplace: Path) -> None:
    for name in re.findall(r"[\w/]+\.(?:wav|flac|npz)", block.text):
        target = workplace / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".npz"):
            talking(2).save(target)
        else:
            soundfile.write(target, *soundfile.read("line.wav"))
    (workplace / "list.csv").write_text(block.text, encoding="utf-8")
    found = list(read_recordings(workplace / "list.csv"))
    assert len(found) == len(block.text.splitlines()) - 1


@pytest.mark.parametrize("block", code_blocks("toml recipe"), ids=str)
def test_recipes_are_read(block: CodeBlock, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(block.text, encoding="utf-8")
    recipe = read_recipe(str(path))
    assert recipe.name == "mine" and recipe.denoiser.weights.smooth == 2e5
    assert recipe.denoiser.warmup == read_recipe("bundled").denoiser.warmup


@pytest.mark.parametrize("block", code_blocks("json rpc"), ids=str)
def test_messages_are_calls_that_the_backend_knows(block: CodeBlock) -> None:
    message = json.loads(block.text)
    method = Backend().methods()[message["method"]]
    assert message["jsonrpc"] == "2.0" and bind_params(method.function, message["params"])
