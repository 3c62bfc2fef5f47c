# SPDX-License-Identifier: GPL-3.0-or-later
"""Every text of the add-on's interface: from Blender's own description of its classes, and from what panels draw."""

import ast
import inspect
import sys
from pathlib import Path
from types import ModuleType

import bpy

ADDON = "bl_ext.user_default.diffposetalk"
DRAWN = {
    "label",
    "operator",
    "prop",
    "operator_menu_enum",
    "prop_search",
    "progress",
    "menu",
    "row",
    "column",
}
NAMED = {"text", "heading"}
HELPERS = {"_control": 1, "draw_text": 1, "rpt_": 0, "n_": 0}  # functions, and the argument that is shown


def classes(addon: ModuleType) -> list[type]:
    """All classes that the add-on registers."""
    classes_of = sys.modules[f"{ADDON}.ui.common.feature"].classes_of
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith(f"{ADDON}.ui.")]
    return [cls for module in modules for cls in classes_of(module)]


def described(cls: type) -> set[str]:
    """What Blender shows of a class: its label, its tooltip, its properties and their choices."""
    texts = {getattr(cls, "bl_label", "")}
    if issubclass(cls, bpy.types.Operator):
        texts.add(getattr(cls, "bl_description", "") or inspect.cleandoc(cls.__doc__ or ""))
    own = {
        name
        for base in cls.__mro__
        if base.__module__.startswith(ADDON)
        for name in vars(base).get("__annotations__", ())
    }
    shown = cls.bl_rna
    if issubclass(cls, bpy.types.Operator):
        shown = getattr(bpy.ops.diffposetalk, cls.bl_idname.partition(".")[2]).get_rna_type()
    for prop in shown.properties:
        if prop.identifier not in own or prop.is_hidden or prop.name == prop.identifier:
            continue
        texts |= {prop.name, prop.description}
        if prop.type == "ENUM":
            for item in prop.enum_items_static:
                texts |= {item.name, item.description}
    return texts


def drawn(folder: Path) -> set[str]:
    """The texts that the add-on's modules put into layouts."""
    texts = set()
    for path in folder.rglob("*.py"):
        if path.is_relative_to(folder / "backend"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in DRAWN:
                shown = [word.value for word in node.keywords if word.arg in NAMED]
                unpacked = [
                    part for word in node.keywords if word.arg is None for part in ast.walk(word.value)
                ]
                shown += [
                    value
                    for part in unpacked
                    if isinstance(part, ast.Dict)
                    for name, value in zip(part.keys, part.values, strict=True)
                    if isinstance(name, ast.Constant) and name.value in NAMED
                ]
            elif called in HELPERS and len(node.args) > HELPERS[called]:
                shown = [node.args[HELPERS[called]]]
            else:
                continue
            for value in shown:
                for part in ast.walk(value) if isinstance(value, ast.IfExp) else [value]:
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        texts.add(part.value)
    return texts


def ui_strings(addon: ModuleType) -> list[str]:
    """All of them, sorted, without what holds no letters."""
    texts = drawn(Path(addon.__file__).parent)
    for cls in classes(addon):
        texts |= described(cls)
    return sorted(text for text in texts if any(letter.isalpha() for letter in text))
