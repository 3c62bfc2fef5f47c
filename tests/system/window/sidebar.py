# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's tab as a hand uses it: its buttons are found by what they do, its panels by their arrows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from real_window import RealWindow

PITCH = 26  # pixels between two closed panels at a UI scale of 1
ARROW = 34  # pixels from the sidebar's edge to a sub-panel's arrow
CLOSED_HEIGHT = 10  # of an arrow that points to the right; one that points down is lower


class Sidebar:
    """The tab DiffPoseTalk of the 3D View's sidebar."""

    def __init__(self, window: RealWindow) -> None:
        self.window = window
        self.clicks = 0
        self._opened_at = 0

    def click(self, what: str, wait: float = 0.3, **place: Any) -> None:
        """Press the button that does `what`; see `inside_blender.find`."""
        self.clicks += 1
        self.window.run(
            f"def steps():\n    yield from click(what, **place)\n    yield from wait({wait})",
            what=what,
            place=place,
        )

    def fill(self, what: str, text: str, **place: Any) -> None:
        """Write into a field."""
        self.clicks += 1
        self.window.run(
            "def steps():\n    yield from fill(what, text, **place)", what=what, text=text, place=place
        )

    def choose_file(self, name: str) -> None:
        """Give the file browser a name, and confirm."""
        self.clicks += 2
        self.window.run("def steps():\n    yield from choose_file(name)", name=name)

    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the tab on the screen."""
        left, bottom, width, height, _ = self.window.ask("place_of_tab()")
        screen = self.window.size[1]
        return left, screen - bottom - height, left + width, screen - bottom

    def resize(self, width: int) -> None:
        """Pull the tab's left edge until it is so wide, in pixels."""
        self.clicks += 1
        self.window.run(
            """
def steps():
    left, bottom, now, height, _ = place_of_tab()
    window = find_area("VIEW_3D")[0]
    x, y = left + EDGE * bpy.context.preferences.system.ui_scale, bottom + height // 2
    yield from drag(window, x, y, x + now - width)
    yield from wait(0.7)
""",
            width=width,
        )

    def open_panels(self) -> list[str]:
        """The panels that are open."""
        return self.window.run("def steps():\n    return (yield from open_panels())")

    def sub_panels(self) -> list[str]:
        """All sub-panels from top to bottom."""
        return self.window.run(
            """
panels = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("DIFFPOSETALK_PT_")]
order = bpy.types.Panel.__subclasses__()
panels = [panel for panel in panels if getattr(panel, "bl_parent_id", "") == "DIFFPOSETALK_PT_main"]
panels.sort(key=order.index)
result = [panel.__name__ for panel in sorted(panels, key=lambda panel: getattr(panel, "bl_order", 0))]
"""
        )

    def _arrows(self) -> list[tuple[int, int]]:
        """Middle (from the screen's top) and height of what is bright in the column of the arrows."""
        left, top, _, bottom = self.box()
        column = self.window.picture()[top:bottom, left + ARROW - 5 : left + ARROW + 6].astype(int)
        bright = np.abs(column - column.mean((0, 1))).sum(2).max(1) > 200
        edges = np.flatnonzero(np.diff(np.concatenate([[0], bright, [0]])))
        return [(top + (a + b) // 2, b - a) for a, b in edges.reshape(-1, 2).tolist()]

    def _press(self, y: int) -> None:
        left = self.box()[0]
        self.clicks += 1
        self.window.run(
            "def steps():\n    yield from press(find_area('VIEW_3D')[0], x, y)\n    yield from wait(0.7)",
            x=left + 60,
            y=self.window.size[1] - y,
        )

    def open(self, panel: str) -> None:
        """Open a closed sub-panel by its header. All sub-panels below it must be closed."""
        names = self.sub_panels()
        below = len(names) - names.index(panel)
        closed = [middle for middle, height in self._arrows() if height >= CLOSED_HEIGHT]
        self._opened_at = closed[-below]
        self._press(self._opened_at)
        assert panel in self.open_panels(), panel

    def close(self, panel: str) -> None:
        """Close the only open sub-panel by its header."""
        arrows = self._arrows()
        opened = [
            middle
            for (before, _), (middle, height) in pairwise(arrows)
            if height < CLOSED_HEIGHT and abs(middle - before - PITCH) <= 1
        ]
        # Where it was, unless what is above has grown or shrunk meanwhile.
        opened.sort(key=lambda middle: abs(middle - self._opened_at))
        if self.sub_panels()[0] == panel:  # no arrow before it
            opened = [self._opened_at]
        self._press(opened[0])
        assert panel not in self.open_panels(), panel
