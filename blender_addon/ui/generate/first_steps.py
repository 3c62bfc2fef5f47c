# SPDX-License-Identifier: GPL-3.0-or-later
"""The card that a new user sees in place of the controls: a talking head in three clicks."""

import bpy

from ...data import bundled
from ...data.errors import UserError
from ...engine import session
from ...faces.rig import HEAD_MARK
from ...install.preferences import addon_preferences
from ...version import ADDON
from ..common import job_status
from ..common.work_operator import NamedOperator, WorkOperator
from ..common.wrapped_text import draw_text


def wanted() -> bool:
    """Whether the card is shown: until the first motion has been generated, or the card was closed."""
    return bool(addon_preferences().first_steps)


def backend_problem() -> str:
    """Why the backend cannot be started, and what to do; empty where it can."""
    try:
        session.backend_python()
    except UserError as error:
        return str(error)
    return ""


def draw_backend_problem(layout: bpy.types.UILayout, problem: str, width: int) -> None:
    """Say what is wrong with the backend, with the way to the preferences."""
    draw_text(layout, problem, width, "ERROR")
    layout.operator("preferences.addon_show", text="Open Preferences", icon="PREFERENCES").module = ADDON


def _step(column: bpy.types.UILayout, done: bool) -> bpy.types.UILayout:
    row = column.row()
    row.enabled = not done
    return row


def _mark(done: bool) -> str:
    return "CHECKMARK" if done else "NONE"


def draw_card(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The three steps, each with its button; what is done has a check mark."""
    settings = context.scene.diffposetalk
    status = context.window_manager.diffposetalk_status
    box = layout.box()
    row = box.row()
    row.label(text="First Animation in Three Clicks", icon="INFO")
    row.operator("diffposetalk.hide_first_steps", text="", icon="X", emboss=False)
    problem = backend_problem()
    if problem:
        draw_backend_problem(box, problem, context.region.width)
        return
    column = box.column()
    column.scale_y = 1.3
    column.enabled = not status.running
    has_head = any(item.get(HEAD_MARK) for item in context.selected_objects)
    has_audio = bool(settings.audio_path)
    add = _step(column, has_head).operator("diffposetalk.add_head", text="1.  Add Head", icon=_mark(has_head))
    add.source, add.identity = settings.head_source, settings.head_identity
    row = _step(column, has_audio)
    row.operator("diffposetalk.use_example", text="2.  Use Example Clip", icon=_mark(has_audio))
    column.operator("diffposetalk.generate", text="3.  Generate")
    job_status.draw_status(box, status, context.region.width)


class DIFFPOSETALK_OT_use_example(WorkOperator):
    """Choose the recording that comes with the add-on: eleven seconds of a speech"""

    bl_label = "Use Example Clip"

    def act(self, context: bpy.types.Context) -> str:
        settings = context.scene.diffposetalk
        settings.audio_source, settings.audio_path = "FILE", str(bundled.EXAMPLE_CLIP)
        return ""


class DIFFPOSETALK_OT_hide_first_steps(NamedOperator):
    """Show all controls instead. The add-on's preferences bring the first steps back"""

    bl_label = "Show All Controls"

    def execute(self, context: bpy.types.Context) -> set[str]:
        addon_preferences().first_steps = False
        return {"FINISHED"}
