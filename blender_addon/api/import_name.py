# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets scripts say `import diffposetalk`.

Extensions live under names such as `bl_ext.user_default.diffposetalk`, and Blender warns of those that put
other modules into the interpreter. So nothing is put there until a script asks for it by name.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

from . import console

NAME = "diffposetalk"


class ConsoleFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the one module NAME, which holds the public names of `console`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self) if fullname == NAME else None

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = console.__doc__
        module.__dict__.update({name: getattr(console, name) for name in console.__all__})


_finder = ConsoleFinder()


def register() -> None:
    sys.meta_path.insert(0, _finder)


def unregister() -> None:
    sys.meta_path.remove(_finder)
    if getattr(sys.modules.get(NAME), "__loader__", None) is _finder:
        del sys.modules[NAME]
