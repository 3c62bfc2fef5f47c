# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators with their name, and those whose work is done at once."""

import bpy

from ...data.errors import UserError
from . import job_status


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
    place = job_status.PANELS  # where it is said what was done

    def act(self, context: bpy.types.Context) -> str:
        """Do it. Returns a sentence for the user, or nothing. Raises UserError."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            text = self.act(context)
        except UserError as error:
            self._tell(context, error=str(error))
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if text:
            self._tell(context, text=text)
            self.report({"INFO"}, text)
        return {"FINISHED"}

    def _tell(self, context: bpy.types.Context, text: str = "", error: str = "") -> None:
        """Let the panel say it in place of what went before, but not of a job that runs."""
        if not context.window_manager.diffposetalk_status.running:
            job_status.show(context, running=False, text=text, error=error, place=self.place)
