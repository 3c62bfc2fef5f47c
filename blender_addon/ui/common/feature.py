# SPDX-License-Identifier: GPL-3.0-or-later
"""How a feature of the interface is made known to Blender."""

from collections.abc import Callable
from types import ModuleType

import bpy


def feature(*modules: ModuleType) -> tuple[Callable[[], None], Callable[[], None]]:
    """`register` and `unregister` of a feature, which goes in the other order.

    Args:
        modules: each may have classes, name properties of Blender's own types (PROPERTIES: type, name, property),
            and what it does itself (`register`, `unregister`). All classes come first.
    """
    classes = [cls for module in modules for cls in classes_of(module)]
    register_classes, unregister_classes = bpy.utils.register_classes_factory(classes)

    def register() -> None:
        register_classes()
        for module in modules:
            for owner, name, value in getattr(module, "PROPERTIES", ()):
                setattr(owner, name, value)
            getattr(module, "register", _nothing)()

    def unregister() -> None:
        for module in reversed(modules):
            getattr(module, "unregister", _nothing)()
            for owner, name, _ in reversed(getattr(module, "PROPERTIES", ())):
                delattr(owner, name)
        unregister_classes()

    return register, unregister


def classes_of(module: ModuleType) -> list[type]:
    """A module's classes that Blender is to know: those it made (CLASSES), and those it defines under our prefix."""
    own = [item for item in vars(module).values() if getattr(item, "__module__", "") == module.__name__]
    defined = [
        item for item in own if isinstance(item, type) and item.__name__.lower().startswith("diffposetalk")
    ]
    return [*getattr(module, "CLASSES", ()), *defined]


def _nothing() -> None:
    pass
