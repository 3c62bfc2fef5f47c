# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""The buttons. Each takes its settings from the window and leaves the work to the functions beside it."""

import random
import time
from pathlib import Path
from typing import Any, Protocol

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from . import (
    audio_strip,
    backend_session,
    exporting,
    flame_file,
    job_status,
    placing,
    presets,
    properties,
    rig,
    style_choice,
    targets,
)
from .audio_strip import AudioSpan
from .backend_client import BackendError, Call
from .errors import UserError
from .flame_file import FlameHead
from .generation_job import GenerationJob, GenerationSettings, Speech
from .head_asset import HeadAsset, load_shape
from .preferences import addon_preferences, chosen_model_directory
from .workflow_properties import FBX_ITEMS, chosen_parts

TIMER_SECONDS = 0.1


class Job(Protocol):
    """What a modal operator drives."""

    text: str
    progress: float
    failure: Exception | None

    def poll(self) -> str:
        """Go on without waiting; "running", "done", "failed" or "cancelled"."""

    def cancel(self) -> None:
        """Give up."""


class JobOperator(bpy.types.Operator):
    """An operator whose work is a job: modal with progress in a window, blocking in a script."""

    job: Job
    timer: bpy.types.Timer

    def start(self, context: bpy.types.Context) -> Job:
        """Start the job. Raises UserError or BackendError."""
        raise NotImplementedError

    def finish(self, context: bpy.types.Context) -> str:
        """Called when the job is done; returns a sentence for the user. Raises UserError."""
        raise NotImplementedError

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One job at a time."""
        if context.window_manager.diffposetalk_status.running:
            cls.poll_message_set(rpt_("A job is running: wait for it, or cancel it"))
            return False
        return True

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
        """Start, and wait until it has ended."""
        if not self._begin(context):
            return {"CANCELLED"}
        while self._advance(context) == "running":
            time.sleep(TIMER_SECONDS / 2)
        return self._conclude(context)

    def cancel(self, context: bpy.types.Context) -> None:
        """Another file is loaded, or Blender quits: give the job up."""
        self.job.cancel()
        while self.job.poll() == "running":
            time.sleep(TIMER_SECONDS / 2)
        context.window_manager.event_timer_remove(self.timer)
        job_status.show(context, running=False)

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
        job_status.show(context, running=True, text=self.job.text)
        return True

    def _advance(self, context: bpy.types.Context) -> str:
        state = self.job.poll()
        job_status.show(context, running=True, progress=self.job.progress, text=self.job.text)
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
                job_status.show(
                    context, running=False, error="An internal error occurred; see the system console."
                )
                raise
            job_status.show(context, running=False, text=text)
            self.report({"INFO"}, text)
            return {"FINISHED"}
        if state == "cancelled":
            job_status.show(context, running=False, text=rpt_("Cancelled; nothing was changed"))
            self.report({"WARNING"}, rpt_("Cancelled"))
            return {"CANCELLED"}
        self._fail(context, self.job.failure or UserError("The job failed."))
        return {"CANCELLED"}

    def _fail(self, context: bpy.types.Context, error: Exception) -> None:
        job_status.show(context, running=False, error=str(error))
        self.report({"ERROR"}, str(error))


class BundledHead:
    """The job of finding the bundled head, which is done at once."""

    text = "Reading the head"
    progress = 0.0
    failure: Exception | None = None

    def __init__(self) -> None:
        self.head: HeadAsset = presets.bundled_head()

    def poll(self) -> str:
        """It is there."""
        return "done"

    def cancel(self) -> None:
        """There is nothing to give up."""


class DIFFPOSETALK_OT_add_head(JobOperator):
    """Add a head at the 3D cursor, or beside what stands there: a mesh with shape keys, and an armature"""

    bl_idname = "diffposetalk.add_head"
    bl_label = "Add Head"
    bl_options = {"REGISTER", "UNDO"}
    job: BundledHead | FlameHead

    source: EnumProperty(name="Head", description="Which head to add", items=properties.HEAD_SOURCES)
    identity: StringProperty(
        name="Identity",
        description="File of identity coefficients of the head (.npy, or .npz with “shape”). Empty: the mean face",
        subtype="FILE_PATH",
    )

    def start(self, context: bpy.types.Context) -> BundledHead | FlameHead:
        """Find the head; FLAME is converted the first time."""
        self.shape = load_shape(bpy.path.abspath(self.identity)) if self.identity else None
        return BundledHead() if self.source == "BUNDLED" else FlameHead(flame_file.chosen_flame_file())

    def finish(self, context: bpy.types.Context) -> str:
        """Add it."""
        name = "Head" if self.source == "BUNDLED" else None
        mesh, armature = rig.add_head(context, self.job.head, name, self.shape)
        if self.options.is_invoke:  # scripts place it themselves
            placing.put_beside(context, mesh, armature)
            placing.show(context, mesh)
        return rpt_("Added {name}").format(name=mesh.name)


class DIFFPOSETALK_OT_generate(JobOperator):
    """Make face and head motion from the speech, and key it on the selected heads"""

    bl_idname = "diffposetalk.generate"
    bl_label = "Generate"
    bl_options = {"REGISTER", "UNDO"}
    job: GenerationJob

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One job at a time, and somebody who says something."""
        if not super().poll(context):
            return False
        missing = missing_for_generate(context)
        if missing:
            cls.poll_message_set(missing)
        return not missing

    def start(self, context: bpy.types.Context) -> GenerationJob:
        """Start generating with the scene's settings."""
        settings = context.scene.diffposetalk
        if settings.random_seed:
            settings.seed = random.randint(0, 99999)
        speech = Speech(
            speech_span(context),
            tuple(speakers(context)),
            settings.place_sound and settings.audio_source == "FILE",
        )
        return GenerationJob(context.scene, [speech], generation_settings(settings))

    def finish(self, context: bpy.types.Context) -> str:
        """Say what was keyed."""
        addon_preferences().first_steps = False
        result = self.job.results[0]
        if result.warnings:
            self.report({"WARNING"}, " ".join(result.warnings))
        # From 5.0 on the sequencer shows the scene that the workspace names, at first none.
        if result.strip is not None and getattr(context.workspace, "sequencer_scene", context.scene) is None:
            context.workspace.sequencer_scene = context.scene
        names = ", ".join(item.name for item in result.objects)
        count = len(result.seeds)
        text = rpt_("Keyed {takes} on {names}, frames {first} to {last}").format(
            takes=rpt_("1 take") if count == 1 else rpt_("{count} takes").format(count=count),
            names=names,
            first=round(result.start_frame),
            last=result.last_frame,
        )
        if result.residual is not None:
            text += rpt_(
                "; converted to the head's basis, {mean:.2f} mm off on average and 95 % within {most:.2f} mm"
            ).format(mean=result.residual["mean"], most=result.residual["p95"])
        return text


def missing_for_generate(context: bpy.types.Context) -> str:
    """What is still to be chosen before Generate can begin, and how; empty where nothing is."""
    try:
        if not any(targets.could_speak(item) for item in speakers(context)):
            return rpt_(targets.NOBODY)
        speech_span(context)
    except UserError as error:
        return str(error)
    return ""


def speakers(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected meshes and armatures; the active object where none is selected.

    Raises:
        UserError: there is none.
    """
    chosen = [item for item in context.selected_objects if item.type in ("MESH", "ARMATURE")]
    if not chosen and context.object is not None and context.object.mode != "OBJECT":
        chosen = [context.object]
    if not chosen:
        raise UserError(rpt_(targets.NOBODY))
    return chosen


def speech_span(context: bpy.types.Context) -> AudioSpan:
    """The recording that the panel names, and where it begins.

    Raises:
        UserError: there is none.
    """
    settings = context.scene.diffposetalk
    if settings.audio_source == "STRIP":
        strip = audio_strip.active_sound_strip(context)
        if strip is None:
            raise UserError(
                rpt_("No sound strip is active in the sequencer. Select one, or choose an audio file.")
            )
        return audio_strip.span_of_strip(strip, context.scene)
    path = audio_strip.check_audio_path(settings.audio_path)
    frame = context.scene.frame_current if settings.start_at == "CURRENT" else settings.start_frame
    return AudioSpan(path, 0.0, None, frame)


def generation_settings(settings: properties.DiffPoseTalkSettings) -> GenerationSettings:
    """The panel's settings as the job takes them.

    Raises:
        UserError: a style is missing, or not there any more; a draft is wanted of a model without one.
    """

    if settings.quality == "DRAFT" and not presets.has_draft(chosen_model_directory()):
        raise UserError("The chosen model has no draft. Set Quality to Final.")

    def chosen(name: str) -> Any:
        """A setting; None, which is the model's own, until it has been changed."""
        return getattr(settings, name) if settings.is_property_set(name) else None

    return GenerationSettings(
        seeds=tuple(min(settings.seed + take, properties.MAX_SEED) for take in range(settings.takes)),
        style=style_choice.panel_style(settings),
        head_motion=settings.head_motion,
        head_strength=settings.head_strength,
        head_bone=settings.head_bone,
        speech_guidance=chosen("speech_guidance"),
        style_guidance=chosen("style_guidance"),
        sampler=chosen("sampler"),
        steps=chosen("steps") if settings.sampler != "ddpm" else None,
        quality=settings.quality.lower(),
        model_directory=chosen_model_directory(),
        device=addon_preferences().device,
        convert_basis=settings.convert_basis,
        parts=chosen_parts(settings.id_data),
        stream=settings.id_data.diffposetalk_workflow.stream and not bpy.app.background,
    )


class DIFFPOSETALK_OT_cancel(bpy.types.Operator):
    """Give up the running job; nothing is changed"""

    bl_idname = "diffposetalk.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only while a job runs."""
        return context.window_manager.diffposetalk_status.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Tell the job's operator."""
        context.window_manager.diffposetalk_status.cancel_requested = True
        return {"FINISHED"}


class DIFFPOSETALK_OT_new_seed(bpy.types.Operator):
    """Draw another seed"""

    bl_idname = "diffposetalk.new_seed"
    bl_label = "New Seed"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Draw it."""
        context.scene.diffposetalk.seed = random.randint(0, 99999)
        return {"FINISHED"}


class ExportOperator(bpy.types.Operator, ExportHelper):
    """An operator that writes the selected heads to a chosen file."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Something must be selected."""
        if not context.selected_objects:
            cls.poll_message_set(rpt_("Select a head first"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the file."""
        try:
            path = self.export(context, context.selected_objects, self.filepath)
        except UserError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if unplayed := exporting.unplayed(context.selected_objects):
            self.report({"WARNING"}, " ".join(unplayed))
        self.report({"INFO"}, rpt_("Exported {path}").format(path=path))
        return {"FINISHED"}


class DIFFPOSETALK_OT_export_fbx(ExportOperator):
    """Export the selected heads with bones, shape keys and every keyed frame"""

    bl_idname = "diffposetalk.export_fbx"
    bl_label = "Export FBX"
    filename_ext = ".fbx"
    filter_glob: StringProperty(default="*.fbx", options={"HIDDEN"})
    preset: EnumProperty(name="For", description="Axes and scale of the file", items=FBX_ITEMS)

    def export(self, context: bpy.types.Context, objects: list[bpy.types.Object], path: str) -> Path:
        """Write it with the chosen conventions. Raises UserError."""
        return exporting.export_fbx(context, objects, path, preset=self.preset)


class DIFFPOSETALK_OT_export_alembic(ExportOperator):
    """Export the selected heads as a vertex cache of every keyed frame"""

    bl_idname = "diffposetalk.export_alembic"
    bl_label = "Export Alembic"
    filename_ext = ".abc"
    filter_glob: StringProperty(default="*.abc", options={"HIDDEN"})
    export = staticmethod(exporting.export_alembic)


class BackendCheck:
    """Starts the backend and waits for its handshake."""

    text = "Starting the backend"
    progress = 0.0

    def __init__(self) -> None:
        self._client = backend_session.client()
        self.greeting: Call = self._client.greeting
        self.failure: Exception | None = None
        self._cancelled = False

    def poll(self) -> str:
        """See whether it has answered."""
        self._client.poll()
        if self._cancelled:
            return "cancelled"
        if not self.greeting.done:
            return "running"
        self.failure = self.greeting.error
        return "done" if self.failure is None else "failed"

    def cancel(self) -> None:
        """Wait no longer."""
        self._cancelled = True


class DIFFPOSETALK_OT_check_backend(JobOperator):
    """Start the backend, and show its version and device"""

    bl_idname = "diffposetalk.check_backend"
    bl_label = "Check Backend"
    job: BackendCheck

    def start(self, context: bpy.types.Context) -> BackendCheck:
        """Start the backend."""
        return BackendCheck()

    def finish(self, context: bpy.types.Context) -> str:
        """Say what it is."""
        told = self.job.greeting.result
        return rpt_("Backend {version} runs: Python {python}, Torch {torch}, device {device}").format(**told)


CLASSES = (
    DIFFPOSETALK_OT_add_head,
    DIFFPOSETALK_OT_generate,
    DIFFPOSETALK_OT_cancel,
    DIFFPOSETALK_OT_new_seed,
    DIFFPOSETALK_OT_export_fbx,
    DIFFPOSETALK_OT_export_alembic,
    DIFFPOSETALK_OT_check_backend,
)
