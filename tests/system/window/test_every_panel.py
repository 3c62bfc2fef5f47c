# SPDX-License-Identifier: GPL-3.0-or-later
"""All panels at once on a screen that is high enough: narrow, in German, and what comes after the first take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from real_window import RealWindow, python_folders
from sidebar import Sidebar
from test_main_job import ADDON, EXAMPLE, SETTINGS, STATUS, wait_for_job

PREFERENCES = f"bpy.context.preferences.addons[{ADDON!r}].preferences"
WORKFLOW = "bpy.context.scene.diffposetalk_workflow"
SIZE = (700, 3300)
NARROW = 200  # pixels; at first the sidebar has 291
SHOWN = "bpy.context.object.data.shape_keys.animation_data.action"
FACE = f"""
from {ADDON}.takes.keying import action_curves
result = [[point.co.y for point in curve.keyframe_points] for curve in action_curves({SHOWN})]
"""

# A person who has opened all panels, with two lines in the sequencer and a head that speaks them.
PREPARE = f"""
def steps():
    bpy.ops.extensions.package_install_files(
        filepath=os.path.expanduser("~/diffposetalk.zip"), repo="user_default", enable_on_install=True)
    preferences = bpy.context.preferences.addons[{ADDON!r}].preferences
    preferences.backend_python, preferences.first_steps = python, False
    for name in dir(bpy.types):
        panel = getattr(bpy.types, name)
        if name.startswith("DIFFPOSETALK_PT_") and getattr(panel, "bl_parent_id", ""):
            bpy.utils.unregister_class(panel)
            panel.bl_options = set()
            bpy.utils.register_class(panel)
    window, area = find_area("VIEW_3D")
    yield from key(window, 300, 300, "ESC")
    area.spaces.active.show_region_ui = True
    yield from wait(0.5)
    find_region(area, "UI").active_panel_category = "DiffPoseTalk"
    yield from wait(0.5)
    from {ADDON}.takes.audio_strip import place_sound
    place_sound(bpy.context.scene, lines[0], 1, 3.0)
    place_sound(bpy.context.scene, lines[1], 101, 3.0)
    {SETTINGS}.steps, {SETTINGS}.takes = 2, 2  # quick
    area.spaces.active.overlay.show_overlays, area.spaces.active.shading.type = False, "WIREFRAME"  # quickly drawn
"""


@pytest.fixture(scope="module")
def lines(shared: Path) -> list[str]:
    """Two lines of three seconds."""
    speech, rate = soundfile.read(EXAMPLE)
    paths = [shared / "home" / name for name in ("first line.wav", "second line.wav")]
    for number, path in enumerate(paths):
        soundfile.write(path, speech[3 * number * rate : 3 * (number + 1) * rate], rate)
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def window(shared: Path, lines: list[str], debian: Path) -> Iterator[RealWindow]:
    """A Blender of its own, prepared."""
    python = Path(os.environ["DIFFPOSETALK_BACKEND_PYTHON"])
    opened = RealWindow(debian, shared, python_folders(python), SIZE)
    try:
        opened.run(PREPARE, python=str(python), lines=lines)
        yield opened
    finally:
        opened.close()


def face(window: RealWindow) -> np.ndarray:
    """The shown take's keys of the face, (frames, shape keys)."""
    return np.array(window.run(FACE)).T


def actions(window: RealWindow) -> list[str]:
    """Names of all Actions."""
    return window.ask("sorted(action.name for action in bpy.data.actions)")


def press_and_wait(window: RealWindow, sidebar: Sidebar, operator: str) -> str:
    """Press a button and wait for its job. Returns what it says in the end."""
    sidebar.click(operator, wait=0.5, columns=[0.4])
    wait_for_job(window)
    assert not window.ask(f"{STATUS}.error"), window.ask(f"{STATUS}.error")
    return window.ask(f"{STATUS}.text")


def test_a_dialogue_is_generated_from_the_sequencer(window: RealWindow, sidebar: Sidebar) -> None:
    sidebar.click("diffposetalk.add_head", wait=0.7, columns=[0.6, 0.9])
    sidebar.click("diffposetalk.add_speaker", columns=[0.93])
    assert window.ask(f"[rule.object == bpy.context.object for rule in {WORKFLOW}.speakers]") == [True]
    assert "2 lines generated" in press_and_wait(window, sidebar, "diffposetalk.generate_dialogue")
    assert len(actions(window)) == 4  # of face and head, two takes
    motion = face(window)
    moves = np.abs(np.diff(motion, axis=0)).max(1)
    assert (
        len(motion) == 172 and moves[:70].max() > 0.01 and moves[102:].max() > 0.01
    )  # both lines, at their places


def test_the_next_take_of_a_line(window: RealWindow, sidebar: Sidebar) -> None:
    before, motion = actions(window), face(window)
    window.run("bpy.context.scene.frame_set(120)")
    sidebar.click("diffposetalk.step_line", wait=0.7, columns=[0.4])
    assert len(actions(window)) > len(before)
    changed = np.abs(face(window) - motion).max(1) > 1e-3
    assert changed[-40:].any() and not changed[:80].any()  # the second line


def test_a_range_again(window: RealWindow, sidebar: Sidebar) -> None:
    shown, motion = window.ask(f"{SHOWN}.name"), face(window)
    sidebar.fill("Scene.range_first", "20")
    sidebar.fill("Scene.range_last", "50")
    told = press_and_wait(window, sidebar, "diffposetalk.regenerate_range")
    assert told == "Regenerated frames 20 to 50" and window.ask(f"{SHOWN}.name") != shown
    changed = np.abs(face(window) - motion).max(1) > 1e-3
    assert changed[25:45].any() and not changed[:19].any() and not changed[50:].any()


def test_lips_are_checked(window: RealWindow, sidebar: Sidebar, screenshots: Path) -> None:
    told = press_and_wait(window, sidebar, "diffposetalk.check_lips")
    assert "missed lip closures" in told
    assert int(told.split()[0]) == window.ask("len(bpy.context.scene.timeline_markers)")
    window.screenshot(screenshots / "all_panels.png", sidebar.box())


def test_a_narrow_sidebar_and_german(window: RealWindow, sidebar: Sidebar, screenshots: Path) -> None:
    window.run("bpy.context.preferences.view.language = 'de_DE'")
    german = window.screenshot(screenshots / "german.png", sidebar.box())
    wide = sidebar.box()
    sidebar.resize(NARROW)
    left, _, right, _ = sidebar.box()
    assert abs(right - left - NARROW) < 10 and right - left < wide[2] - wide[0] - 50
    window.screenshot(screenshots / "narrow_german.png", sidebar.box())
    window.run("bpy.context.preferences.view.language = 'en_US'")
    english = window.screenshot(screenshots / "narrow.png", sidebar.box())
    assert german.shape[1] > english.shape[1]


def test_the_preferences(window: RealWindow, sidebar: Sidebar, screenshots: Path) -> None:
    page = {"kind": "PREFERENCES", "region": "WINDOW"}
    window.run(
        "def steps():\n"
        "    area = find_area('VIEW_3D')[1]\n"
        "    area.type = 'PREFERENCES'\n"
        "    bpy.context.preferences.active_section = 'ADDONS'\n"
        "    bpy.context.window_manager.addon_search = 'DiffPoseTalk'\n"
        f"    bpy.ops.preferences.addon_expand(module={ADDON!r})\n"
        "    yield from wait(1.0)"
    )
    sidebar.click("DiffPoseTalkPreferences.show_sources", columns=[0.25, 0.15, 0.5], **page)
    assert window.ask(f"{PREFERENCES}.show_sources")
    left, top, right, _ = window.area_box("PREFERENCES")
    window.screenshot(screenshots / "preferences_backend.png", (left, top, right, top + 850))
    sidebar.click("DiffPoseTalkPreferences.page", columns=[0.8], **page)
    assert window.ask(f"{PREFERENCES}.page") == "FILES"
    window.screenshot(screenshots / "preferences_models.png", (left, top, right, top + 1200))
    sidebar.click("diffposetalk.check_model", columns=[0.5], wait=0.5, **page)
    wait_for_job(window)
    assert "runs on cpu" in window.ask(f"{STATUS}.text"), window.ask(f"{STATUS}.error")
