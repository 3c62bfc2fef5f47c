# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backend stands on: pinned, complete, and under licences that are known."""

import re

import dependencies
import pytest


@pytest.fixture(scope="module")
def packages():
    """The backend's pinned packages as they are installed."""
    return dependencies.packages()


def test_what_is_installed_is_what_is_pinned(packages):
    assert len(packages) > 40
    assert [(p.name, p.installed) for p in packages] == [(p.name, p.pinned) for p in packages]


def test_every_line_pins_one_version():
    for file in dependencies.REQUIREMENTS.values():
        for line in (dependencies.BACKEND / file).read_text(encoding="utf-8").splitlines():
            assert not line or line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), (
                line
            )


def test_nothing_that_is_needed_is_left_out():
    assert dependencies.unpinned() == set()


def test_every_licence_is_one_that_is_allowed(packages):
    others = {p.name: p.licence for p in packages if not dependencies.is_allowed(p.name, p.licence)}
    assert not others


@pytest.mark.parametrize(
    "expression", ["", "UNKNOWN", "GPL-2.0-only", "MIT AND Proprietary", "AGPL-3.0-or-later"]
)
def test_other_licences_would_be_noticed(expression):
    assert not dependencies.is_allowed("something", expression)


def test_the_list_for_people_is_up_to_date():
    docs = dependencies.BACKEND.parent / "docs" / "dependencies.md"
    assert docs.read_text(encoding="utf-8") == dependencies.as_markdown()
