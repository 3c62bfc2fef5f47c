# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a character's face was found, in the groups that an artist looks for."""

from dataclasses import dataclass

from bpy.app.translations import pgettext_n as n_

from ..data import arkit, shape_names
from .character import Character

FOUND, PARTLY, MISSING = "FOUND", "PARTLY", "MISSING"


@dataclass(frozen=True)
class Group:
    """A part of the face: how much of it was found.

    name: to show. state: FOUND, PARTLY or MISSING. count, whole: channels found, and those that there are.
    lacks: what is missing, by the channels' names.
    """

    name: str
    state: str
    count: int
    whole: int
    lacks: tuple[str, ...] = ()


def face_groups(character: Character) -> list[Group]:
    """The groups of a character's face; visemes only where they show the mouth, teeth only where there are some."""
    sources = {row.source for row in character.rows}
    choice = character.bones
    visemes = {source for source in sources if ":" in source}
    groups = []
    if visemes:
        title = next(iter(visemes)).partition(":")[0]
        wanted = {f"{title}:{viseme}" for viseme in shape_names.VISEME_SETS[title]}
        groups.append(_group(n_("Visemes"), visemes, wanted))
    else:
        jaw = {arkit.JAW_OPEN} if choice.jaw and choice.jaw_by in ("BONE", "BOTH") else set()
        groups.append(_group(n_("Jaw"), sources | jaw, {arkit.JAW_OPEN}))
        mouth = {name for name in arkit.EXPRESSION_NAMES if name.startswith(("mouth", "jaw", "cheekPuff"))}
        groups.append(_group(n_("Lips"), sources, mouth))
    prefixes = {
        n_("Brows"): ("brow",),
        n_("Lids"): ("eyeBlink", "eyeSquint", "eyeWide"),
        n_("Gaze"): ("eyeLook",),
    }
    for name, prefix in prefixes.items():
        wanted = {channel for channel in arkit.EXPRESSION_NAMES if channel.startswith(prefix)}
        eyes = wanted if name == "Gaze" and choice.eye_left and choice.eye_right else set()
        groups.append(_group(name, sources | eyes, wanted))
    groups.append(_group(n_("Head"), {"head"} if choice.head or choice.neck else set(), {"head"}))
    inside = {item.name for item in character.objects if item.type == "MESH" and "teeth" in item.name.lower()}
    if inside:
        moved = {row.object for row in character.rows if row.source.startswith(("jaw", "oculus", "vrm"))}
        by_bone = inside if choice.jaw and choice.jaw_by in ("BONE", "BOTH") else set()
        groups.append(_group(n_("Teeth"), moved | by_bone, inside))
    return groups


def _group(name: str, channels: set[str], wanted: set[str]) -> Group:
    count = len(channels & wanted)
    state = FOUND if count == len(wanted) else PARTLY if count else MISSING
    return Group(name, state, count, len(wanted), tuple(sorted(wanted - channels)))
