# SPDX-License-Identifier: GPL-3.0-or-later
"""The take that the active object shows, and operators on it."""

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ...data.errors import UserError
from ...faces.targets import Target
from ...takes import showing
from .work_operator import WorkOperator


def chosen_target(context: bpy.types.Context) -> Target | None:
    """What the active object belongs to, if it can have takes."""
    item = context.active_object
    if item is None or item.type not in ("MESH", "ARMATURE", "EMPTY"):
        return None
    try:
        return showing.target_of(item)
    except UserError:
        return None


def active_take(context: bpy.types.Context) -> bpy.types.Action | None:
    target = chosen_target(context)
    return showing.shown_take(target.owner, target) if target is not None else None


class TakeOperator(WorkOperator):
    """An operator on the take that the active object shows."""

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        return missing_take(context)

    def act(self, context: bpy.types.Context) -> str:
        target, action = chosen_target(context), active_take(context)
        if target is None or action is None:
            raise UserError("The active object shows no take.")
        return self.work(context, action, target)

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        """Do it, and say what was done. Raises UserError."""
        raise NotImplementedError


def missing_take(context: bpy.types.Context) -> str:
    """What to do where the active object shows no take; empty where it shows one."""
    return rpt_("Make a head with a take active: Generate makes one") if active_take(context) is None else ""
