# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators whose work is done at once."""

import bpy

from ...data.errors import UserError


class WorkOperator(bpy.types.Operator):
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
