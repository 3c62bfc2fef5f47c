# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged manifests and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffposetalk.batch.manifest import COLUMNS, ManifestError

from .targets import fuzz, manifest_targets, read_and_check, table, what_is_wrong_with

MANIFESTS = 200


@pytest.mark.parametrize("kind", manifest_targets())
def test_manifests(tmp_path: Path, kind: str) -> None:
    found = fuzz(manifest_targets()[kind], tmp_path, MANIFESTS // 2, seed=4)
    assert found.accepted and found.refused


VALUE = st.text(max_size=30) | st.sampled_from(
    ["..", "/", "a/../b", "C:x", "con", "x" * 300, "1e999", "-1", "a.wav"]
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUE), min_size=1, max_size=4), st.booleans())
def test_any_rows(tmp_path_factory: Any, rows: list[dict[str, str]], as_table: bool) -> None:
    path = tmp_path_factory.mktemp("rows") / ("m.csv" if as_table else "m.json")
    path.write_bytes(table(rows) if as_table else json.dumps(rows).encode())
    try:
        read_and_check(path)
    except ManifestError as error:
        assert not what_is_wrong_with(error.message)
