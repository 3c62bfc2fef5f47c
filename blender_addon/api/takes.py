# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes that objects show, for scripts: shown, adjusted, made again, checked, layered."""

from collections.abc import Sequence
from dataclasses import replace

import bpy

from ..data.adjustment import Adjustment
from ..data.errors import UserError
from ..install.preferences import addon_preferences
from ..jobs import dialogue
from ..jobs.lip_check import LipCheckJob
from ..jobs.regeneration import RangeRequest, RegenerationJob
from ..takes import layers, record, showing
from .calls import Objects, listed, push_undo


def takes(item: bpy.types.Object) -> list[bpy.types.Action]:
    """The takes of a head or character, by their first Actions. Raises UserError."""
    return record.takes_of(showing.target_of(item).owner)


def show_take(action: bpy.types.Action) -> None:
    """Let a take animate its head or character; the one before is kept. Raises UserError."""
    showing.show_take(action, showing.target_of(showing.owner_of_take(action)))
    push_undo("Show Take")


def adjust(item: bpy.types.Object | bpy.types.Action, **changes: float) -> Adjustment:
    """Change the take that an object shows, or a take itself; nothing is lost, and keys made by hand stay.

    Args:
        changes: fields of `Adjustment`; the others stay as they are. None at all only answers.

    Returns:
        The take's changes now.

    Raises:
        UserError: there is no take, or no such field.
    """
    action = _shown(item) if isinstance(item, bpy.types.Object) else item
    unknown = set(changes) - set(Adjustment().__dict__)
    if unknown:
        raise UserError(f"“{sorted(unknown)[0]}” is nothing that can be adjusted.")
    change = replace(showing.adjustment_of(action), **changes)
    if changes:
        showing.set_adjustment(action, change)
        push_undo("Adjust Take")
    return showing.adjustment_of(action)


def regenerate(
    item: bpy.types.Object,
    first_frame: float,
    last_frame: float,
    *,
    seed: int = 1,
    count: int = 1,
    hold: Sequence[str] = (),
    hold_hand_made: bool = True,
) -> list[bpy.types.Action]:
    """Make a range of the take that an object shows again, joined to what stands around it.

    Args:
        first_frame, last_frame: of the scene.
        seed, count: seed, seed + 1, ... make a take each.
        hold: groups that stay as they are: "lips", "brows", "eyes", "head".
        hold_hand_made: let the new motion pass through keys made by hand. They stay in any case.

    Returns:
        The new takes' first Actions; the first one is shown.

    Raises:
        UserError, BackendError: it cannot be done; nothing was changed.
    """
    seeds = tuple(range(seed, seed + count))
    request = RangeRequest(first_frame, last_frame, seeds, frozenset(hold), hold_hand_made)
    job = RegenerationJob(item, request, addon_preferences().device)
    job.complete()
    push_undo("Regenerate Range")
    return job.results


def step_line(item: bpy.types.Object, frame: float) -> bpy.types.Action:
    """Let the line at a frame of the dialogue's take that an object shows be that of the next seed.

    Returns:
        The take that is shown now; see `dialogue.step_line`.

    Raises:
        UserError: it is no dialogue's take, or the line was made with one seed only.
    """
    action = _shown(item)
    action, _ = dialogue.step_line(action, showing.target_of(item), frame)
    push_undo("Next Take of Line")
    return action


def check_lips(
    objects: Objects, transcript: str | dict[str, str] = "", scene: bpy.types.Scene | None = None
) -> LipCheckJob:
    """Mark on the timeline where lips should close and do not, and the words of transcripts.

    Args:
        objects: heads or characters, whose shown takes are checked.
        transcript: what is said, in English; for a dialogue by the names of its strips. See `lip_check.LipCheckJob`.

    Returns:
        The finished job: `words`, `closures`, `source`, `problems`.

    Raises:
        UserError, BackendError: nothing can be checked; no marker was changed.
    """
    job = LipCheckJob(scene or bpy.context.scene, listed(objects), transcript, addon_preferences().device)
    job.complete()
    push_undo("Check Lips")
    return job


def push_to_nla(item: bpy.types.Object, blend: str = "COMBINE") -> list[bpy.types.NlaStrip]:
    """Move the take that an object shows into the NLA editor; see `layers.push_to_nla`."""
    action = _shown(item)
    strips = layers.push_to_nla(action, showing.target_of(item), blend)
    push_undo("Push to NLA")
    return strips


def reduce_keys(item: bpy.types.Object, bound: float = 0.1) -> tuple[int, int]:
    """Leave out keys of the take that an object shows; see `layers.reduce_keys`. `bound` is in millimetres."""
    action = _shown(item)
    counts = layers.reduce_keys(action, bound)
    push_undo("Reduce Keys")
    return counts


def _shown(item: bpy.types.Object) -> bpy.types.Action:
    """The take that an object shows. Raises UserError."""
    [action] = showing.chosen_takes([item])
    return action
