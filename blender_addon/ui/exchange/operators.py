# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons that write files for other programs, and read motion from them."""

import os

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import EnumProperty, FloatProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper

from ...data.errors import UserError
from ...jobs import exporting, motion_exchange, scene_settings
from ..common.active_take import active_take
from ..common.job_operator import JobOperator
from ..common.work_operator import WorkOperator


class ExportOperator(WorkOperator, ExportHelper):
    """An operator that writes the selected heads to a chosen file."""

    bl_options = {"REGISTER"}
    exporter: exporting.Exporter

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        return "" if context.selected_objects else rpt_("Select a head first")

    def act(self, context: bpy.types.Context) -> str:
        options = {"preset": self.preset} if self.exporter.conventions else {}
        path = self.exporter.write(context.selected_objects, self.filepath, **options)
        if unplayed := exporting.unplayed(context.selected_objects):
            self.report({"WARNING"}, " ".join(unplayed))
        return rpt_("Exported {path}").format(path=path)


def export_operator(exporter: exporting.Exporter) -> type[ExportOperator]:
    properties = {"filter_glob": StringProperty(default=f"*{exporter.suffix}", options={"HIDDEN"})}
    if exporter.conventions:
        properties["preset"] = EnumProperty(
            name="For", description="Axes and scale of the file", items=exporter.conventions
        )
    members = {
        "__doc__": exporter.tooltip,
        "__module__": __name__,
        "__annotations__": properties,
        "bl_label": f"Export {exporter.name}",
        "filename_ext": exporter.suffix,
        "exporter": exporter,
    }
    return type(f"DIFFPOSETALK_OT_export_{exporter.name.lower()}", (ExportOperator,), members)


def operator_name(exporter: exporting.Exporter) -> str:
    """What Blender calls the operator of a kind of file."""
    return f"diffposetalk.export_{exporter.name.lower()}"


class DIFFPOSETALK_OT_export_motion(JobOperator, ExportHelper):
    """Export the shown take's motion as it is adjusted: Live Link Face, ARKit curves or a motion clip"""

    bl_label = "Export Motion"
    job: motion_exchange.ExportMotionJob
    filename_ext: StringProperty(default=".csv", options={"HIDDEN"})
    check_extension = False
    filter_glob: StringProperty(default="*.csv;*.json;*.npz", options={"HIDDEN"})
    kind: EnumProperty(
        name="Format",
        description="What is written where the name has no ending",
        items=[
            (".csv", "Live Link Face", "Table of Apple's app (.csv)"),
            (".json", "ARKit Curves", "The 52 curves with the head's rotation (.json)"),
            (".npz", "Motion Clip", "Our own format (.npz)"),
        ],
    )
    fps: FloatProperty(
        name="Frame Rate",
        description="Frames a second in the file; 0 is the motion's own",
        min=0.0,
        max=240.0,
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if not self.properties.is_property_set("filepath"):  # else Blender proposes the scene's own name
            self.filepath = self._named(bpy.data.filepath or "motion")
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def _named(self, path: str) -> str:
        """A path with the ending of a format: the chosen one's where it has none."""
        if path.lower().endswith(tuple(motion_exchange.FORMATS)):
            return path
        stem, ending = os.path.splitext(path)
        return (stem if ending.lower() == ".blend" else path) + self.kind

    def start(self, context: bpy.types.Context) -> motion_exchange.ExportMotionJob:
        action = active_take(context)
        if action is None:
            raise UserError("The active object shows no take.")
        path = self._named(self.filepath)
        return motion_exchange.ExportMotionJob(action, path, self.fps or None)

    def finish(self, context: bpy.types.Context) -> str:
        return rpt_("Exported {path}").format(path=self.job.path)


class DIFFPOSETALK_OT_import_motion(JobOperator, ImportHelper):
    """Key a motion file on the selected heads as a take: Live Link Face, ARKit curves or a motion clip"""

    bl_label = "Import Motion"
    bl_options = {"REGISTER", "UNDO"}
    job: motion_exchange.ImportMotionJob
    filter_glob: StringProperty(default="*.csv;*.json;*.npz", options={"HIDDEN"})
    start_frame: IntProperty(name="Start Frame", description="Frame of the motion's beginning", default=1)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def start(self, context: bpy.types.Context) -> motion_exchange.ImportMotionJob:
        bone = context.scene.diffposetalk.head_bone
        return motion_exchange.ImportMotionJob(
            context.scene, scene_settings.speakers(context), self.filepath, self.start_frame, bone
        )

    def finish(self, context: bpy.types.Context) -> str:
        return rpt_("Keyed {name} on {heads} heads").format(
            name=self.job.path.name, heads=len(self.job.results)
        )


CLASSES = tuple(export_operator(exporter) for exporter in exporting.EXPORTERS)
