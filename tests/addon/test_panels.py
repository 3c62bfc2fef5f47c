# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels draw, recorded by a stand-in for the layout, as Blender draws nothing without a window."""

import json
from types import SimpleNamespace

import bpy
import pytest


class RecordingLayout:
    """A layout that is its own rows and columns, and remembers what is put into it."""

    def __init__(self):
        self.properties, self.operators, self.texts = [], {}, []

    def _itself(self, *_, **__):
        return self

    row = column = box = _itself

    def separator(self, **_):
        pass

    def prop(self, owner, name, **_):
        assert name in owner.bl_rna.properties, name
        self.properties.append(name)

    def operator(self, name, **_):
        self.operators[name] = SimpleNamespace()
        return self.operators[name]

    def label(self, text="", **_):
        self.texts.append(text)

    def template_icon(self, icon_value, scale=1.0):
        assert icon_value

    def progress(self, factor, text):
        self.texts.append(text)


@pytest.fixture
def drawn(part, monkeypatch):
    """Function that draws a panel or the preferences and returns what was put into the layout."""
    # Without a window the interface has no scale to break the status's lines by.
    monkeypatch.setattr(part("job_status"), "draw_status", lambda *_: None)

    def draw(panel):
        layout = RecordingLayout()
        context = SimpleNamespace(
            scene=bpy.context.scene,
            window_manager=bpy.context.window_manager,
            selected_objects=bpy.context.selected_objects,
            region=SimpleNamespace(width=300),
        )
        preferences = part("preferences").addon_preferences()
        owner = SimpleNamespace(layout=layout, bl_rna=preferences.bl_rna)
        panel.draw(owner, context)
        return layout

    return draw


def test_all_settings_are_somewhere(part, drawn):
    settings = bpy.context.scene.diffposetalk
    settings.style, settings.start_at = "MOTION_FILE", "FIXED"
    bpy.context.scene.diffposetalk.style_window = "START"
    panels = (*part("panels").CLASSES, *part("style_panel").CLASSES)
    shown = {name for panel in panels for name in drawn(panel).properties}
    known = {name for name in settings.bl_rna.properties.keys() if name not in ("rna_type", "name")}  # noqa: SIM118
    assert known - shown == {"convert_basis"}
    preferences = part("preferences").DiffPoseTalkPreferences
    assert {"backend_python", "device", "model_directory", "flame_model"} <= set(
        drawn(preferences).properties
    )


def test_all_settings_of_a_capture_are_somewhere(part, drawn):
    capture = bpy.context.scene.diffposetalk_capture
    capture.window = "START"
    shown = set(drawn(part("style_panel").DIFFPOSETALK_PT_capture).properties)
    known = {name for name in capture.bl_rna.properties.keys() if name not in ("rna_type", "name")}  # noqa: SIM118
    assert known <= shown


def test_the_style_panel_shows_the_last_reference(part, drawn, tmp_path):
    shown = bpy.context.window_manager.diffposetalk_reference
    shown.plot, shown.notes = str(tmp_path / "plot.png"), "The reference is short"
    try:
        layout = drawn(part("style_panel").DIFFPOSETALK_PT_style)
        assert "The reference is short" in layout.texts
        assert layout.operators["diffposetalk.view_picture"].path == str(tmp_path / "plot.png")
    finally:
        shown.plot = shown.notes = ""


def test_add_head_adds_what_is_chosen(part, drawn):
    main = part("panels").DIFFPOSETALK_PT_main
    assert drawn(main).operators["diffposetalk.add_head"].source == "BUNDLED"
    bpy.context.scene.diffposetalk.head_source = "FLAME"
    assert drawn(main).operators["diffposetalk.add_head"].source == "FLAME"


def test_conversion_is_offered_where_bases_differ(api, part, drawn, flame_like_head, tmp_path):
    main, preferences = part("panels").DIFFPOSETALK_PT_main, part("preferences").addon_preferences()
    (tmp_path / "config.json").write_text(json.dumps({"basis": "flame"}))

    def offered():
        return "convert_basis" in drawn(main).properties

    assert not offered()
    ann, _ = api.add_head("Ann")
    assert not offered()
    bob, rig = api.add_head("Bob", asset=flame_like_head)
    assert offered()
    try:
        preferences.model_directory = str(tmp_path)
        assert not offered()
        ann.select_set(True)
        assert offered()
        preferences.model_directory = str(tmp_path / "nothing")
        assert not offered()
    finally:
        preferences.model_directory = ""
    for item in (ann, bob):
        item.select_set(item is not bob)
    rig.select_set(True)
    assert offered()


def test_settings_are_the_models_own_until_changed(part, drawn, tmp_path):
    operators, preferences = part("operators"), part("preferences").addon_preferences()
    settings, advanced = bpy.context.scene.diffposetalk, part("panels").DIFFPOSETALK_PT_advanced
    names = ("speech_guidance", "style_guidance", "sampler", "steps")
    bundled = part("presets").sampling_defaults()
    assert all(getattr(settings, name) == pytest.approx(getattr(bundled, name)) for name in names)
    assert all(getattr(operators.generation_settings(settings), name) is None for name in names)
    assert not drawn(advanced).texts
    sampling = {"speech_guidance": 1.5, "style_guidance": 3.25, "sampler": "ddim", "steps": 50}
    (tmp_path / "config.json").write_text(json.dumps({"basis": "flame", "sampling": sampling}))
    try:
        preferences.model_directory = str(tmp_path)
        assert {"style guidance 3.25", "sampler ddim", "50 steps"} <= set(drawn(advanced).texts)
        settings.style_guidance = 2.5
        assert operators.generation_settings(settings).style_guidance == 2.5
        assert "style guidance 3.25" not in drawn(advanced).texts
    finally:
        preferences.model_directory = ""
