# SPDX-License-Identifier: GPL-3.0-or-later
"""What the functions for scripts share: one undo step each, objects alone or in a list, styles by any name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import bpy

from ..data.errors import UserError
from ..data.mapping import PARTS

Objects: TypeAlias = bpy.types.Object | Sequence[bpy.types.Object]
Paths: TypeAlias = str | Path | Sequence[str | Path]
Style: TypeAlias = str | Path | dict[str, Any] | None


def push_undo(message: str) -> None:
    """Make what was done one undo step; Blender does so itself only for operators of the window."""
    if not bpy.app.background:
        bpy.ops.ed.undo_push(message=message)


def listed(objects: Objects) -> list[bpy.types.Object]:
    return [objects] if isinstance(objects, bpy.types.Object) else list(objects)


def checked_parts(parts: Sequence[str]) -> frozenset[str]:
    chosen = frozenset(parts)
    if not chosen <= set(PARTS):
        raise UserError(f"The parts are {', '.join(PARTS)}, not “{sorted(chosen - set(PARTS))[0]}”.")
    return chosen
