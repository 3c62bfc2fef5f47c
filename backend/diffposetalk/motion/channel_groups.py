# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of motion channels by the part of the face they move, as an animator holds or layers them.

Every channel of a motion vector is in exactly one group. In the ARKit basis the groups go by what a channel moves:
noseSneer raises the upper lip and so belongs to the lips, cheekSquint pushes the lower lid up and belongs to the
eyes, the jaw and cheekPuff go with the lips. FLAME's expression components each move the whole face, so lips, brows
and eyes cannot be told apart there: the groups are the expression as a whole, the jaw and the head.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..config import EXPRESSION_DIM
from ..errors import DiffPoseTalkError
from .arkit import EXPRESSIONS

JAW = "jawOpen"
HEAD = ("headRotationX", "headRotationY", "headRotationZ")

MOUTH = {"arkit": ("lips",), "flame": ("expression", "jaw")}
"""Groups that speech moves above all, by basis."""

_PREFIXES = {
    "lips": ("mouth", "jaw", "cheekPuff", "noseSneer"),
    "brows": ("brow",),
    "eyes": ("eye", "cheekSquint"),
}


def channel_names(basis: str, motion_dim: int) -> list[str]:
    """Names of the channels of a motion vector: expression, head rotation if it has one (54), jaw pitch."""
    expression = EXPRESSIONS if basis == "arkit" else tuple(f"Exp{i:03d}" for i in range(EXPRESSION_DIM))
    head = HEAD if motion_dim == EXPRESSION_DIM + 4 else ()
    return [*expression, *head, JAW]


def channel_groups(basis: str, motion_dim: int) -> dict[str, list[str]]:
    """Names of the channels in each group; a model without head rotation has no group “head”."""
    names = channel_names(basis, motion_dim)
    if basis == "arkit":
        groups = {
            group: [n for n in names if n.startswith(prefixes)] for group, prefixes in _PREFIXES.items()
        }
    else:
        groups = {"expression": names[:EXPRESSION_DIM], "jaw": [JAW]}
    head = [n for n in names if n in HEAD]
    return {**groups, "head": head} if head else groups


def channels_of(groups: Iterable[str], basis: str, motion_dim: int) -> np.ndarray:
    """Mask (motion_dim,) of the channels in any of the groups.

    Raises:
        DiffPoseTalkError: kind regenerate_hold; a group that the basis does not have.
    """
    known = channel_groups(basis, motion_dim)
    names = channel_names(basis, motion_dim)
    mask = np.zeros(motion_dim, bool)
    for group in groups:
        if group == "head" and group not in known:
            continue  # a model without head rotation never moves it
        if group not in known:
            because = (
                "; each of FLAME's expression components moves the whole face" if basis == "flame" else ""
            )
            raise DiffPoseTalkError(
                f"There is no channel group {group!r} in the {basis} basis. Groups: {', '.join(known)}{because}.",
                "regenerate_hold",
            )
        mask[[names.index(name) for name in known[group]]] = True
    return mask
