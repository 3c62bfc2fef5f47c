# SPDX-License-Identifier: GPL-3.0-or-later
"""The take that the active object shows, and operators on it."""

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ...data.errors import UserError
from ...faces.targets import Target
from ...takes import showing


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
    """The take that the active object shows."""
    target = chosen_target(context)
    return showing.shown_take(target.owner, target) if target is not None else None


class TakeOperator(bpy.types.Operator):
    """An operator on the take that the active object shows."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The active object must show a take."""
        if active_take(context) is None:
            cls.poll_message_set(rpt_("Make a head with a take active: Generate makes one"))
            return False
        return True

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        """Do it, and say what was done. Raises UserError."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do the work and report."""
        target, action = chosen_target(context), active_take(context)
        if target is None or action is None:
            self.report({"ERROR"}, "The active object shows no take.")
            return {"CANCELLED"}
        try:
            text = self.work(context, action, target)
        except UserError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, text)
        return {"FINISHED"}
