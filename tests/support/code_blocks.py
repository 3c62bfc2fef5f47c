# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of the documentation and the code in them. No more than the standard library.

A block's language and the word after it say how it is tested: `python backend` runs in the backend, `python blender`
in Blender, `csv manifest` is read as a manifest, and so on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<info>\S.*)$\n(?P<text>(?:.*\n)*?)^```$", re.MULTILINE)


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block.

    page: name of its file in docs/, or README.md.
    line: of the fence.
    kind: language, and the word that says how it is tested.
    """

    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> dict[str, str]:
    """The text of every page that stands in the repository, by its path from the root."""
    docs = ROOT / "docs"
    paths = [ROOT / "README.md", *sorted(docs.glob("*.md")), *sorted(docs.glob("reference/*.md"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def code_blocks(*kinds: str) -> list[CodeBlock]:
    """The blocks of these kinds (all, where none is given), in the order in which a reader meets them."""
    found = []
    for page, text in pages().items():
        for match in FENCE.finditer(text):
            kind = " ".join(match["info"].split())
            if not kind.startswith("{") and (not kinds or kind in kinds):
                line = text.count("\n", 0, match.start()) + 1
                found.append(CodeBlock(page.removeprefix("docs/"), line, kind, match["text"]))
    return found


def by_page(*kinds: str) -> dict[str, list[CodeBlock]]:
    """The blocks of these kinds, grouped by their pages."""
    grouped: dict[str, list[CodeBlock]] = {}
    for block in code_blocks(*kinds):
        grouped.setdefault(block.page, []).append(block)
    return grouped
