# SPDX-License-Identifier: GPL-3.0-or-later
"""How a feature of the interface is made known to Blender."""

from collections.abc import Callable
from types import ModuleType

import bpy


def feature(*modules: ModuleType) -> tuple[Callable[[], None], Callable[[], None]]:
    """`register` and `unregister` of a feature, which goes in the other order.

    Args:
        modules: each may name its classes (CLASSES), properties of Blender's own types (PROPERTIES: type, name,
            property), and what it does itself (`register`, `unregister`). All classes come first.
    """
    classes = [cls for module in modules for cls in getattr(module, "CLASSES", ())]
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


def _nothing() -> None:
    pass
