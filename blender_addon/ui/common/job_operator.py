# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators whose work is a job: modal with progress in a window, blocking in a script; and Cancel."""

import time
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ...client import BackendError
from ...data.errors import UserError
from ...install.course import Job
from . import job_status
from .work_operator import NamedOperator

TIMER_SECONDS = 0.1


class JobOperator(NamedOperator):
    """An operator whose work is a job: modal with progress in a window, blocking in a script."""

    job: Job
    timer: bpy.types.Timer
    place = job_status.PANELS  # where it is said how the job ended

    def start(self, context: bpy.types.Context) -> Job:
        """Start the job. Raises UserError or BackendError."""
        raise NotImplementedError

    def finish(self, context: bpy.types.Context) -> str:
        """Called when the job is done; returns a sentence for the user. Raises UserError."""
        raise NotImplementedError

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        running = context.window_manager.diffposetalk_status.running
        return rpt_("A job is running: wait for it, or cancel it") if running else ""

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Start, and go on beside the user's work."""
        if not self._begin(context):
            return {"CANCELLED"}
        if self._advance(context) != "running":
            return self._conclude(context)
        self.timer = context.window_manager.event_timer_add(TIMER_SECONDS, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Look after the job at every tick; every other event goes to the window."""
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        if context.window_manager.diffposetalk_status.cancel_requested:
            self.job.cancel()
        if self._advance(context) == "running":
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self.timer)
        return self._conclude(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self._begin(context):
            return {"CANCELLED"}
        while self._advance(context) == "running":
            time.sleep(TIMER_SECONDS / 2)
        return self._conclude(context)

    def go(self, context: bpy.types.Context) -> set[str]:
        """For an `execute` that a dialog calls: go on beside the user's work where there is a window, else wait."""
        if bpy.app.background or context.window is None:
            return JobOperator.execute(self, context)
        return JobOperator.invoke(self, context, None)

    def cancel(self, context: bpy.types.Context) -> None:
        """Another file is loaded, or Blender quits: give the job up."""
        self.job.cancel()
        while self.job.poll() == "running":
            time.sleep(TIMER_SECONDS / 2)
        context.window_manager.event_timer_remove(self.timer)
        self._show(context, running=False)

    def _show(self, context: bpy.types.Context, **state: Any) -> None:
        job_status.show(context, place=self.place, **state)

    def _begin(self, context: bpy.types.Context) -> bool:
        try:
            self.job = self.start(context)
        except (UserError, BackendError) as error:
            self._fail(context, error)
            return False
        except OSError as error:
            self._fail(
                context, UserError(f"A file cannot be used: {error.strerror or error}: {error.filename}.")
            )
            return False
        self._show(context, running=True, text=self.job.text)
        return True

    def _advance(self, context: bpy.types.Context) -> str:
        state = self.job.poll()
        self._show(context, running=True, progress=self.job.progress, text=self.job.text)
        return state

    def _conclude(self, context: bpy.types.Context) -> set[str]:
        state = self.job.poll()
        if state == "done":
            try:
                text = self.finish(context)
            except UserError as error:
                self._fail(context, error)
                return {"CANCELLED"}
            except BaseException:
                self._show(
                    context, running=False, error="An internal error occurred; see the system console."
                )
                raise
            self._show(context, running=False, text=text)
            self.report({"INFO"}, text)
            return {"FINISHED"}
        if state == "cancelled":
            self._show(context, running=False, text=rpt_("Cancelled; nothing was changed"))
            self.report({"WARNING"}, rpt_("Cancelled"))
            return {"CANCELLED"}
        self._fail(context, self.job.failure or UserError("The job failed."))
        return {"CANCELLED"}

    def _fail(self, context: bpy.types.Context, error: Exception) -> None:
        self._show(context, running=False, error=str(error))
        self.report({"ERROR"}, str(error))


class DIFFPOSETALK_OT_cancel(NamedOperator):
    """Cancel the running job; nothing is changed"""

    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.window_manager.diffposetalk_status.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.diffposetalk_status.cancel_requested = True
        return {"FINISHED"}
