# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""Buttons of a character's mapping: detect, presets, files, rows."""

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper

from ...data import mapping
from ...data.errors import UserError
from ...faces import character, rig_presets
from ...faces.rig import HEAD_MARK
from ...faces.targets import NOBODY, Target
from ...takes import showing, standstill, try_pose
from ..common.work_operator import NamedOperator, WorkOperator
from ..common.wrapped_text import draw_text

SHOWN = 1.2  # seconds for which a test pose is seen


def chosen_character(context: bpy.types.Context) -> bpy.types.Object | None:
    """The object that holds the mapping of the active object's character; None where there is none."""
    item = context.active_object
    if item is None or item.type not in ("MESH", "ARMATURE", "EMPTY") or item.get(HEAD_MARK):
        return None
    return character.owner_of(item)


class CharacterOperator(WorkOperator):
    """An operator on the active object's character."""

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        owner = chosen_character(context)
        if owner is None:
            return rpt_("Make a character's mesh or armature active; our own heads need no mapping")
        linked = owner.library is not None
        return rpt_("The character is linked: make a library override of it first") if linked else ""

    def act(self, context: bpy.types.Context) -> str:
        return self.work(context, chosen_character(context))

    def work(self, context: bpy.types.Context, owner: bpy.types.Object) -> str:
        """Do it, and say what was done. Raises UserError."""
        raise NotImplementedError


class DIFFPOSETALK_OT_detect_mapping(CharacterOperator):
    """Fill the mapping from the names of the character's shape keys and bones, over all its meshes"""

    bl_label = "Detect"

    def work(self, context: bpy.types.Context, owner: bpy.types.Object) -> str:
        character.look_again()
        table = character.guess_mapping(context.active_object)
        if not table.rows and not table.bones.jaw:
            raise UserError(f"“{owner.name}” {character.NO_KEYS}.")
        character.store_mapping(owner, table)
        channels = len({row.source for row in table.rows})
        meshes = len({row.object for row in table.rows})
        return rpt_("Channels found: {channels}, on objects: {meshes}").format(
            channels=channels, meshes=meshes
        )


class DIFFPOSETALK_OT_clear_mapping(CharacterOperator):
    """Forget the mapping; it is guessed again at every Generate"""

    bl_label = "Clear"

    def work(self, context: bpy.types.Context, owner: bpy.types.Object) -> str:
        owner.diffposetalk.rows.clear()
        owner.diffposetalk.stored = False
        return rpt_("The mapping is guessed from the names again")


class DIFFPOSETALK_OT_mapping_preset(CharacterOperator):
    """Fill the mapping with the names that a known tool gives; only keys that the character has are used"""

    bl_label = "Known Rigs"

    preset: EnumProperty(
        name="Known Rigs",
        description="Whose names of shape keys and bones the mapping is filled with",
        items=rig_presets.PRESETS,
    )

    def work(self, context: bpy.types.Context, owner: bpy.types.Object) -> str:
        rig = character.armature_of(context.active_object)
        table = rig_presets.rig_preset(self.preset, rig)
        own = character.guess_mapping(context.active_object).bones
        table = mapping.MappingTable(table.rows, own, table.name)
        if not table.rows:
            raise UserError(
                "This armature has no Rigify face: generate the rig, or choose another of the known rigs."
            )
        character.store_mapping(owner, table)
        return rpt_("Filled with {rows} rows").format(rows=len(table.rows))


class DIFFPOSETALK_OT_import_mapping(CharacterOperator, ImportHelper):
    """Read the mapping from a file"""

    bl_label = "Import Mapping"
    filename_ext = ".json"
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})

    def work(self, context: bpy.types.Context, owner: bpy.types.Object) -> str:
        table = mapping.read_mapping(Path(bpy.path.abspath(self.filepath)))
        character.store_mapping(owner, character.adopt_mapping(context.active_object, table))
        return rpt_("Read {rows} rows").format(rows=len(table.rows))


class DIFFPOSETALK_OT_export_mapping(CharacterOperator, ExportHelper):
    """Write the mapping to a file, for other characters and other files"""

    bl_label = "Export Mapping"
    bl_options = {"REGISTER"}
    filename_ext = ".json"
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})

    def work(self, context: bpy.types.Context, owner: bpy.types.Object) -> str:
        path = Path(bpy.path.abspath(self.filepath))
        table = character.stored_mapping(owner) or character.guess_mapping(context.active_object)
        mapping.write_mapping(path, table)
        return rpt_("Wrote {rows} rows to {path}").format(rows=len(table.rows), path=path)


class DIFFPOSETALK_OT_add_mapping_row(CharacterOperator):
    """Add a row to the mapping"""

    bl_label = "Add Row"

    def work(self, context: bpy.types.Context, owner: bpy.types.Object) -> str:
        if not owner.diffposetalk.stored:
            character.store_mapping(owner, character.guess_mapping(context.active_object))
        row = owner.diffposetalk.rows.add()
        row.source = "jawOpen"
        owner.diffposetalk.active_row = len(owner.diffposetalk.rows) - 1
        return rpt_("Added a row")


class DIFFPOSETALK_OT_remove_mapping_row(CharacterOperator):
    """Remove the active row of the mapping"""

    bl_label = "Remove Row"

    def work(self, context: bpy.types.Context, owner: bpy.types.Object) -> str:
        settings = owner.diffposetalk
        if not 0 <= settings.active_row < len(settings.rows):
            raise UserError("There is no row to remove.")
        settings.rows.remove(settings.active_row)
        settings.active_row = max(0, min(settings.active_row, len(settings.rows) - 1))
        return rpt_("Removed the row")


def chosen_target(context: bpy.types.Context) -> Target:
    """What of the active object can be keyed. Raises UserError."""
    if context.active_object is None:
        raise UserError(rpt_(NOBODY))
    return showing.target_of(context.active_object)


class DIFFPOSETALK_OT_test_pose(NamedOperator):
    """Move the face for a moment, to see whether it can; nothing is keyed, and nothing stays"""

    bl_label = "Test Pose"

    pose: EnumProperty(name="Pose", description="What the face does", items=try_pose.CHOICES)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Show the pose until the time is over or something is clicked."""
        try:
            self._put_back = try_pose.show_pose(chosen_target(context), self.pose)
        except UserError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(SHOWN, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type in ("TIMER", "ESC", "LEFTMOUSE", "RIGHTMOUSE") and event.value != "RELEASE":
            self.cancel(context)
            return {"CANCELLED"}
        return {"PASS_THROUGH"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Put the face back when the pose is over, or Blender closes."""
        context.window_manager.event_timer_remove(self._timer)
        self._put_back()

    def execute(self, context: bpy.types.Context) -> set[str]:
        """From scripts: show it, put it back, and say whether the face moved."""
        try:
            try_pose.show_pose(chosen_target(context), self.pose)()
        except UserError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class DIFFPOSETALK_OT_does_it_move(NamedOperator):
    """Find out why a face that has keys stands still, and repair what can be repaired"""

    bl_label = "Does It Move?"
    bl_options = {"REGISTER", "UNDO"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            self._texts = [obstacle.text for obstacle in standstill.find_obstacles(chosen_target(context))]
        except UserError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not self._texts:
            self.report({"INFO"}, rpt_("Nothing keeps this face from moving"))
            return {"FINISHED"}
        return context.window_manager.invoke_props_dialog(self, width=460)

    def draw(self, context: bpy.types.Context) -> None:
        for text in self._texts:
            draw_text(self.layout, text, 440, icon="ERROR")
        self.layout.label(text="OK repairs what can be repaired", icon="CHECKMARK")

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            obstacles = standstill.find_obstacles(chosen_target(context))
            count = standstill.take_away(obstacles) if obstacles else 0
        except UserError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, rpt_("Repaired: {count}").format(count=count))
        return {"FINISHED"}
