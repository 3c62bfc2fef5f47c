# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged manifests and tables."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from diffposetalk.batch.manifest import COLUMNS, ManifestError, read_manifest

from .mutation import damage_json, damage_table
from .targets import Target, fuzz, what_is_wrong_with

MANIFESTS = 200
ROWS: list[dict[str, Any]] = [
    {"audio": "a.wav", "output": "scene 1/ann", "style": "calm", "seed": 1, "takes": 2, "audio_start": 0.5},
    {"audio": "b.flac", "style": "library:Ann", "seeds": "1 2 3", "speech_guidance": 1.5, "note": "hm"},
    {"audio": "c d.mp3", "output": "c.npz", "style": "../x.npz", "style_start_frame": 3, "shape": "s.npy"},
    {"audio": "日本.ogg", "audio_seconds": 2.0, "style_guidance": 0, "start_frame": 10, "object": "Head"},
]


def _table(rows: list[dict[str, Any]]) -> bytes:
    file = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(file, names)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def read_and_check(path: Path) -> object:
    """Every clip of a manifest that is accepted lies inside the output folder, whatever the system."""
    jobs, bad = read_manifest(path)
    for row in bad:
        assert not what_is_wrong_with(row.message), row.message
    root = Path("/out").resolve()
    for job in jobs:
        for seed in job.seeds:
            name = job.clip_name(seed)
            assert (root / name).resolve().is_relative_to(root) and "\\" not in name and ":" not in name, name
    return jobs


def test_tables(tmp_path: Path) -> None:
    target = Target({".csv": [_table(ROWS), _table(ROWS[:1])]}, damage_table, read_and_check)
    found = fuzz(target, tmp_path, MANIFESTS // 2, seed=4)
    assert found.accepted and found.refused


def test_lists(tmp_path: Path) -> None:
    seeds = [json.dumps(ROWS).encode(), json.dumps({"jobs": ROWS[:2]}).encode()]
    found = fuzz(Target({".json": seeds}, damage_json, read_and_check), tmp_path, MANIFESTS // 2, seed=5)
    assert found.accepted and found.refused


VALUE = st.text(max_size=30) | st.sampled_from(
    ["..", "/", "a/../b", "C:x", "con", "x" * 300, "1e999", "-1", "a.wav"]
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUE), min_size=1, max_size=4), st.booleans())
def test_any_rows(tmp_path_factory: Any, rows: list[dict[str, str]], as_table: bool) -> None:
    path = tmp_path_factory.mktemp("rows") / ("m.csv" if as_table else "m.json")
    path.write_bytes(_table(rows) if as_table else json.dumps(rows).encode())
    try:
        read_and_check(path)
    except ManifestError as error:
        assert not what_is_wrong_with(error.message)
