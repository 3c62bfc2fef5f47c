# SPDX-License-Identifier: GPL-3.0-or-later
"""Docstrings of classes list their fields as “name: what it is”; here these lists become sections for napoleon."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

FIELD = re.compile(r"[a-z_0-9]+(, [a-z_0-9]+)*: \S")
BEFORE_NAPOLEON = 400


def fields_to_section(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Put “Attributes:” before each paragraph that begins with a field, and indent it, in place."""
    if what not in ("class", "exception"):
        return
    told: list[str] = []
    inside = False
    for line in lines:
        if not inside and FIELD.match(line) and (not told or not told[-1].strip()):
            told.append("Attributes:")
            inside = True
        inside = inside and bool(line.strip())
        told.append(f"    {line}" if inside else line)
    lines[:] = told


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen to docstrings."""
    app.connect("autodoc-process-docstring", fields_to_section, priority=BEFORE_NAPOLEON)
    return {"parallel_read_safe": True}
