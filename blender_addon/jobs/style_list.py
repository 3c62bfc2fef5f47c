# SPDX-License-Identifier: GPL-3.0-or-later
"""The one list of styles to choose from: the model's presets and the user's library, with their pictures."""

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews

from ..data import bundled, style_library
from ..data.errors import UserError
from ..data.style_library import LibraryStyle
from ..data.style_request import style_params
from ..engine.job import session_folder
from ..install.preferences import addon_preferences, chosen_model_directory

MOTION_FILE = "MOTION_FILE"  # items of the style menu beside the presets' ids and the library's names
NO_STYLE = "NO_STYLE"
OWN = "own:"  # before a library style's name in its identifier
EXACT = 0xFFFFFF  # Blender's menus carry an item's number as a float: larger ones come out as others
LOOK_SECONDS = 2.0  # between two looks at the library's folder

Item = tuple[str, str, str, int, int]  # identifier, name, description, icon and number
# Blender does not keep the strings of computed enum items; they must live as long as the menu.
_items: list[Item] = []
_searchable: list[Item] = []
_own: tuple[float, Path | None, list[LibraryStyle]] = (0.0, None, [])
_pictures: Any = None  # Blender's collection of previews


@dataclass(frozen=True)
class Choice:
    """A style of the list. style: the library's, None for presets. picture: of it, or None."""

    identifier: str
    name: str
    description: str
    figures: str
    style: LibraryStyle | None = None

    @property
    def usable(self) -> bool:
        """Whether it can be generated in."""
        return self.style is None or not self.style.problem


def library_folder() -> Path:
    """The style library's folder: the preference, or the one that the command line uses."""
    chosen = addon_preferences().style_library
    return Path(bpy.path.abspath(chosen)) if chosen else style_library.default_folder()


def own_styles(fresh: bool = False) -> list[LibraryStyle]:
    """The library's styles; looked up anew after two seconds, or at once when `fresh`."""
    global _own
    when, where, styles = _own
    folder = library_folder()
    if fresh or where != folder or time.monotonic() - when > LOOK_SECONDS:
        styles = style_library.list_styles(folder)
        _own = (time.monotonic(), folder, styles)
    return styles


def choices(fresh: bool = False) -> list[Choice]:
    """The model's presets, its own default first, then the user's styles."""
    directory = chosen_model_directory()
    default = bundled.sampling_defaults(directory).style
    listed = [Choice(p.id, p.name, p.description, p.figures) for p in bundled.style_presets(directory)]
    listed.sort(key=lambda choice: choice.identifier != default)
    listed += [
        Choice(OWN + s.name, s.name, s.problem or s.description or "Your own style", s.figures, s)
        for s in own_styles(fresh)
    ]
    return listed


def find_choice(identifier: str) -> Choice | None:
    """The style of the list with this identifier, if it is there."""
    return next((choice for choice in choices() if choice.identifier == identifier), None)


def style_items(settings: bpy.types.PropertyGroup, context: bpy.types.Context | None) -> list[Item]:
    """The menu of styles; number 0, which a new file has, is the model's own style, or none.

    The other numbers come from the ids, so that a saved choice survives a longer list.
    """
    default = bundled.sampling_defaults(chosen_model_directory()).style
    items = []
    for choice in choices():
        number = 0 if choice.identifier == default else zlib.crc32(choice.identifier.encode()) & EXACT
        text = f"{choice.description}. {choice.figures}" if choice.figures else choice.description
        items.append((choice.identifier, choice.name, text, icon_of(choice), max(number, 2) if number else 0))
    if not items or items[0][4] != 0:
        items.insert(0, (NO_STYLE, "No Style", "Leave the style open", 0, 0))
    items.append((MOTION_FILE, "From Motion File", "Take the style of the motion in a file", 0, 1))
    if items != _items:
        _items[:] = items
    return _items


def searchable_items(operator: bpy.types.Operator, context: bpy.types.Context | None) -> list[Item]:
    """The same list with what was said of each style in its name, so that a search finds it."""
    items = []
    for number, choice in enumerate(choices()):
        words = choice.description if choice.description != "Your own style" else ""
        name = f"{choice.name} – {words}" if words else choice.name
        items.append((choice.identifier, name, choice.figures, icon_of(choice), number))
    if items != _searchable:
        _searchable[:] = items
    return _searchable


def panel_style(settings: bpy.types.PropertyGroup) -> dict[str, Any] | None:
    """What the panel's settings ask for, mixture and motion file included; None leaves the style open.

    Raises:
        UserError: something is missing, or not there any more.
    """
    first = _reference(settings) if settings.style == MOTION_FILE else requested_style(settings.style)
    if settings.style_mix <= 0:
        return first
    if settings.style_second == MOTION_FILE:
        raise UserError("A motion file cannot be mixed in: add its style to the library, and choose that.")
    second = requested_style(settings.style_second)
    if first is None or second is None:
        raise UserError("A mixture needs two styles. Choose both, or set Mix to 0.")
    return {"mix": [first, second], "amounts": [1.0 - settings.style_mix, settings.style_mix]}


def _reference(settings: bpy.types.PropertyGroup) -> dict[str, Any]:
    if not settings.style_motion:
        raise UserError("No motion file is chosen for the style. Choose one, or a style of the list.")
    path = bpy.path.abspath(settings.style_motion)
    if settings.style_window == "START":
        return {"motion": path, "start_frame": settings.style_start_frame}
    return {"motion": path, "window": settings.style_window}


def requested_style(choice: str) -> dict[str, Any] | None:
    """A style of the menu as the protocol takes it; None leaves it to the model.

    Raises:
        UserError: it is not there any more, or its file is damaged.
    """
    if choice == NO_STYLE:
        return None
    if choice and not choice.startswith(OWN):
        return {"preset": choice}
    style = next((s for s in own_styles(fresh=True) if OWN + s.name == choice), None)
    if style is None:
        if name := choice.removeprefix(OWN):
            raise UserError(f"The style “{name}” is not in the style library any more. Choose another.")
        raise UserError("The chosen style is not there any more. Choose another.")
    if style.problem:
        raise UserError(style.problem)
    return {"file": str(style.path)}


def asked_style(
    style: str | Path | dict[str, Any] | None, place: Callable[[str], str] = bpy.path.abspath
) -> dict[str, Any] | None:
    """A style as the protocol takes it, of what a script names it by; see `style_params`."""
    if style is None or isinstance(style, dict):
        return style
    own = {each.name: each.path for each in own_styles(fresh=True)}
    presets = [preset.id for preset in bundled.style_presets(chosen_model_directory())]
    return style_params(str(style), place, own, presets)


def icon_of(choice: Choice) -> int:
    """Blender's number of a style's picture; 0 where there is none."""
    if _pictures is None:
        return 0
    if choice.style is None:
        path = bundled.preset_thumbnail(chosen_model_directory(), choice.identifier)
        return 0 if path is None else _icon(str(path), path)
    try:
        stamp = choice.style.path.stat().st_mtime_ns
    except OSError:
        return 0
    key = f"{choice.style.path}:{stamp}"
    if key in _pictures:
        return int(_pictures[key].icon_id)
    data = style_library.thumbnail(choice.style.path)
    if not data:
        return 0
    path = session_folder() / f"thumbnail-{zlib.crc32(key.encode()):08x}.png"
    try:
        path.write_bytes(data)
    except OSError:
        return 0
    return _icon(key, path)


def picture_icon(path: Path) -> int:
    """Blender's number of the picture in a file; 0 where there is none."""
    return _icon(str(path), path) if _pictures is not None and path.is_file() else 0


def _icon(key: str, path: Path) -> int:
    if key not in _pictures:
        try:
            _pictures.load(key, str(path), "IMAGE")
        except (KeyError, RuntimeError):
            return 0
    return int(_pictures[key].icon_id)


def register() -> None:
    global _pictures
    _pictures = bpy.utils.previews.new()


def unregister() -> None:
    global _pictures
    if _pictures is not None:
        bpy.utils.previews.remove(_pictures)
    _pictures = None
