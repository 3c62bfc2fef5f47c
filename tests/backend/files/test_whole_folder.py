# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders are there whole, or as they were before."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffposetalk.errors import OutputError
from diffposetalk.files.whole_folder import whole_folder


def write(place: Path, text: str) -> None:
    with whole_folder(place) as part:
        (part / "a.txt").write_text(text)
        assert not place.exists() or (place / "a.txt").read_text() != text


def test_a_folder_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "above" / "made"
    write(place, "first")
    write(place, "second")
    assert (place / "a.txt").read_text() == "second"
    assert [path.name for path in place.parent.iterdir()] == ["made"]


def test_what_was_there_stays_when_writing_fails(tmp_path: Path) -> None:
    place = tmp_path / "made"
    write(place, "first")
    for error, raised in ((OSError(28, "No space left on device"), OutputError), (KeyError("x"), KeyError)):
        with pytest.raises(raised), whole_folder(place) as part:
            (part / "a.txt").write_text("half")
            raise error
    assert (place / "a.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        write(tmp_path / "file" / "made", "x")
