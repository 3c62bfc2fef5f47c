# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons, as a script presses them."""

import importlib
import re
import sys
from pathlib import Path

import addon_utils
import bpy
import pytest
from support.scene_state import scene_state


@pytest.fixture(autouse=True)
def settings(real_backend):
    """The scene's settings, for short tests with the environment's backend."""
    settings = bpy.context.scene.diffposetalk
    settings.steps = 2
    return settings


def status():
    return bpy.context.window_manager.diffposetalk_status


def test_add_head_and_generate(settings, recordings):
    assert bpy.ops.diffposetalk.add_head() == {"FINISHED"}
    head = bpy.context.object
    settings.audio_path = str(recordings / "speech.wav")
    settings.seed, settings.takes, settings.start_frame = 4, 2, 30
    assert bpy.ops.diffposetalk.generate() == {"FINISHED"}
    action = head.data.shape_keys.animation_data.action
    assert "seed 4" in action.name and action.frame_range[0] == 30
    assert "2 takes" in status().text and not status().error and not status().running
    first_preset = settings.style
    assert first_preset


def test_current_frame_and_new_seeds(settings, recordings):
    bpy.ops.diffposetalk.add_head()
    settings.audio_path, settings.start_at, settings.random_seed = (
        str(recordings / "speech.wav"),
        "CURRENT",
        True,
    )
    bpy.context.scene.frame_set(77)
    seed = settings.seed
    bpy.ops.diffposetalk.generate()
    action = bpy.context.object.data.shape_keys.animation_data.action
    assert action.frame_range[0] == 77 and settings.seed != seed and action["seed"] == settings.seed


def test_generating_again_makes_another_take(settings, recordings, part):
    """The seed goes on past takes that the head has; with other settings, or for another head, it stays."""
    bpy.ops.diffposetalk.add_head()
    head = bpy.context.object
    settings.audio_path, settings.head_strength = str(recordings / "speech.wav"), 0.7

    def generated():
        assert bpy.ops.diffposetalk.generate() == {"FINISHED"}
        return bpy.context.object.data.shape_keys.animation_data.action["seed"]

    settings.seed = 4
    assert [generated(), generated(), generated()] == [4, 5, 6]
    settings.seed, settings.takes = 3, 2  # 3 is new, 4 is not
    assert generated() == 7 and settings.seed == 7
    settings.seed, settings.takes, settings.speech_guidance = 4, 1, 1.5
    assert generated() == 4
    settings.start_frame = 50
    assert generated() == 4
    assert len(part("takes.record").takes_of(head)) == 7
    bpy.ops.diffposetalk.add_head()
    assert generated() == 4


@pytest.mark.parametrize(
    "case", ["no audio", "missing audio", "nothing selected", "a light", "no motion file", "no strip"]
)
def test_errors_are_shown_and_change_nothing(settings, recordings, case):
    bpy.ops.diffposetalk.add_head()
    settings.audio_path = str(recordings / "speech.wav")
    if case == "no audio":
        settings.audio_path, message = "", "No audio file is chosen"
    elif case == "missing audio":
        settings.audio_path, message = "/nowhere/speech.wav", "does not exist"
    elif case == "nothing selected":
        bpy.ops.object.select_all(action="DESELECT")
        message = "No object is selected"
    elif case == "a light":
        bpy.ops.object.select_all(action="DESELECT")
        light = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
        bpy.context.scene.collection.objects.link(light)
        light.select_set(True)
        message = "“Lamp” cannot speak"
    elif case == "no motion file":
        settings.style, message = "MOTION_FILE", "No motion file is chosen"
    else:
        settings.audio_source, message = "STRIP", "No sound strip is active"
    before = scene_state()
    with pytest.raises(RuntimeError, match=message):
        bpy.ops.diffposetalk.generate()
    if case == "no motion file":
        assert message in status().error
    else:
        assert not bpy.ops.diffposetalk.generate.poll()  # the button is grey, and the panel says the message
    assert not status().running and scene_state() == before


def test_the_next_success_clears_the_error(settings, recordings):
    bpy.ops.diffposetalk.add_head()
    settings.audio_path = str(recordings / "empty.wav")
    with pytest.raises(RuntimeError):
        bpy.ops.diffposetalk.generate()
    assert status().error
    settings.audio_path = str(recordings / "speech.wav")
    bpy.ops.diffposetalk.generate()
    assert not status().error


def test_check_backend(backend_python):
    assert bpy.ops.diffposetalk.check_backend() == {"FINISHED"}
    assert "Backend 0." in status().text and "Torch" in status().text and "device" in status().text


def test_set_up_needs_permission_to_go_online():
    if bpy.app.online_access:
        pytest.skip("this Blender may go online")
    assert not bpy.ops.diffposetalk.setup_backend.poll()


def test_one_job_at_a_time(settings, recordings):
    bpy.ops.diffposetalk.add_head()
    settings.audio_path = str(recordings / "speech.wav")
    assert bpy.ops.diffposetalk.generate.poll() and not bpy.ops.diffposetalk.cancel.poll()
    status().running = True
    try:
        assert not bpy.ops.diffposetalk.generate.poll() and not bpy.ops.diffposetalk.check_backend.poll()
        assert bpy.ops.diffposetalk.cancel.poll()
    finally:
        status().running = False


def test_everything_in_the_tab_explains_itself(settings, part):
    classes_of = part("ui.common.feature").classes_of
    for name, prop in settings.bl_rna.properties.items():
        if name not in ("rna_type", "name"):
            assert len(prop.description) > 10 and prop.name, name
    for operator in classes_of(part("ui.generate.operators")):
        assert len(operator.__doc__) > 10 and operator.bl_label
    for panel in classes_of(part("ui.generate.panel")):
        assert getattr(panel, "bl_category", "DiffPoseTalk") == "DiffPoseTalk"


def test_every_button_has_an_operator(addon):
    modules = (Path(addon.__file__).parent / "ui").rglob("*.py")
    text = "".join(module.read_text(encoding="utf-8") for module in modules)
    names = set(re.findall(r'"diffposetalk\.(\w+)"', text))
    assert len(names) > 40
    assert not [name for name in names if not hasattr(bpy.types, f"DIFFPOSETALK_OT_{name}")]


def test_generate_is_one_undo_step(settings, recordings):
    bpy.ops.ed.undo_push(message="begin")
    bpy.ops.diffposetalk.add_head()
    bpy.ops.ed.undo_push(message="Add Head")
    head = bpy.context.object.name
    settings.audio_path = str(recordings / "speech.wav")
    before = scene_state()
    bpy.ops.diffposetalk.generate()
    bpy.ops.ed.undo_push(message="Generate")  # the window does this after an operator; scripts do not
    after = scene_state()
    assert after != before
    bpy.ops.ed.undo()
    assert scene_state() == before
    bpy.ops.ed.redo()
    assert scene_state() == after and head in bpy.data.objects


def test_disabling_takes_everything_back(addon, addon_zip):
    bpy.ops.preferences.addon_disable(module=addon.__name__)
    assert not hasattr(bpy.types.Scene, "diffposetalk") and "diffposetalk" not in sys.modules
    with pytest.raises(ImportError):
        importlib.import_module("diffposetalk")
    bpy.ops.preferences.addon_enable(module=addon.__name__)
    assert hasattr(bpy.types.Scene, "diffposetalk") and "diffposetalk" not in sys.modules
    assert callable(importlib.import_module("diffposetalk").generate)


def test_blender_has_no_complaints():
    """Blender lists what an extension does against its policies, e.g. modules outside its own package."""
    addon_utils._extensions_warnings_get._is_first = True
    assert not addon_utils._extensions_warnings_get()


def test_how_a_job_ended_is_said_where_it_belongs(part):
    """What happened on a page of the preferences stands neither on the other one nor in the sidebar."""
    from types import SimpleNamespace

    job_status, shown = part("ui.common.job_status"), {}
    setup, models = part("ui.setup.operators"), part("ui.setup.model_operators")
    assert (
        setup.DIFFPOSETALK_OT_install_tracking.place == setup.DIFFPOSETALK_OT_check_backend.place == "BACKEND"
    )
    assert (
        models.DIFFPOSETALK_OT_check_model.place
        == part("ui.capture.operators").DIFFPOSETALK_OT_fetch_tracker.place
        == "FILES"
    )
    assert part("ui.generate.operators").DIFFPOSETALK_OT_generate.place == "PANELS"

    def texts(place):
        found = []
        column = SimpleNamespace(label=lambda text="", **_: found.append(text))
        box = SimpleNamespace(alert=False, column=lambda **_: column)
        layout = SimpleNamespace(column=lambda **_: column, box=lambda: box)
        job_status.draw_status(layout, status(), 300, place)
        return " ".join(found)

    try:
        for place in ("PANELS", "BACKEND", "FILES"):
            for told in ({"text": "It is done"}, {"error": "It went wrong"}):
                job_status.show(bpy.context, running=False, place=place, **told)
                shown = {at: texts(at) for at in ("PANELS", "BACKEND", "FILES")}
                assert shown.pop(place) == next(iter(told.values())) and set(shown.values()) == {""}
    finally:
        job_status.show(bpy.context, running=False)
