# SPDX-License-Identifier: GPL-3.0-or-later
"""From a fresh Blender to an exported performance, by clicks and keys; pictures are kept for the manual."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from real_window import RealWindow
from sidebar import Sidebar
from support.paths import CLIP

ADDON = "bl_ext.user_default.diffposetalk"
STATUS = "bpy.context.window_manager.diffposetalk_status"
SETTINGS = "bpy.context.scene.diffposetalk"
KEYS = "DIFFPOSETALK_PT_"
EXAMPLE = CLIP
# The shown take's keys of the selected head, and the motion of its mouth.
SHOWN = "bpy.context.object.data.shape_keys.animation_data.action.name"
MOUTH = f"""
from {ADDON}.takes.keying import action_curves
action = bpy.context.object.data.shape_keys.animation_data.action
curve = next(c for c in action_curves(action) if "mouthSmileLeft" in c.data_path)
result = [point.co.y for point in curve.keyframe_points]
"""
STRIPS = f"""
from {ADDON}.takes.audio_strip import sequencer_strips
result = [strip.name for strip in sequencer_strips(bpy.context.scene)]
"""
began = time.monotonic()


def press(window: RealWindow, sidebar: Sidebar, kind: str, x: float, y: float) -> None:
    """Press at a place counted from the left or, where negative, right edge and from the top of the last window."""
    sidebar.clicks += 1
    window.run(
        "def steps():\n"
        "    w, _ = find_area(kind)\n"
        "    yield from press(w, x if x >= 0 else w.width + x, w.height - y)\n"
        "    yield from wait(0.7)",
        kind=kind, x=x, y=y,
    )  # fmt: skip


def wait_for_job(window: RealWindow, timeout: float = 300.0) -> None:
    """Wait until the running job has ended."""
    window.wait_for(f"not {STATUS}.running", timeout)


def test_the_zip_is_installed_in_the_preferences(
    window: RealWindow, sidebar: Sidebar, screenshots: Path
) -> None:
    window.run("def steps():\n    w = find_area('VIEW_3D')[0]\n    yield from key(w, 600, 450, 'ESC')")
    window.run(
        "def steps():\n"
        "    w = find_area('VIEW_3D')[0]\n"
        "    yield from move(w, 800, 450)\n"
        "    yield from key(w, 800, 450, 'COMMA', ctrl=True)\n"
        "    yield from wait(1.5)"
    )
    before = sidebar.clicks
    for down in (164, 192):  # in Blender 4, in 5
        press(window, sidebar, "PREFERENCES", 80, down)
        if window.ask("bpy.context.preferences.active_section") == "EXTENSIONS":
            break
    sidebar.clicks = before + 1
    press(window, sidebar, "PREFERENCES", -28, 20)  # the menu on the right
    press(window, sidebar, "PREFERENCES", -126, 140)  # Install from Disk
    sidebar.choose_file("diffposetalk.zip")
    window.wait_for(f"{ADDON!r} in bpy.context.preferences.addons")
    window.rest(1.0)
    window.screenshot(screenshots / "install.png", window.box("PREFERENCES"))
    window.run(
        "def steps():\n"
        "    with bpy.context.temp_override(window=find_area('PREFERENCES')[0]):\n"
        "        bpy.ops.wm.window_close()\n"
        "    yield from wait(0.5)\n"
        "    watch_panels()"
    )


def test_the_tab_says_that_a_backend_is_needed(
    window: RealWindow, sidebar: Sidebar, screenshots: Path
) -> None:
    window.run(
        "def steps():\n    yield from key(find_area('VIEW_3D')[0], 500, 500, 'N')\n    yield from wait(1)"
    )
    for down in range(200, 440, 20):  # the tab's place depends on the names of those above it
        window.run(
            "def steps():\n    w, a = find_area('VIEW_3D')\n    r = find_region(a, 'UI')\n"
            "    yield from press(w, r.x + r.width - 10, r.y + r.height - down)",
            down=down,
        )  # fmt: skip
        if window.ask("place_of_tab()[4]") == "DiffPoseTalk":
            break
    sidebar.clicks += 1
    window.rest(1.0)
    assert sidebar.open_panels() == [f"{KEYS}main"]  # everything else is closed
    window.screenshot(screenshots / "backend_needed.png", sidebar.box())
    sidebar.click("preferences.addon_show")
    window.rest(1.5)
    # Set Up Backend would download it; this one has been downloaded already.
    window.run(
        f"bpy.context.preferences.addons[{ADDON!r}].preferences.backend_python = python",
        python=os.environ["DIFFPOSETALK_BACKEND_PYTHON"],
    )
    sidebar.click("diffposetalk.check_backend", kind="PREFERENCES", region="WINDOW")
    window.rest(1.0)
    wait_for_job(window)
    assert "Backend 0." in window.ask(f"{STATUS}.text"), window.ask(f"{STATUS}.error")
    window.screenshot(screenshots / "preferences.png", window.box("PREFERENCES"))
    window.run(
        "def steps():\n"
        "    with bpy.context.temp_override(window=find_area('PREFERENCES')[0]):\n"
        "        bpy.ops.wm.window_close()\n"
        "    yield from wait(0.5)"
    )


def test_three_clicks_make_a_first_animation(
    window: RealWindow, sidebar: Sidebar, screenshots: Path, record_testsuite_property: object
) -> None:
    before = sidebar.clicks
    window.rest(0.7)
    window.screenshot(screenshots / "first_steps.png", sidebar.box())
    sidebar.click("diffposetalk.add_head", wait=0.7)
    assert window.ask("bpy.context.object.get('diffposetalk_head')")
    apart = "bpy.context.object.parent.location.x > bpy.data.objects['Cube'].dimensions.x / 2"
    assert window.ask(apart)  # not inside of the cube that new files have
    sidebar.click("diffposetalk.use_example")
    sidebar.click("diffposetalk.generate", wait=0.0)
    assert sidebar.clicks - before == 3
    wait_for_job(window)
    seconds = time.monotonic() - began
    assert not window.ask(f"{STATUS}.error") and "Keyed 1 take" in window.ask(f"{STATUS}.text")
    assert len(window.run(MOUTH)) > 250 and np.ptp(window.run(MOUTH)) > 0.02
    assert not window.ask("[a.name for a in bpy.data.actions if a.name.startswith('being generated')]")
    assert len(window.run(STRIPS)) == 1
    record_testsuite_property("first_animation_clicks", sidebar.clicks)  # type: ignore[operator]
    record_testsuite_property("first_animation_seconds", round(seconds, 1))  # type: ignore[operator]
    print(f"\nfrom a fresh Blender to a first animation: {sidebar.clicks} clicks, {seconds:.0f} s")
    window.run("bpy.context.scene.frame_set(60)")
    window.screenshot(screenshots / "first_animation.png")
    window.screenshot(screenshots / "main_panel.png", sidebar.box())


def test_progress_moves_and_cancel_leaves_the_scene_as_it_was(
    window: RealWindow, sidebar: Sidebar, screenshots: Path, shared: Path
) -> None:
    actions = window.ask("sorted(a.name for a in bpy.data.actions)")
    mouth = window.run(MOUTH)
    example = window.ask(f"{SETTINGS}.audio_path")
    speech, rate = soundfile.read(EXAMPLE, always_2d=True)
    # Three minutes: no machine has made them before Cancel is pressed.
    soundfile.write(shared / "home" / "long.flac", np.tile(speech, (16, 1)), rate)
    sidebar.fill("Scene.audio_path", str(shared / "home" / "long.flac"))
    sidebar.click("diffposetalk.generate", wait=0.0)
    moves, shown, text = window.run(
        f"""
from {ADDON}.takes.keying import action_curves
def steps():
    status, moves, shown = {STATUS}, 0, 0
    last = status.progress
    while status.running and not (moves >= 2 and shown > 40):
        moves, last = moves + (status.progress > last), max(last, status.progress)
        keys = bpy.context.object.data.shape_keys.animation_data
        if keys.action is not None and keys.action.name.startswith("being generated"):
            shown = len(list(action_curves(keys.action)))
        yield
    return moves, shown, status.text
"""
    )
    assert moves >= 2 and text == "Making the motion", window.ask(f"{STATUS}.error")
    assert shown > 40  # the first window is on the timeline while the rest is made
    window.screenshot(screenshots / "generating.png")
    sidebar.click("diffposetalk.cancel", wait=0.0)
    wait_for_job(window)
    assert window.ask(f"{STATUS}.text") == "Cancelled; nothing was changed"
    assert window.ask("sorted(a.name for a in bpy.data.actions)") == actions
    assert window.run(MOUTH) == mouth
    window.run(f"{SETTINGS}.audio_path = example", example=example)


def test_a_style_is_chosen_in_the_menu_and_added_from_a_file(
    window: RealWindow, sidebar: Sidebar, screenshots: Path, shared: Path
) -> None:
    style = window.ask(f"{SETTINGS}.style")
    window.run(
        "def steps():\n"
        "    x, y = yield from click('Scene.style')\n"
        "    yield from wait(0.7)\n"
        "    w = find_area('VIEW_3D')[0]\n"
        "    yield from key(w, x, y, 'DOWN_ARROW')\n"
        "    yield from key(w, x, y, 'DOWN_ARROW')\n"
        "    yield from wait(0.3)"
    )
    window.screenshot(screenshots / "style_menu.png")
    window.run(
        "def steps():\n"
        "    x, y = found_before['Scene.style', 'VIEW_3D']\n"
        "    yield from key(find_area('VIEW_3D')[0], x, y, 'RET')\n"
        "    yield from wait(0.3)"
    )
    chosen = window.ask(f"{SETTINGS}.style")
    assert chosen and chosen != style
    frames = np.arange(150)[:, None]
    np.savez(
        shared / "home" / "someone.npz",
        exp=(0.2 + 0.2 * np.sin(frames / 3 + np.arange(50))).astype(np.float32),
        pose=np.concatenate([np.zeros((150, 3)), 0.1 + 0.1 * np.sin(frames / 3), np.zeros((150, 2))], 1),
        fps=25.0,
        basis="arkit",
    )
    sidebar.open(f"{KEYS}style")
    window.screenshot(screenshots / "style_panel.png", sidebar.box())
    sidebar.click("diffposetalk.add_style(")
    sidebar.choose_file("someone.npz")
    window.rest(1.0)
    wait_for_job(window)
    assert not window.ask(f"{STATUS}.error"), window.ask(f"{STATUS}.error")
    assert window.ask(f"{SETTINGS}.style") == "own:someone"
    window.screenshot(screenshots / "style_added.png", sidebar.box())
    sidebar.close(f"{KEYS}style")


def test_takes_are_auditioned(window: RealWindow, sidebar: Sidebar, screenshots: Path) -> None:
    window.run(f"{SETTINGS}.steps = 4")  # quick
    sidebar.fill("Scene.takes", "2")
    assert window.ask(f"{SETTINGS}.takes") == 2
    sidebar.click("diffposetalk.generate", wait=1.0)
    wait_for_job(window)
    assert "2 takes" in window.ask(f"{STATUS}.text"), window.ask(f"{STATUS}.error")
    sidebar.open(f"{KEYS}takes")
    shown = window.ask(SHOWN)
    motion = window.run(MOUTH)
    sidebar.click("diffposetalk.step_take(step=1)")
    assert window.ask(SHOWN) != shown and window.run(MOUTH) != motion
    sidebar.click("diffposetalk.rate_take")
    assert max(window.ask("[a.diffposetalk.rating for a in bpy.data.actions]")) > 0
    window.screenshot(screenshots / "takes.png", sidebar.box())
    sidebar.close(f"{KEYS}takes")


def test_a_slider_changes_what_is_seen(window: RealWindow, sidebar: Sidebar, screenshots: Path) -> None:
    sidebar.open(f"{KEYS}adjust")
    before = window.run(MOUTH)
    window.run(
        "def steps():\n"
        "    w, x, y = yield from find('Action.mouth')\n"
        "    yield from drag(w, x, y, x - 60)\n"
        "    yield from wait(0.5)"
    )
    weaker = window.run(MOUTH)
    assert 0 < np.ptp(weaker) < 0.9 * np.ptp(before)
    window.screenshot(screenshots / "adjust.png", sidebar.box())
    sidebar.click("diffposetalk.reset_take")
    assert np.allclose(window.run(MOUTH), before, atol=1e-6)
    sidebar.close(f"{KEYS}adjust")


def test_a_head_is_exported(window: RealWindow, sidebar: Sidebar, shared: Path, screenshots: Path) -> None:
    sidebar.open(f"{KEYS}export")
    window.screenshot(screenshots / "export.png", sidebar.box())
    sidebar.click("diffposetalk.export_fbx")
    sidebar.choose_file("ann.fbx")
    window.wait_for("any(name == 'ann.fbx' for name in os.listdir(os.path.expanduser('~')))")
    assert (shared / "home" / "ann.fbx").stat().st_size > 100_000
    sidebar.close(f"{KEYS}export")


def test_what_is_missing_and_what_went_wrong_is_said_in_the_panel(
    window: RealWindow, sidebar: Sidebar, screenshots: Path, shared: Path
) -> None:
    sidebar.fill("Scene.audio_path", str(shared / "home" / "nothing.wav"))
    window.screenshot(screenshots / "missing.png", sidebar.box())
    sidebar.click("diffposetalk.generate")
    assert not window.ask(f"{STATUS}.running")  # it is grey
    (shared / "home" / "notes.wav").write_text("This is not a sound.\n" * 50)
    sidebar.fill("Scene.audio_path", str(shared / "home" / "notes.wav"))
    sidebar.click("diffposetalk.generate", wait=1.0)
    wait_for_job(window)
    assert "notes.wav" in window.ask(f"{STATUS}.error")
    window.screenshot(screenshots / "error.png", sidebar.box())


def test_light_theme_and_large_text(window: RealWindow, sidebar: Sidebar, screenshots: Path) -> None:
    dark = window.screenshot(screenshots / "dark.png", sidebar.box())
    window.run(
        "def steps():\n"
        "    path = next(p for folder in bpy.utils.preset_paths('interface_theme')\n"
        "                for p in __import__('pathlib').Path(folder).glob('*ight.xml'))\n"
        "    bpy.ops.script.execute_preset(filepath=str(path), menu_idname='USERPREF_MT_interface_theme_presets')\n"
        "    yield from wait(0.7)"
    )
    light = window.screenshot(screenshots / "light.png", sidebar.box())
    assert light.mean() > dark.mean() + 30
    window.run("def steps():\n    bpy.context.preferences.view.ui_scale = 2.0\n    yield from wait(1.0)")
    large = window.screenshot(screenshots / "large.png", sidebar.box())
    assert large.shape[1] > 1.5 * light.shape[1]
    assert Image.open(screenshots / "large.png").size == large.shape[1::-1]
