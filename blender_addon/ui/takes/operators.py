# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons of a take: show, delete, put back as generated, duplicate; and the place in the list."""

import math

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import EnumProperty, FloatProperty, IntProperty, StringProperty

from ...data.adjustment import Adjustment
from ...faces.targets import Target
from ...takes import audio_strip, keying, record, showing
from ..common.active_take import TakeOperator, active_take, chosen_target


class DIFFPOSETALK_OT_delete_take(TakeOperator):
    """Delete the shown take with all its keys; the next one is shown"""

    bl_label = "Delete Take"

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        title = action.name
        showing.delete_take(action, target)
        return rpt_("Deleted {name}").format(name=title)


class DIFFPOSETALK_OT_delete_other_takes(TakeOperator):
    """Delete the takes of this head that have no rating, except the shown one"""

    bl_label = "Delete Unrated"

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        others = [
            other
            for other in record.takes_of(target.owner)
            if other != action and not other.diffposetalk.rating
        ]
        for other in others:
            showing.delete_take(other, target)
        return rpt_("Deleted {count} takes").format(count=len(others))


class DIFFPOSETALK_OT_step_take(TakeOperator):
    """Show the next or the previous take of this head"""

    bl_label = "Next Take"

    step: IntProperty(name="Step", description="1 is the next one, -1 the previous", default=1)

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        known = record.takes_of(target.owner)
        following = known[(known.index(action) + self.step) % len(known)]
        showing.show_take(following, target)
        return rpt_("Shows {name}").format(name=following.name)


class DIFFPOSETALK_OT_rate_take(TakeOperator):
    """Rate the take; press the same star again to clear the rating"""

    bl_label = "Rate Take"

    take: StringProperty(options={"HIDDEN"})
    rating: IntProperty(name="Rating", description="From 0 to 5", min=0, max=5)

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        rated = bpy.data.actions.get(self.take, action).diffposetalk
        rated.rating = 0 if rated.rating == self.rating else self.rating
        return rpt_("Rated {rating}").format(rating=rated.rating)


class DIFFPOSETALK_OT_reset_take(TakeOperator):
    """Undo all adjustments of the shown take; keys made by hand stay"""

    bl_label = "Reset"

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        showing.set_adjustment(action, Adjustment())
        return rpt_("The take is as it was generated")


class DIFFPOSETALK_OT_copy_adjustment(TakeOperator):
    """Copy the adjustments of the shown take to all other takes of this head"""

    bl_label = "Apply to All Takes"

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        others = [other for other in record.takes_of(target.owner) if other != action]
        for other in others:
            showing.set_adjustment(other, showing.adjustment_of(action))
        return rpt_("Changed {count} takes").format(count=len(others))


class DIFFPOSETALK_OT_retime_take(TakeOperator):
    """Move, stretch or resample the shown take; keys made by hand stay where they are"""

    bl_label = "Retime Take"

    start_frame: FloatProperty(
        name="Start", description="Frame of the scene where the motion begins; fractions are allowed"
    )
    stretch: FloatProperty(
        name="Stretch",
        description="Factor of the motion's length; 2 is half as fast",
        min=0.1,
        max=10.0,
        default=1.0,
    )
    rate: EnumProperty(
        name="Keys",
        description="How many keys are written",
        items=[
            ("SCENE", "Scene's Rate", "One key for each frame of the scene"),
            ("KEEP", "As They Are", "At the rate the take was keyed at"),
        ],
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        action = active_take(context)
        if action is not None:
            keyed = record.read_keyed(action.diffposetalk)
            self.start_frame, self.stretch = keyed.start_frame, keyed.stretch
        return context.window_manager.invoke_props_dialog(self)

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        scene = context.scene
        keyed = record.read_keyed(action.diffposetalk)
        fps = scene.render.fps / scene.render.fps_base if self.rate == "SCENE" else keyed.fps
        showing.retime(action, self.start_frame, self.stretch, fps)
        return rpt_("Begins at frame {frame:g}, {stretch:g} times as long").format(
            frame=self.start_frame, stretch=self.stretch
        )


class DIFFPOSETALK_OT_retime_to_scene(TakeOperator):
    """Write the keys of this head's takes anew at the scene's frame rate, so that they run as fast as they were made"""

    bl_label = "Retime to the Scene's Rate"

    def work(self, context: bpy.types.Context, action: bpy.types.Action, target: Target) -> str:
        fps, count = audio_strip.frames_per_second(context.scene), 0
        for take in record.takes_of(target.owner):
            keyed = record.read_keyed(take.diffposetalk)
            if not record.runs_at(keyed, fps) and "lines" not in record.source_of(take.diffposetalk):
                showing.retime(take, keyed.start_frame, keyed.stretch, fps)
                count += 1
        last = max(action.frame_range[1], context.scene.frame_end)
        context.scene.frame_end = min(math.ceil(last), keying.LAST_FRAME)
        return rpt_("Retimed {count} takes to {fps:g} frames a second").format(count=count, fps=fps)


def _index_of_active(manager: bpy.types.WindowManager) -> int:
    """Where the shown take is in Blender's list of Actions; the list itself selects by it."""
    action = active_take(bpy.context)
    if action is None:
        return -1
    return next((i for i, other in enumerate(bpy.data.actions) if other == action), -1)


def _show_index(manager: bpy.types.WindowManager, index: int) -> None:
    target = chosen_target(bpy.context)
    if target is None or not 0 <= index < len(bpy.data.actions):
        return
    action = bpy.data.actions[index]
    if record.is_take(action) and record.belongs_to(action, target.owner):
        showing.show_take(action, target)


PROPERTIES = (
    (
        bpy.types.WindowManager,
        "diffposetalk_take",
        IntProperty(
            name="Take",
            description="The take that the active head shows; click another one to see it",
            get=_index_of_active,
            set=_show_index,
            options={"SKIP_SAVE"},
        ),
    ),
)
