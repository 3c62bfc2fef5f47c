# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons of the style library: rename, delete, export."""

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import StringProperty
from bpy_extras.io_utils import ExportHelper

from ...data import style_library
from ...data.errors import UserError
from ...jobs import style_list
from ..common.reference import select_style
from ..common.work_operator import WorkOperator


def chosen_style(context: bpy.types.Context) -> style_library.LibraryStyle:
    """The style of the library that the menu shows. Raises UserError where a preset is chosen, or none."""
    identifier = context.scene.diffposetalk.style
    for style in style_list.own_styles(fresh=True):
        if style_list.OWN + style.name == identifier:
            return style
    raise UserError("This style comes with the model. Choose a style of your own.")


class _LibraryOperator(WorkOperator):
    """An operator on the chosen style of the library."""

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        own = context.scene.diffposetalk.style.startswith(style_list.OWN)
        return "" if own else rpt_("Choose a style of your own: this one comes with the model")

    def act(self, context: bpy.types.Context) -> str:
        return self.work(context, chosen_style(context))

    def work(self, context: bpy.types.Context, style: style_library.LibraryStyle) -> str:
        """Do it. Returns a sentence for the user. Raises UserError."""
        raise NotImplementedError


class DIFFPOSETALK_OT_rename_style(_LibraryOperator):
    """Give the chosen style of your library another name"""

    bl_label = "Rename Style"

    style_name: StringProperty(name="Name", description="The new name", maxlen=style_library.MAX_NAME)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.style_name = context.scene.diffposetalk.style.removeprefix(style_list.OWN)
        return context.window_manager.invoke_props_dialog(self)

    def work(self, context: bpy.types.Context, style: style_library.LibraryStyle) -> str:
        path = style_library.rename_style(style, self.style_name)
        select_style(context, path)
        return rpt_("Renamed “{old}” to “{new}”").format(old=style.name, new=path.stem)


class DIFFPOSETALK_OT_delete_style(_LibraryOperator):
    """Remove the chosen style from your library, and its file from the disk"""

    bl_label = "Delete Style"
    bl_options = {"REGISTER"}  # a file's removal is not undone

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def work(self, context: bpy.types.Context, style: style_library.LibraryStyle) -> str:
        style_library.delete_style(style)
        left = style_list.choices(fresh=True)
        if left:
            context.scene.diffposetalk.style = left[0].identifier
        return rpt_("Deleted “{name}”").format(name=style.name)


class DIFFPOSETALK_OT_export_style(_LibraryOperator, ExportHelper):
    """Copy the chosen style of your library to a file that others can import"""

    bl_label = "Export Style"
    bl_options = {"REGISTER"}
    filename_ext = style_library.SUFFIX
    filter_glob: StringProperty(default=f"*{style_library.SUFFIX}", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.filepath = context.scene.diffposetalk.style.removeprefix(style_list.OWN) + style_library.SUFFIX
        return ExportHelper.invoke(self, context, event)

    def work(self, context: bpy.types.Context, style: style_library.LibraryStyle) -> str:
        path = style_library.export_style(style, Path(bpy.path.abspath(self.filepath)))
        return rpt_("Exported {path}").format(path=path)
