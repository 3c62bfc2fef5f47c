# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels draw, recorded by a stand-in for the layout, as Blender draws nothing without a window."""

import json
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest


class RecordingLayout:
    """A layout that is its own rows and columns, and remembers what is put into it."""

    def __init__(self):
        self.properties, self.operators, self.texts, self.menus, self.choices = [], {}, [], [], []

    def _itself(self, *_, **__):
        return self

    row = column = box = split = _itself

    def menu(self, name, **_):
        self.menus.append(name)

    def prop_enum(self, owner, name, value):
        assert value in owner.bl_rna.properties[name].enum_items
        self.choices.append(value)

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
    monkeypatch.setattr(part("ui.common.job_status"), "draw_status", lambda *_: None)

    addon = part("install.preferences").addon_preferences()
    monkeypatch.setattr(part("ui.generate.first_steps"), "backend_problem", lambda: "")
    addon.first_steps = False

    def draw(panel, width=300):
        layout = RecordingLayout()
        context = SimpleNamespace(
            scene=bpy.context.scene,
            window_manager=bpy.context.window_manager,
            selected_objects=bpy.context.selected_objects,
            region=SimpleNamespace(width=width),
            preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0)),
            object=bpy.context.object,
            workspace=bpy.context.workspace,
        )
        preferences = part("install.preferences").addon_preferences()
        owner = SimpleNamespace(layout=layout, bl_rna=preferences.bl_rna)
        panel.draw(owner, context)
        return layout

    yield draw
    addon.first_steps = True


def test_all_settings_are_somewhere(part, drawn):
    settings = bpy.context.scene.diffposetalk
    settings.style, settings.start_at = "MOTION_FILE", "FIXED"
    bpy.context.scene.diffposetalk.style_window = "START"
    classes_of = part("ui.common.feature").classes_of
    panels = [cls for at in ("generate", "styles") for cls in classes_of(part(f"ui.{at}.panel"))]
    panels = [panel for panel in panels if issubclass(panel, bpy.types.Panel)]
    shown, narrow = (
        {name for panel in panels for name in drawn(panel, width).properties} for width in (300, 180)
    )
    assert narrow == shown
    known = {name for name in settings.bl_rna.properties.keys() if name not in ("rna_type", "name")}  # noqa: SIM118
    assert known - shown == {"convert_basis", "sampler"}
    preferences = part("ui.setup.preferences").DiffPoseTalkPreferences
    chosen = part("install.preferences").addon_preferences()
    chosen.show_sources, found = True, set()
    for chosen.page in ("BACKEND", "FILES"):
        found |= set(drawn(preferences).properties)
    chosen.show_sources, chosen.page = False, "BACKEND"
    known = {name for name in preferences.bl_rna.properties.keys() if name not in ("rna_type", "name")}  # noqa: SIM118
    assert known - found <= {"bl_idname", "module"}


def test_all_settings_of_a_capture_are_somewhere(part, drawn):
    capture = bpy.context.scene.diffposetalk_capture
    capture.window, capture.face = "START", (0.4, 0.5)
    shown = set(drawn(part("ui.capture.panel").DIFFPOSETALK_PT_capture).properties)
    known = {name for name in capture.bl_rna.properties.keys() if name not in ("rna_type", "name")}  # noqa: SIM118
    assert known <= shown
    capture.property_unset("face")
    layout = drawn(part("ui.capture.panel").DIFFPOSETALK_PT_capture)
    assert "face" not in layout.properties and "The largest face is taken" in layout.texts


def test_samplers_that_are_not_offered_still_serve(part, drawn, recordings):
    panel, settings = part("ui.generate.panel"), bpy.context.scene.diffposetalk
    assert drawn(panel.DIFFPOSETALK_MT_sampler).choices == ["unipc", "dpmpp_2m", "ddpm"]
    for sampler in ("ddim", "dpmpp_2m_sde"):  # as an earlier scene or a script has it
        settings.sampler = sampler
        assert part("jobs.scene_settings").generation_settings(bpy.context.scene).options.sampler == sampler
        assert drawn(panel.DIFFPOSETALK_PT_advanced).menus == ["DIFFPOSETALK_MT_sampler"]


def test_the_style_panel_shows_the_last_reference(part, drawn, tmp_path):
    shown = bpy.context.window_manager.diffposetalk_reference
    shown.plot, shown.notes = str(tmp_path / "plot.png"), "The reference is short"
    try:
        layout = drawn(part("ui.styles.panel").DIFFPOSETALK_PT_style)
        assert "The reference is short" in layout.texts
        assert layout.operators["diffposetalk.view_picture"].path == str(tmp_path / "plot.png")
    finally:
        shown.plot = shown.notes = ""


def test_add_head_adds_what_is_chosen(part, drawn):
    main = part("ui.generate.panel").DIFFPOSETALK_PT_main
    assert drawn(main).operators["diffposetalk.add_head"].source == "BUNDLED"
    bpy.context.scene.diffposetalk.head_source = "FLAME"
    assert drawn(main).operators["diffposetalk.add_head"].source == "FLAME"


def test_a_disabled_generate_says_what_is_missing(api, part, drawn, recordings):
    main, settings = part("ui.generate.panel").DIFFPOSETALK_PT_main, bpy.context.scene.diffposetalk
    generate = bpy.ops.diffposetalk.generate

    def told():
        return " ".join(drawn(main).texts)

    assert not generate.poll() and "No object is selected" in told()
    cube = bpy.data.objects.new("Cube", bpy.data.meshes.new("Cube"))
    bpy.context.scene.collection.objects.link(cube)
    cube.select_set(True)
    assert not generate.poll() and "“Cube” cannot speak" in told()
    api.add_head("Ann")
    assert not generate.poll() and "No audio file is chosen" in told() and "Ann" in told()
    settings.audio_path = "/nowhere/speech.wav"
    assert not generate.poll() and "does not exist" in told()
    settings.audio_path = str(recordings / "speech.wav")
    assert generate.poll() and "missing" not in told()
    settings.audio_source = "STRIP"
    assert not generate.poll() and "No sound strip is active" in told()


def test_the_first_steps_lead_to_generate(api, part, drawn, monkeypatch):
    main, preferences = (
        part("ui.generate.panel").DIFFPOSETALK_PT_main,
        part("install.preferences").addon_preferences(),
    )
    preferences.first_steps = True
    steps = {"diffposetalk.add_head", "diffposetalk.use_example", "diffposetalk.generate"}
    shown = drawn(main)
    assert steps < set(shown.operators) and not shown.properties
    api.add_head("Ann")
    assert bpy.ops.diffposetalk.use_example() == {"FINISHED"}
    assert bpy.ops.diffposetalk.generate.poll()
    monkeypatch.setattr(part("ui.generate.first_steps"), "backend_problem", lambda: "It is not set up")
    shown = drawn(main)
    assert "It is not set up" in " ".join(shown.texts) and "preferences.addon_show" in shown.operators
    assert bpy.ops.diffposetalk.hide_first_steps() == {"FINISHED"}
    assert {"audio_path", "style", "quality", "takes"} <= set(drawn(main).properties)


def test_settings_go_back_to_their_defaults_and_presets_are_found(part, recordings, monkeypatch):
    settings = bpy.context.scene.diffposetalk
    settings.audio_path, settings.takes, settings.style_guidance = str(recordings / "speech.wav"), 7, 4.5
    assert bpy.ops.diffposetalk.reset_settings() == {"FINISHED"}
    assert settings.takes == 1 and not settings.is_property_set("style_guidance") and settings.audio_path
    presets = part("ui.generate.settings_presets")
    menu = presets.DIFFPOSETALK_PT_presets
    monkeypatch.setattr(menu, "bl_label", menu.bl_label)  # Blender writes the chosen preset's name over it
    folders = [Path(folder) for folder in bpy.utils.preset_paths(presets.FOLDER)]
    found = {path.stem: path for folder in folders for path in folder.glob("*.py")}
    assert {"Four_Takes", "Still_Head", "Clear_Articulation", "Lively"} <= set(found)
    for path in found.values():
        bpy.ops.script.execute_preset(filepath=str(path), menu_idname="DIFFPOSETALK_PT_presets")
    assert settings.takes == 4 and not settings.head_motion and settings.style_guidance == 4.0


def test_conversion_is_offered_where_bases_differ(api, part, drawn, flame_like_head, tmp_path):
    main, preferences = (
        part("ui.generate.panel").DIFFPOSETALK_PT_main,
        part("install.preferences").addon_preferences(),
    )
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
    scene_settings, preferences = part("jobs.scene_settings"), part("install.preferences").addon_preferences()
    settings, advanced = bpy.context.scene.diffposetalk, part("ui.generate.panel").DIFFPOSETALK_PT_advanced
    names = ("speech_guidance", "style_guidance", "sampler", "steps")
    bundled = part("data.bundled").sampling_defaults()
    assert all(getattr(settings, name) == pytest.approx(getattr(bundled, name)) for name in names)
    options = scene_settings.generation_settings(bpy.context.scene).options
    assert all(getattr(options, name) is None for name in names)
    assert drawn(advanced).texts == ["Sampler"]
    sampling = {"speech_guidance": 1.5, "style_guidance": 3.25, "sampler": "ddim", "steps": 50}
    (tmp_path / "config.json").write_text(json.dumps({"basis": "flame", "sampling": sampling}))
    try:
        preferences.model_directory = str(tmp_path)
        assert {"style guidance 3.25", "sampler ddim", "50 steps"} <= set(drawn(advanced).texts)
        settings.style_guidance = 2.5
        assert scene_settings.generation_settings(bpy.context.scene).options.style_guidance == 2.5
        assert "style guidance 3.25" not in drawn(advanced).texts
    finally:
        preferences.model_directory = ""
