# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons. Each takes its settings from the window and leaves the work to the functions beside it."""

import random

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import BoolProperty, EnumProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from ...data import bundled
from ...data.head_asset import HeadAsset, load_shape
from ...engine import flame_file
from ...engine.flame_file import FlameHead
from ...faces import placing, rig
from ...install.course import Job, Steps
from ...install.preferences import addon_preferences
from ...jobs import scene_settings
from ...jobs.generation import GenerationJob, Speech, seeds_made
from ..common.job_operator import JobOperator
from ..common.work_operator import NamedOperator, WorkOperator
from . import properties


class BundledHead(Job):
    """Reading the head that comes with the add-on; `head` is there when it is done."""

    head: HeadAsset

    def _run(self) -> Steps:
        self.head = bundled.bundled_head()
        yield


class DIFFPOSETALK_OT_add_head(JobOperator):
    """Add a head at the 3D cursor, or beside what stands there: a mesh with shape keys, and an armature"""

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
        self.shape = load_shape(bpy.path.abspath(self.identity)) if self.identity else None
        if self.source == "BUNDLED":
            return BundledHead(rpt_("Reading the head"))
        return FlameHead(flame_file.chosen_flame_file())

    def finish(self, context: bpy.types.Context) -> str:
        name = "Head" if self.source == "BUNDLED" else None
        mesh, armature = rig.add_head(context, self.job.head, name, self.shape)
        if self.options.is_invoke:  # scripts place it themselves
            placing.put_beside(context, mesh, armature)
            placing.show(context, mesh)
        return rpt_("Added {name}").format(name=mesh.name)


class DIFFPOSETALK_OT_choose_audio(NamedOperator, ImportHelper):
    """Choose the recording; the browser shows sound files and films"""

    bl_label = "Choose Recording"
    bl_options = {"REGISTER", "UNDO"}
    filter_folder: BoolProperty(default=True, options={"HIDDEN"})
    filter_sound: BoolProperty(default=True, options={"HIDDEN"})
    filter_movie: BoolProperty(default=True, options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.diffposetalk
        settings.audio_source, settings.audio_path = "FILE", self.filepath
        return {"FINISHED"}


class DIFFPOSETALK_OT_generate(JobOperator):
    """Generate face and head motion from the speech, and key it on the selected heads"""

    bl_label = "Generate"
    bl_options = {"REGISTER", "UNDO"}
    job: GenerationJob

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        return super().obstacle(context) or scene_settings.missing_for_generate(context)

    def start(self, context: bpy.types.Context) -> GenerationJob:
        settings = context.scene.diffposetalk
        if settings.random_seed:
            settings.seed = random.randint(0, 99999)
        span, objects = scene_settings.speech_span(context), scene_settings.speakers(context)
        asked = scene_settings.generation_settings(context.scene)
        seeds = seeds_made(context.scene, objects, span, asked)
        if seeds.intersection(asked.options.seeds):  # else the same take came again
            settings.seed = min(max(seeds) + 1, scene_settings.MAX_SEED)
            asked = scene_settings.generation_settings(context.scene)
        placed = settings.place_sound and settings.audio_source == "FILE"
        return GenerationJob(context.scene, [Speech(span, tuple(objects), placed)], asked)

    def finish(self, context: bpy.types.Context) -> str:
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
        if result.synced:
            text += rpt_("; playback follows the sound from now on (Sync to Audio, Audio Scrubbing)")
        if result.residual is not None:
            text += rpt_(
                "; converted to the head's basis, {mean:.2f} mm off on average and 95 % within {most:.2f} mm"
            ).format(mean=result.residual["mean"], most=result.residual["p95"])
        return text


class DIFFPOSETALK_OT_new_seed(WorkOperator):
    """Choose another random seed"""

    bl_label = "New Seed"

    def act(self, context: bpy.types.Context) -> str:
        context.scene.diffposetalk.seed = random.randint(0, 99999)
        return ""
