# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in a panel, in as many lines as the panel's width needs; Blender itself cuts what is too long."""

import blf
import bpy

MARGIN_WIDTH = 98  # pixels at a UI scale of 1: the margins of panel and box, an icon, the tabs
LEAST_WIDTH = 90  # a region that is narrower is being opened or closed
FONT = 0


def wrap(text: str, width: int) -> list[str]:
    """Lines of a text that are not wider than a region of `width` pixels shows beside an icon."""
    preferences = bpy.context.preferences
    scale = preferences.system.ui_scale or 1.0
    blf.size(FONT, preferences.ui_styles[0].widget.points * scale)
    room = max(LEAST_WIDTH, width / scale - MARGIN_WIDTH) * scale
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and blf.dimensions(FONT, longer)[0] <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def draw_text(layout: bpy.types.UILayout, text: str, width: int, icon: str = "NONE") -> None:
    """A text in as many lines as it needs.

    Args:
        width: of the region in pixels.
        icon: before the first line.
    """
    column = layout.column(align=True)
    for number, line in enumerate(wrap(text, width)):
        column.label(text=line, icon=icon if number == 0 or icon == "NONE" else "BLANK1", translate=False)
