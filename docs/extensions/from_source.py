# SPDX-License-Identifier: GPL-3.0-or-later
"""The directive `from-source`: functions and classes of a file with their docstrings, read without running it.

    .. from-source:: blender_addon/api/speaking.py
       :module: diffposetalk

       generate
       batch

Blender is not here to import the add-on, nor PyTorch for the backend; signatures and docstrings need neither.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
LITERAL = re.compile(r"(?<!`)`([^`]+)`(?!`)(?=(\w?))")
FIELD = re.compile(r"[a-z_0-9]+(, [a-z_0-9]+)*: \S")
INDENT = "   "
NAPOLEON = Config(napoleon_use_rtype=False, napoleon_use_ivar=True)
Function = ast.FunctionDef


class FromSource(SphinxDirective):
    """The named functions and classes of a file, in the order of the names; all public ones without names."""

    required_arguments = 1
    has_content = True
    option_spec = {"module": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Describe them by Python's domain."""
        path = ROOT / self.arguments[0]
        self.env.note_dependency(str(path))
        known = {
            node.name: node
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, Function | ast.ClassDef)
        }
        names = [line.strip() for line in self.content if line.strip()]
        names = names or [name for name in known if not name.startswith("_")]
        missing = [name for name in names if name not in known]
        if missing:
            raise self.error(f"{path} has no {', '.join(missing)}.")
        module = self.options.get("module", "")
        text = "\n".join(line for name in names for line in described(known[name], module))
        return self.parse_text_to_nodes(text)


def described(node: Function | ast.ClassDef, module: str = "") -> Iterator[str]:
    """Lines of reStructuredText that describe a function, or a class with its public methods."""
    name = f"{module}.{node.name}" if module else node.name
    if isinstance(node, Function):
        yield f".. py:function:: {name}{signature(node)}"
        yield ""
        yield from _indented(docstring(node, "function"))
        return
    kind = "exception" if _is_exception(node) else "class"
    yield f".. py:{kind}:: {name}{constructor(node)}"
    yield ""
    yield from _indented(docstring(node, kind))
    for method in node.body:
        if isinstance(method, Function) and not method.name.startswith("_") and ast.get_docstring(method):
            yield from _indented(_method(method))


def signature(node: Function, leave_out: int = 0) -> str:
    """Arguments and result as they are written, without the first ones."""
    shown = ast.parse("def f(): pass").body[0].args  # type: ignore[attr-defined]
    shown.__dict__.update(node.args.__dict__)
    shown.args = node.args.args[leave_out:]
    result = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    return f"({ast.unparse(shown)}){result}"


def constructor(node: ast.ClassDef) -> str:
    """Arguments of a class: its fields where it is a dataclass, else those of `__init__`."""
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = [ast.unparse(field) for field in node.body if isinstance(field, ast.AnnAssign)]
        return f"({', '.join(re.sub(r' = field.*', ' = ...', field) for field in fields)})"
    for method in node.body:
        if isinstance(method, Function) and method.name == "__init__":
            return signature(method, 1).removesuffix(" -> None")
    return ""


def docstring(node: Function | ast.ClassDef, what: str) -> list[str]:
    """The docstring as reStructuredText: its sections as Google writes them, and lists of a class's fields."""
    text = LITERAL.sub(_as_literal, ast.get_docstring(node) or "")
    lines = text.splitlines()
    if isinstance(node, ast.ClassDef):
        lines = fields_as_section(lines)
    told = "\n".join(GoogleDocstring(lines, NAPOLEON, what=what).lines())  # some of its lines are several
    return [*told.splitlines(), ""]


def _as_literal(found: re.Match[str]) -> str:
    """`name` in the source is code; a letter that follows must be set off."""
    return f"``{found[1]}``" + ("\\ " if found[2] else "")


def fields_as_section(lines: list[str]) -> list[str]:
    """“name: what it is” at the beginning of a paragraph begins a list of fields; make it a section."""
    told: list[str] = []
    inside = False
    for line in lines:
        if not inside and FIELD.match(line) and (not told or not told[-1].strip()):
            told.append("Attributes:")
            inside = True
        inside = inside and bool(line.strip())
        told.append(f"    {line}" if inside else line)
    return told


def _method(node: Function) -> Iterator[str]:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if decorators & {"property", "cached_property", "functools.cached_property"}:
        yield f".. py:property:: {node.name}"
        if node.returns is not None:
            yield f"{INDENT}:type: {ast.unparse(node.returns)}"
    else:
        static = "staticmethod" in decorators
        yield f".. py:method:: {node.name}{signature(node, 0 if static else 1)}"
        for kind in ("classmethod", "staticmethod"):
            if kind in decorators:
                yield f"{INDENT}:{kind}:"
    yield ""
    yield from _indented(docstring(node, "method"))


def _is_exception(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith(("Exception", "Error")) for base in node.bases)


def _indented(lines: Iterator[str] | list[str]) -> Iterator[str]:
    return (f"{INDENT}{line}" if line else "" for line in lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("from-source", FromSource)
    return {"parallel_read_safe": True}
