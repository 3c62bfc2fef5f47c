# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender --background` of an installed Blender: the extension is installed and a list of lines is spoken."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from real_window import python_folders, start_inside
from support.paths import CLIP

SECONDS = 300.0
BACKGROUND = """
set -e
cd "$0"
blender --background --command extension install-file --repo user_default --enable diffposetalk.zip
exec blender --background --python-exit-code 3 --python batch.py
"""
BATCH = """
import json
import os

import bpy
import diffposetalk

preferences = bpy.context.preferences.addons["bl_ext.user_default.diffposetalk"].preferences
preferences.backend_python = os.environ["BACKEND_PYTHON"]
heads = {name: diffposetalk.add_head(name)[0] for name in ("Ann", "Bob")}
results = diffposetalk.batch("jobs.csv", report="report.json")
keyed = {}
for name, head in heads.items():
    [take] = diffposetalk.takes(head)
    first, last = map(int, take.frame_range)
    lip = head.data.shape_keys.key_blocks["mouthUpperUpLeft"]
    values = []
    for frame in range(first, last + 1):
        bpy.context.scene.frame_set(frame)
        values.append(lip.value)
    keyed[name] = first, last, values
bpy.ops.wm.save_as_mainfile(filepath=os.path.abspath("scene.blend"))
with open("keyed.json", "w", encoding="utf-8") as file:
    json.dump(keyed, file)
"""
JOBS = """audio,object,style,seed,start,export,audio_seconds
line.flac,Ann,calm,7,1,out/ann.fbx;out/ann.csv,1.5
lost.flac,Ann,,1,1,,
line.flac,Bob,,8,60,out/bob.glb,1
"""


def test_a_list_is_spoken_without_a_window(debian: Path, shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "home" / "diffposetalk.zip", tmp_path)
    shutil.copy(CLIP, tmp_path / "line.flac")
    (tmp_path / "jobs.csv").write_text(JOBS)
    (tmp_path / "batch.py").write_text(BATCH)
    backend = os.environ["DIFFPOSETALK_BACKEND_PYTHON"]
    process = start_inside(
        BACKGROUND, debian, tmp_path, python_folders(Path(backend)), {"BACKEND_PYTHON": backend}
    )
    try:
        status = process.wait(SECONDS)
    finally:
        process.kill()
    said = (tmp_path / "blender.log").read_text(errors="replace")
    assert status == 0 and "Traceback" not in said, said[-4000:]
    assert "[3/3]" in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["state"] for row in report["results"]] == ["done", "failed", "done"], report
    keyed = json.loads((tmp_path / "keyed.json").read_text())
    for name, first, seconds in (("Ann", 1, 1.5), ("Bob", 60, 1.0)):
        begins, ends, values = keyed[name]
        assert begins == first and ends - first == pytest.approx(24 * seconds, abs=2.5)
        assert np.ptp(values) > 0.01
    assert len((tmp_path / "out" / "ann.csv").read_text().splitlines()) > 30
    assert all((tmp_path / "out" / name).stat().st_size > 100_000 for name in ("ann.fbx", "bob.glb"))
    assert (tmp_path / "scene.blend").is_file()
