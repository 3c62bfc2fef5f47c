# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons that install, repair, extend and remove the backend, and the text that describes it for a report."""

from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import BoolProperty

from ...data.errors import UserError
from ...engine import session
from ...engine.job import BackendJob, Steps
from ...install import environment as backend_setup
from ...install.environment import ALIGNMENT, TRACKING, Extra
from ...install.preferences import addon_preferences, package_sources_chosen
from ...install.setup import SetupJob
from ...jobs import diagnostics
from ..common import job_status
from ..common.job_operator import JobOperator
from ..common.work_operator import WorkOperator

BACKEND_PAGE = "BACKEND"


class SetupOperator(JobOperator):
    """An operator that downloads packages, and shows what the tools say meanwhile."""

    job: SetupJob
    place = BACKEND_PAGE

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        if not bpy.app.online_access and not addon_preferences().wheels_only:
            return rpt_(
                "Turn on Allow Online Access in Preferences, System; or choose a wheel folder and Only These"
            )
        return super().obstacle(context)

    def begin(self, extras: tuple[Extra, ...] = (), *, anew: bool = False) -> SetupJob:
        """Start installing. Raises UserError."""
        job = SetupJob(package_sources_chosen(), extras, anew=anew)
        session.stop()  # its files are about to be replaced
        return job

    def _advance(self, context: bpy.types.Context) -> str:
        state = super()._advance(context)
        job_status.setup_log[:] = self.job.log
        return state

    def finish(self, context: bpy.types.Context) -> str:
        preferences = addon_preferences()
        preferences.backend_python = ""
        job_status.setup_log.clear()
        environment = backend_setup.current_environment()
        assert environment is not None
        facts = environment.facts
        if facts["chosen_device"] == "cpu":  # the one that was found does not work
            preferences.device = "cpu"
        text = rpt_(
            "The backend is set up: PyTorch {torch}, device {device}, a second of motion in {seconds:.1f} s"
        ).format(torch=facts["torch"], device=facts["device"], seconds=facts["check_seconds"])
        return " ".join([f"{text}.", *self.job.notes])


class DIFFPOSETALK_OT_setup_backend(SetupOperator):
    """Download the backend's packages into the add-on's own folder, and test them by generating a second of motion"""

    bl_label = "Set Up Backend"

    anew: BoolProperty(
        name="Download Everything Again",
        description="Use nothing that was downloaded before, as one of the files may be damaged",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        if properties.anew:
            return rpt_(
                "Download and install the backend's packages again, for when the backend does not start any more"
            )
        return rpt_(str(cls.__doc__))

    def start(self, context: bpy.types.Context) -> SetupJob:
        return self.begin(anew=self.anew)


class ExtraOperator(SetupOperator):
    """An operator that installs more packages beside the backend's."""

    extra: Extra

    def finish(self, context: bpy.types.Context) -> str:
        installed = rpt_("{name} is installed, and starts").format(name=self.extra.title)
        return f"{installed}. {super().finish(context)}"

    def start(self, context: bpy.types.Context) -> SetupJob:
        if addon_preferences().backend_python:
            raise UserError(f"In the Python that you chose as Backend Python, run: {self.extra.by_hand}.")
        return self.begin((self.extra,))


class DIFFPOSETALK_OT_install_tracking(ExtraOperator):
    """Download MediaPipe and PyAV (about 200 MB) beside the backend's packages, to take motion from video"""

    bl_label = "Install Video Tracking"
    extra = TRACKING


class DIFFPOSETALK_OT_install_alignment(ExtraOperator):
    """Download PocketSphinx (30 MB) beside the backend's packages, to mark the words of transcripts"""

    bl_label = "Install Word Alignment"
    extra = ALIGNMENT


class DIFFPOSETALK_OT_remove_backend(WorkOperator):
    """Delete the backend's packages from the add-on's folder. Styles, heads, models and uv's cache stay"""

    bl_label = "Remove Backend"
    bl_options = {"REGISTER"}
    place = BACKEND_PAGE

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        if context.window_manager.diffposetalk_status.running:
            return rpt_("A job is running: wait for it, or cancel it")
        return (
            rpt_("The add-on has installed no backend") if backend_setup.current_environment() is None else ""
        )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)  # type: ignore[no-any-return]

    def act(self, context: bpy.types.Context) -> str:
        session.stop()
        backend_setup.remove_environment()
        job_status.setup_log.clear()
        return rpt_("The backend was removed")


class DIFFPOSETALK_OT_copy_diagnostics(WorkOperator):
    """Copy versions, device, settings, the last error and the ends of the logs, without passwords or your name"""

    bl_label = "Copy Diagnostics"
    bl_options = {"REGISTER"}
    place = BACKEND_PAGE

    def act(self, context: bpy.types.Context) -> str:
        manager = context.window_manager
        manager.clipboard = diagnostics.describe(manager.diffposetalk_status.error)
        return rpt_("The diagnostics are on the clipboard")


class BackendCheck(BackendJob):
    """Starting the backend; `greeting` is what it says of itself."""

    greeting: dict[str, Any]

    def _run(self) -> Steps:
        yield from self.start_backend()
        self.greeting = session.greeting()


class DIFFPOSETALK_OT_check_backend(JobOperator):
    """Start the backend, and show its version and device"""

    bl_label = "Check Backend"
    place = BACKEND_PAGE
    job: BackendCheck

    def start(self, context: bpy.types.Context) -> BackendCheck:
        return BackendCheck(rpt_("Starting the backend"))

    def finish(self, context: bpy.types.Context) -> str:
        text = rpt_("Backend {version} runs: Python {python}, Torch {torch}, device {device}")
        return text.format(**self.job.greeting)
