# SPDX-License-Identifier: GPL-3.0-or-later
"""Styles through the server's methods and the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.backend_process import Client, greet
from support.style_clips import talking

from diffposetalk.cli import main
from diffposetalk.styles.style_file import load_style


@pytest.fixture(scope="module")
def backend(tiny_model: Path) -> Iterator[Client]:
    client = Client()
    greet(client)
    client.result("load_model", model=str(tiny_model), device="cpu")
    yield client
    client.end()


def test_the_servers_styles(backend: Client, tmp_path: Path) -> None:
    motion = str(talking(9).save(tmp_path / "motion.npz"))
    told = backend.result(
        "extract_style",
        motion=motion,
        output=str(tmp_path / "Anna.dptstyle"),
        window="mean",
        description="nods",
        notes=["small face"],
    )
    style = load_style(told["path"])
    assert style.name == "Anna" and style.description == "nods" and style.notes[0] == "small face"
    assert (
        told["frames"] == 100 and told["fps"] == 25 and len(told["starts"]) > 5 and "mouth" in told["figures"]
    )
    shown = backend.result(
        "preview_reference", motion=motion, output=str(tmp_path / "plot.png"), start_frame=40
    )
    assert shown["starts"] == [40] and shown["count"] == 225
    assert Path(shown["plot"]).read_bytes().startswith(b"\x89PNG")
    mixed = backend.result(
        "mix_styles",
        styles=[{"preset": "calm"}, {"file": told["path"]}],
        amounts=[0.5, 0.5],
        output=str(tmp_path / "Both.dptstyle"),
    )
    assert load_style(mixed["path"]).source["kind"] == "mixture"
    np.save(tmp_path / "bare.npy", style.vector.numpy())
    bare = backend.result(
        "extract_style", motion=str(tmp_path / "bare.npy"), output=str(tmp_path / "Bare.dptstyle")
    )
    assert "does not say" in bare["notes"][0]


def test_what_the_server_refuses(backend: Client, tmp_path: Path) -> None:
    motion = str(talking(9).save(tmp_path / "motion.npz"))
    out = str(tmp_path / "x.dptstyle")
    assert backend.kind("extract_style", motion=motion, output=out, window="best") == "style_format"
    assert backend.kind("extract_style", motion=motion, output=out, start_frame=900) == "style_range"
    assert backend.kind("extract_style", motion=str(tmp_path / "no.npz"), output=out) == "motion_missing"
    assert backend.kind("mix_styles", styles=[{"preset": "no"}], amounts=[1], output=out) == "style_preset"
    assert backend.kind("mix_styles", styles=[{"preset": "calm"}], amounts=[1, 2], output=out) == "style_mix"
    assert backend.kind("fetch_tracker", allow_online=False) == "tracker_offline"
    status = backend.result("tracking_status")
    assert status["tracker"] is None and status["url"].startswith("https://")
    (tmp_path / "fake.task").write_bytes(b"no model")
    video = {"video": str(tmp_path / "none.mp4"), "output_dir": str(tmp_path / "out")}
    assert backend.kind("track_video", **video, tracker=str(tmp_path / "fake.task")) == "tracker_format"
    assert backend.kind("track_video", **video, face=[0.5]) == "video_face"
    assert backend.kind("find_faces", **video) == "video_missing"
    assert not list((tmp_path / "out").iterdir()) and not Path(out).exists()


def test_the_command_lines_styles(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFPOSETALK_STYLES", str(tmp_path / "library"))
    motion = str(talking(9).save(tmp_path / "motion.npz"))
    model = ("--model", str(tiny_model))

    def run(*words: str, status: int = 0) -> str:
        assert main(["style", *words]) == status, capsys.readouterr().err
        done = capsys.readouterr()
        return done.out if status == 0 else done.err

    assert "Say where" in run("extract", motion, *model, status=2)
    assert "Anna.dptstyle" in run("extract", motion, "--save", "Anna", "--description", "nods", *model)
    assert "already has" in run("extract", motion, "--save", "anna", *model, status=2)
    assert "vector.npy" in run(
        "extract", motion, "-o", str(tmp_path / "vector.npy"), "--window", "mean", *model
    )
    assert "Mixed" in run("mix", "calm", "Anna", "--amount", "0.3", "--save", "Mixed", *model)
    assert "0 to 1" in run("mix", "calm", "Anna", "--amount", "3", "--save", "M", *model, status=2)
    listed = json.loads(run("list", "--json", *model))
    assert [row["name"] for row in listed] == ["Calm", "Anna", "Mixed"]
    assert listed[1]["measures"]["blinks"] > 0
    told = json.loads(run("show", "ANNA", "--json", "--thumbnail", str(tmp_path / "a.png"), *model))
    assert told["name"] == "Anna" and told["problem"] == "" and (tmp_path / "a.png").stat().st_size > 1000
    assert "Hardly moves" in run("show", "calm", *model)
    run("rename", "Anna", "Berta")
    run("export", "berta", str(tmp_path / "out.dptstyle"))
    run("delete", "Berta")
    run("import", str(tmp_path / "out.dptstyle"))
    assert "no style" in run("show", "Berta", *model, status=2)
    assert sorted(p.stem for p in (tmp_path / "library").iterdir()) == ["Mixed", "out"]
    assert "fetch" in run("tracker", status=2)
    assert "folder" in run("extract", motion, "-o", str(tmp_path / "no" / "x"), *model, status=2)
