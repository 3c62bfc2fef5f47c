# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside the real Blender: obeys the test beside it, and simulates what a hand would do.

The test sends Python source, one JSON line each, over a Unix socket; the value of `result` goes back. Source that
defines a generator `steps()` is carried on once a turn of Blender's main loop, so that windows are drawn and
events are handled between its `yield`s; what it returns goes back.
"""

import json
import os
import select
import socket
import sys
import time
import traceback

import bpy

TURN = 0.004  # seconds between two turns
EDGE = 8  # pixels, at a UI scale of 1, from the sidebar's border to where its edge can be taken
KEYS = {" ": "SPACE", ".": "PERIOD", "/": "SLASH", "-": "MINUS", "_": "MINUS", ",": "COMMA"}
DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")


def find_area(kind, window=None):
    """Window and area of a kind; the last window that shows one."""
    windows = bpy.context.window_manager.windows
    for candidate in reversed(windows) if window is None else [windows[window]]:
        for area in candidate.screen.areas:
            if area.type == kind:
                return candidate, area
    raise LookupError(f"no window shows {kind}")


def find_region(area, kind):
    """A region of an area."""
    return next(region for region in area.regions if region.type == kind)


def move(window, x, y):
    """Move the mouse there, from a little aside, and let Blender see it."""
    window.event_simulate("MOUSEMOVE", "NOTHING", x=int(x) - 1, y=int(y))
    window.event_simulate("MOUSEMOVE", "NOTHING", x=int(x), y=int(y))
    yield


def press(window, x, y, button="LEFTMOUSE", **modifiers):
    """Press and release a mouse button there, as a hand does: not at once."""
    yield from move(window, x, y)
    yield from wait(0.05)
    window.event_simulate(button, "PRESS", x=int(x), y=int(y), **modifiers)
    yield from wait(0.05)
    window.event_simulate(button, "RELEASE", x=int(x), y=int(y), **modifiers)
    yield from wait(0.15)


def drag(window, x, y, to_x):
    """Press, pull aside in a few moves, let go."""
    yield from move(window, x, y)
    window.event_simulate("LEFTMOUSE", "PRESS", x=int(x), y=int(y))
    yield from wait(0.05)
    for part in range(1, 11):
        window.event_simulate("MOUSEMOVE", "NOTHING", x=int(x + (to_x - x) * part / 10), y=int(y))
        yield
    window.event_simulate("LEFTMOUSE", "RELEASE", x=int(to_x), y=int(y))
    yield from wait(0.15)


def key(window, x, y, name, **modifiers):
    """Press and release a key with the mouse there."""
    window.event_simulate(name, "PRESS", x=int(x), y=int(y), **modifiers)
    window.event_simulate(name, "RELEASE", x=int(x), y=int(y), **modifiers)
    yield from wait(0.1)


def write(window, x, y, text):
    """Type a text letter by letter."""
    for letter in text:
        name = KEYS.get(letter) or (DIGITS[int(letter)] if letter.isdigit() else letter.upper())
        window.event_simulate(name, "PRESS", unicode=letter, x=int(x), y=int(y))
        window.event_simulate(name, "RELEASE", x=int(x), y=int(y))
        yield


def wait(seconds):
    """Let Blender work for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield


def under_mouse(window, area, region):
    """What the button under the mouse does: an operator's call, or a data-block's kind and a property; else None."""
    with bpy.context.temp_override(window=window, area=area, region=region):
        if bpy.ops.ui.copy_python_command_button.poll():
            found = copied(bpy.ops.ui.copy_python_command_button)
            if found:
                return found
        found = bpy.context.property
        if found is not None:
            # From Blender 5 on the path leads through the groups that the property is in.
            owner = found[0].id_data or found[0]
            return f"{owner.bl_rna.identifier}.{found[1].rpartition('.')[2]}"
    return None


def copied(copy):
    """What `copy` puts on the clipboard, which is left as it was."""
    manager = bpy.context.window_manager
    before, manager.clipboard = manager.clipboard, ""
    copy()
    found, manager.clipboard = manager.clipboard, before
    return found


COLUMNS = (0.6, 0.35, 0.85, 0.47, 0.72, 0.93, 0.2, 0.1, 0.89, 0.97, 0.05)  # of a region's width
found_before = {}  # where buttons were: looked at first


def find(what, kind="VIEW_3D", region="UI", columns=COLUMNS):
    """Move the mouse over a region until it is on a button that does `what`.

    Args:
        what: the beginning of an operator's call without bpy.ops, or a property (kind of data-block, a dot, name).
        columns: shares of the region's width where it is looked for.

    Returns:
        The window, and the place.
    """
    window, area = find_area(kind)
    part = find_region(area, region)

    def at(x, y):
        yield from move(window, x, y)
        told = under_mouse(window, area, part) or ""
        return told.removeprefix("bpy.ops.").startswith(what) or told.endswith(what)

    if (what, kind) in found_before:
        x, y = found_before[what, kind]
        if (yield from at(x, y)):
            return window, x, y
    step = 13 * bpy.context.preferences.system.ui_scale
    right = 24 * bpy.context.preferences.system.ui_scale if kind == "VIEW_3D" else 0  # the tabs
    for column in columns:
        x = part.x + int(column * (part.width - right))
        y = part.y + part.height - step
        while y > part.y:
            if (yield from at(x, y)):
                y -= 5  # not on the edge
                if not (yield from at(x, y)):
                    y += 5
                found_before[what, kind] = x, y
                return window, x, y
            y -= step
    raise LookupError(f"no button does {what}")


def click(what, kind="VIEW_3D", region="UI", columns=COLUMNS):
    """Find a button and press it."""
    window, x, y = yield from find(what, kind, region, columns)
    yield from press(window, x, y)
    return x, y


def fill(what, text, kind="VIEW_3D", region="UI"):
    """Press on a field, replace what is in it, and confirm."""
    yield from rewrite(*(yield from find(what, kind, region)), text)


def rewrite(window, x, y, text):
    """Press on the field that is there, replace what is in it, and confirm."""
    yield from press(window, x, y)
    yield from key(window, x, y, "A", ctrl=True)
    yield from write(window, x, y, text)
    yield from key(window, x, y, "RET")
    yield from wait(0.3)


def choose_file(name):
    """Type a file's name into the file browser that has opened, and confirm it there."""
    until = time.monotonic() + 60
    while True:
        try:
            window, area = find_area("FILE_BROWSER")
            break
        except LookupError:
            if time.monotonic() > until:
                raise
            yield
    yield from wait(1.0)
    bar = find_region(area, "EXECUTE")
    middle = bar.y + bar.height // 2
    yield from rewrite(window, bar.x + bar.width // 3, middle, name)
    yield from press(window, bar.x + bar.width - 60, middle)
    yield from wait(0.5)


def place_of_tab():
    """Left, bottom, width and height of the 3D View's sidebar in its window, and the tab it shows."""
    _, area = find_area("VIEW_3D")
    part = find_region(area, "UI")
    return part.x, part.y, part.width, part.height, part.active_panel_category


drawn = {}  # panels, and when they were drawn last


def watch_panels():
    """From now on `drawn` says which panels are open."""
    for name in dir(bpy.types):
        panel = getattr(bpy.types, name)
        if name.startswith("DIFFPOSETALK_PT_") and getattr(panel, "bl_category", ""):
            panel.append(lambda self, context, name=name: drawn.__setitem__(name, time.monotonic()))


def open_panels():
    """The panels that are drawn when the sidebar is."""
    _, area = find_area("VIEW_3D")
    drawn.clear()
    find_region(area, "UI").tag_redraw()
    yield from wait(0.4)
    return sorted(drawn)


class Server:
    """Takes the test's commands, one at a time."""

    def __init__(self, path):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.connection.connect(path)
        self.buffer = b""
        self.names = dict(globals())
        self.steps = None

    def turn(self):
        """Go on with the command under way, or take the next; Blender calls it again and again."""
        try:
            if self.steps is None:
                self.receive()
            else:
                try:
                    next(self.steps)
                except StopIteration as end:
                    self.steps = None
                    self.answer(end.value)
        except ConnectionError:
            sys.stdout.flush()
            os._exit(0)
        except Exception:
            self.steps = None
            self.send({"error": traceback.format_exc()})
        return TURN

    def receive(self):
        """Take a command, if there is one, and begin it."""
        if not select.select([self.connection], [], [], 0)[0]:
            return
        data = self.connection.recv(1 << 16)
        if not data:
            raise ConnectionError
        self.buffer += data
        if b"\n" not in self.buffer:
            return
        line, _, self.buffer = self.buffer.partition(b"\n")
        self.names.pop("steps", None)
        self.names["result"] = None
        exec(json.loads(line), self.names)
        if "steps" in self.names:
            self.steps = self.names["steps"]()
        else:
            self.answer(self.names["result"])

    def answer(self, value):
        """Send a command's value."""
        self.send({"result": value})

    def send(self, message):
        """Send a line."""
        self.connection.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    server = Server(sys.argv[sys.argv.index("--") + 1])
    bpy.app.timers.register(server.turn, first_interval=1.0, persistent=True)
