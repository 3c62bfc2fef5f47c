# SPDX-License-Identifier: GPL-3.0-or-later
"""The directive `error-messages`: every message of an error that a person reads, found in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"Blender": ROOT / "blender_addon", "Backend": ROOT / "backend" / "diffposetalk"}
ERRORS = [
    "AudioError", "BackendError", "DataError", "DeviceError", "DiffPoseTalkError", "ModelError", "MotionError",
    "OutputError", "ProtocolError", "StyleError", "UserError", "VideoError",
]  # fmt: skip
GAP = "…"
SHORTEST = 12  # characters: less is the part of a message that is put together elsewhere


def messages(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(module, message with gaps, kind or nothing) of every error that is raised with its text in place."""
    for path in sorted(folder.rglob("*.py")):
        module = path.relative_to(folder).with_suffix("").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _name(node.func) in ERRORS:
                text = _text(node.args[0])
                kind = node.args[1] if len(node.args) > 1 else None
                if len(text.strip(f"{GAP} .")) >= SHORTEST:
                    yield module, text, kind.value if isinstance(kind, ast.Constant) else ""


def _name(function: ast.expr) -> str:
    return getattr(function, "id", getattr(function, "attr", ""))


def _text(expression: ast.expr) -> str:
    """A message as it is written, with a gap for whatever is put in."""
    if isinstance(expression, ast.Constant):
        return str(expression.value)
    if isinstance(expression, ast.JoinedStr):
        return "".join(_text(part) for part in expression.values)
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Add):
        return _text(expression.left) + _text(expression.right)
    return GAP


class ErrorMessages(SphinxDirective):
    """A list of messages for each module of the add-on and of the backend."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        return [self._section(title, folder) for title, folder in SOURCES.items()]

    def _section(self, title: str, folder: Path) -> nodes.section:
        section = nodes.section(ids=[f"messages-{title.lower()}"], names=[f"messages-{title.lower()}"])
        section += nodes.title("", title)
        by_module: dict[str, dict[str, str]] = {}
        for module, text, kind in messages(folder):
            by_module.setdefault(module, {})[text] = kind
        for module, found in by_module.items():
            section += nodes.paragraph("", "", nodes.literal("", module))
            items = []
            for text, kind in found.items():
                told = nodes.paragraph("", text + (" " if kind else ""))
                told += [nodes.literal("", kind)] if kind else []
                items.append(nodes.list_item("", told))
            section += nodes.bullet_list("", *items)
        return section


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("error-messages", ErrorMessages)
    return {"parallel_read_safe": True}
