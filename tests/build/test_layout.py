# SPDX-License-Identifier: GPL-3.0-or-later
"""Who imports whom: the order of the packages on both sides, read from their source without running it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.paths import ROOT

from tools.package import package_contents

BACKEND = ROOT / "backend" / "diffposetalk"
ADD_ON = ROOT / "blender_addon"

BACKEND_STANDS_ON = {
    "errors": (),
    "phones": (),
    "version": (),
    "terminal": ("errors",),
    "config": ("errors", "version"),
    "files": ("errors",),
    "sound": ("config", "files"),
    "motion": ("config", "files", "phones"),
    "head": ("motion",),
    "networks": ("head", "sound"),
    "diffusion": ("networks",),
    "generation": ("diffusion", "terminal"),
    "tracking": ("head", "sound"),
    "styles": ("generation", "tracking"),
    "lips": ("styles",),
    "convert": ("styles",),
    "batch": ("styles",),
    "server": ("lips", "convert", "batch"),
    "cli": ("server",),
    "__main__": ("cli",),
    "train": ("lips", "convert", "batch"),
    "evaluate": ("train",),
}
"""Of each package or module at the top of the engine those right below it; it may import them and all below them.

What `cli` names by a string, the commands of `train` and `evaluate`, comes last."""

ADD_ON_STANDS_ON = {
    "version": (),
    "data": ("version",),
    "faces": ("data",),
    "takes": ("faces",),
    "client": ("data",),
    "install": ("client",),
    "engine": ("install",),
    "jobs": ("takes", "engine"),
    "api": ("jobs",),
    "ui": ("jobs",),
}
"""The same of the add-on; its `__init__` registers all of them."""

COMMAND_ONLY = {"train", "evaluate"}
"""What nothing reaches but the command line, when that command is called."""
WITHOUT_BLENDER = ("data", "client")
BLENDER = {"aud", "bpy", "bmesh", "mathutils", "bpy_extras", "blf", "gpu", "idprop", "bl_ui", "bl_operators"}


class Import(NamedTuple):
    """A module imports another: names without that of the top package, "" for its `__init__`."""

    importer: str
    imported: str
    line: int
    lazy: bool

    def __str__(self) -> str:
        return f"{self.importer or '__init__'}:{self.line} imports {self.imported or '__init__'}"


def modules(package: Path) -> dict[str, Path]:
    """Modules below a package by their dotted names in it."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if all((package.joinpath(*parts[:k]) / "__init__.py").is_file() for k in range(len(parts))):
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: Path) -> list[Import]:
    """All imports among a package's modules: at the top, inside functions, for types, and by a module's name.

    The version, the one thing that `__init__` of the engine says itself, is no import: it is there before any module.
    """
    known = modules(package)
    found = []
    for module, path in known.items():
        inside = module.split(".") if module else []
        if path.name != "__init__.py":
            inside = inside[:-1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in _targets(node, inside, package.name, known):
                assert target in known, f"{path}:{node.lineno} imports {target}, which is not there"
                if target != module:
                    found.append(Import(module, target, node.lineno, node.col_offset > 0))
    return found


def _targets(node: ast.AST, inside: list[str], top: str, known: Iterable[str]) -> Iterator[str]:
    prefix = f"{top}."
    if isinstance(node, ast.ImportFrom):
        if node.level:
            base = [*inside[: len(inside) - node.level + 1], *([node.module] if node.module else [])]
        elif node.module and f"{node.module}.".startswith(prefix):
            base = node.module.split(".")[1:]
        else:
            return
        for alias in node.names:
            whole = ".".join([*base, alias.name])
            if whole in known:
                yield whole
            elif alias.name != "__version__":
                yield ".".join(base)
    elif isinstance(node, ast.Import):
        yield from (a.name.removeprefix(prefix) for a in node.names if a.name.startswith(prefix))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        named = node.value.removeprefix(prefix)
        if named != node.value and named in known:
            yield named


def foundations(stands_on: dict[str, tuple[str, ...]]) -> dict[str, set[str]]:
    """Of each name all that are below it."""
    below: dict[str, set[str]] = {}
    for name, direct in stands_on.items():  # in an order in which those below come first
        below[name] = set(direct).union(*(below[other] for other in direct))
    return below


@pytest.mark.parametrize(
    ("package", "stands_on"),
    [(BACKEND, BACKEND_STANDS_ON), (ADD_ON, ADD_ON_STANDS_ON)],
    ids=["backend", "addon"],
)
def test_no_import_runs_up(package: Path, stands_on: dict[str, tuple[str, ...]]) -> None:
    below = foundations(stands_on)
    assert {module.split(".")[0] for module in modules(package)} <= {"", *stands_on}
    wrong = []
    for each in imports(package):
        importer, imported = each.importer.split(".")[0], each.imported.split(".")[0]
        by_name = importer == "cli" and each.lazy  # a command's module, imported when it is called
        if importer and importer != imported and imported not in below[importer] and not by_name:
            wrong.append(str(each))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", [BACKEND, ADD_ON], ids=["backend", "addon"])
def test_no_modules_import_each_other(package: Path) -> None:
    """Not over other modules either, not inside functions, not for types alone."""
    graph: dict[str, set[str]] = {name: set() for name in modules(package)}
    for each in imports(package):
        # A package's `__init__` gathers what is in it: its modules may not ask it back, which this finds as well.
        graph[each.importer].add(each.imported)
    assert not circles(graph)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of names that reach each other (Tarjan's strongly connected components of more than one)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            place = stack.index(name)
            if len(stack) - place > 1:
                found.append(sorted(stack[place:]))
            del stack[place:]

    for name in graph:
        if name not in index:
            visit(name)
    return found


def test_only_the_command_line_reaches_training_and_evaluation() -> None:
    for each in imports(BACKEND):
        importer, imported = each.importer.split(".")[0], each.imported.split(".")[0]
        if imported in COMMAND_ONLY and importer not in COMMAND_ONLY:
            assert importer == "cli" and each.lazy, each


def test_features_of_the_interface_do_not_know_each_other() -> None:
    """A feature of `ui` imports `ui.common` and what is below; `ui/__init__` registers them all."""
    wrong = []
    for each in imports(ADD_ON):
        importer, imported = each.importer.split("."), each.imported.split(".")
        if importer[0] == imported[0] == "ui" and len(importer) > 1 and importer[1] != imported[1:2]:
            wrong += [str(each)] if imported[1:2] not in ([importer[1]], ["common"]) else []
    assert not wrong, "\n".join(wrong)


def top_names(path: Path) -> set[str]:
    """Top-level names of what a module imports absolutely."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_engine_knows_no_blender() -> None:
    for path in BACKEND.rglob("*.py"):
        assert not top_names(path) & BLENDER, path


def test_add_on_needs_blender_numpy_and_the_standard_library_only() -> None:
    for path in ADD_ON.rglob("*.py"):
        assert top_names(path) <= {*BLENDER, "numpy", *sys.stdlib_module_names}, path


@pytest.mark.parametrize("name", WITHOUT_BLENDER)
def test_data_and_client_know_no_blender(name: str) -> None:
    for path in (ADD_ON / name).rglob("*.py"):
        assert not top_names(path) & BLENDER, path


def test_training_and_evaluation_are_not_in_the_zip() -> None:
    packed = [name for name, _ in package_contents() if name.startswith("backend/diffposetalk/")]
    assert "backend/diffposetalk/cli/__init__.py" in packed
    assert not [name for name in packed if name.split("/")[2] in COMMAND_ONLY]


@pytest.fixture
def made_package(tmp_path: Path) -> Path:
    """A package in which every rule is broken once."""
    sources = {
        "__init__": "",
        "low": "from .high import thing",
        "high/__init__": "from . import inner",
        "high/inner": "def f():\n    from ..low import x\n",
        "types_only": "if TYPE_CHECKING:\n    from .other import T",
        "other": "from made import types_only\nCOMMANDS = {'a': 'made.high.inner'}",
    }
    for name, text in sources.items():
        path = tmp_path / "made" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "made"


def test_these_tests_see_what_is_wrong(made_package: Path) -> None:
    seen = {(each.importer, each.imported, each.lazy) for each in imports(made_package)}
    assert seen == {
        ("low", "high", False),
        ("high", "high.inner", False),
        ("high.inner", "low", True),
        ("types_only", "other", True),
        ("other", "types_only", False),
        ("other", "high.inner", True),
    }
    graph: dict[str, set[str]] = {}
    for importer, imported, _ in seen:
        graph.setdefault(importer, set()).add(imported)
        graph.setdefault(imported, set())
    assert sorted(circles(graph)) == [["high", "high.inner", "low"], ["other", "types_only"]]
