# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons of what comes after the first take: ranges, layers, dialogue, checks, files."""

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ...data.errors import UserError
from ...faces.targets import Target
from ...install.preferences import addon_preferences
from ...jobs import dialogue, lip_check, regeneration, scene_settings
from ...takes import layers, scene_motion
from ..common.active_take import TakeOperator, chosen_target, missing_take
from ..common.job_operator import JobOperator
from ..common.work_operator import WorkOperator


class DIFFPOSETALK_OT_regenerate_range(JobOperator):
    """Generate a range of the shown take again, joined to the motion around it, as a new take"""

    bl_label = "Regenerate Range"
    bl_options = {"REGISTER", "UNDO"}
    job: regeneration.RegenerationJob

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        return super().obstacle(context) or missing_take(context)

    def start(self, context: bpy.types.Context) -> regeneration.RegenerationJob:
        settings = context.scene.diffposetalk_workflow
        held = (group for group in regeneration.GROUPS if getattr(settings, f"hold_{group}"))
        request = regeneration.RangeRequest(
            settings.range_first,
            settings.range_last,
            (settings.range_seed,),
            frozenset(held),
            settings.hold_hand_made,
        )
        return regeneration.RegenerationJob(context.active_object, request, addon_preferences().device)

    def finish(self, context: bpy.types.Context) -> str:
        request = self.job.request
        return rpt_("Regenerated frames {first:g} to {last:g}").format(
            first=request.first_frame, last=request.last_frame
        )


class DIFFPOSETALK_OT_range_from_timeline(WorkOperator):
    """Take the range from the selected keys, or from the timeline's preview range"""

    bl_label = "From Selection"

    def act(self, context: bpy.types.Context) -> str:
        scene, settings = context.scene, context.scene.diffposetalk_workflow
        target = chosen_target(context)
        chosen = scene_motion.selected_range(target) if target is not None else None
        if chosen is None and scene.use_preview_range:
            chosen = (scene.frame_preview_start, scene.frame_preview_end)
        if chosen is None:
            raise UserError("No keys are selected, and the timeline has no preview range.")
        settings.range_first, settings.range_last = round(chosen[0]), round(chosen[1])
        return ""


class DIFFPOSETALK_OT_push_take(TakeOperator):
    """Move the shown take into the NLA editor, on top of the tracks that are there"""

    bl_label = "Push to NLA"

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        strips = layers.push_to_nla(action, target, context.scene.diffposetalk_workflow.nla_blend)
        return rpt_("Moved to {tracks} NLA tracks").format(tracks=len(strips))


class DIFFPOSETALK_OT_reduce_keys(TakeOperator):
    """Leave out keys of the shown take where curves through the others stay within the largest error"""

    bl_label = "Reduce Keys"

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        before, after = layers.reduce_keys(action, context.scene.diffposetalk_workflow.reduce_bound)
        return rpt_("{after} of {before} keys are left ({share:.0f} %)").format(
            after=after, before=before, share=100 * after / max(1, before)
        )


class DIFFPOSETALK_OT_generate_dialogue(JobOperator):
    """Generate the motion of all sound strips of the sequencer, each for its speaker and at its place"""

    bl_label = "Generate Dialogue"
    bl_options = {"REGISTER", "UNDO"}
    job: dialogue.DialogueJob

    def start(self, context: bpy.types.Context) -> dialogue.DialogueJob:
        scene = getattr(context.workspace, "sequencer_scene", None) or context.scene
        lines, left_out = dialogue.dialogue_lines(scene)
        settings = scene_settings.generation_settings(context.scene)
        only_changed = context.scene.diffposetalk_workflow.only_changed
        return dialogue.DialogueJob(scene, lines, settings, only_changed, left_out)

    def finish(self, context: bpy.types.Context) -> str:
        job = self.job
        if job.left_out or job.warnings:
            self.report({"WARNING"}, "; ".join([*job.left_out, *job.warnings]))
        text = rpt_("{made} lines generated, {kept} unchanged, {left_out} left out; {takes} takes").format(
            made=job.made, kept=job.kept, left_out=len(job.left_out), takes=len(job.takes)
        )
        return f"{text}. {'. '.join(job.warnings)}" if job.warnings else text


class DIFFPOSETALK_OT_step_line(TakeOperator):
    """Switch the dialogue's line at the current frame to its next take; the other lines stay"""

    bl_label = "Next Take of Line"

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        return dialogue.step_line(action, target, context.scene.frame_current)[1]


class DIFFPOSETALK_OT_add_speaker(WorkOperator):
    """Add a speaker: the active object speaks strips of the sequencer"""

    bl_label = "Add Speaker"

    def act(self, context: bpy.types.Context) -> str:
        settings = context.scene.diffposetalk_workflow
        rule = settings.speakers.add()
        item = context.active_object
        if item is not None and item.type in ("MESH", "ARMATURE", "EMPTY"):
            rule.object = item
        rule.channel = len(settings.speakers)
        settings.active_speaker = len(settings.speakers) - 1
        return ""


class DIFFPOSETALK_OT_remove_speaker(WorkOperator):
    """Remove the active speaker from the list"""

    bl_label = "Remove Speaker"

    def act(self, context: bpy.types.Context) -> str:
        settings = context.scene.diffposetalk_workflow
        if not 0 <= settings.active_speaker < len(settings.speakers):
            raise UserError("There is no speaker to remove.")
        settings.speakers.remove(settings.active_speaker)
        settings.active_speaker = max(0, settings.active_speaker - 1)
        return ""


class DIFFPOSETALK_OT_check_lips(JobOperator):
    """Mark where the lips of the selected heads should close and do not; with a transcript also the words"""

    bl_label = "Check Lips"
    bl_options = {"REGISTER", "UNDO"}
    job: lip_check.LipCheckJob

    def start(self, context: bpy.types.Context) -> lip_check.LipCheckJob:
        text = context.scene.diffposetalk_workflow.transcript
        return lip_check.LipCheckJob(
            context.scene, scene_settings.speakers(context), text, addon_preferences().device
        )

    def finish(self, context: bpy.types.Context) -> str:
        job = self.job
        if job.problems:
            self.report({"WARNING"}, " ".join(job.problems))
        text = rpt_("{closures} missed lip closures").format(closures=job.closures)
        if job.words:
            text += rpt_(", {words} words marked").format(words=job.words)
        if job.problems:
            text += rpt_("; not checked: {problems}").format(problems=" ".join(job.problems))
        return text


class DIFFPOSETALK_OT_clear_marks(WorkOperator):
    """Remove the markers of words and lip closures; other markers stay"""

    bl_label = "Clear Marks"

    def act(self, context: bpy.types.Context) -> str:
        return rpt_("Removed {count} markers").format(count=lip_check.clear_markers(context.scene))
