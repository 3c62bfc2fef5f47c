# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators with their name, and those whose work is done at once."""

import bpy

from ...data.errors import UserError


class NamedOperator(bpy.types.Operator):
    """An operator that is called as its class: `DIFFPOSETALK_OT_step_take` is `diffposetalk.step_take`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.bl_idname = cls.__name__.lower().replace("_ot_", ".", 1)

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        """Why it cannot be used now, which its grey button says; empty where it can."""
        return ""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        text = cls.obstacle(context)
        if text:
            cls.poll_message_set(text)
        return not text


class WorkOperator(NamedOperator):
    """An operator that reports what it did, or why it could not."""

    bl_options = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context) -> str:
        """Do it. Returns a sentence for the user, or nothing. Raises UserError."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            text = self.act(context)
        except UserError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if text:
            self.report({"INFO"}, text)
        return {"FINISHED"}
