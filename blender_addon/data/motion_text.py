# SPDX-License-Identifier: GPL-3.0-or-later
"""A motion as text that a data-block can keep, and back. No bpy here."""

import base64
import json
from functools import lru_cache

import numpy as np

from .errors import UserError
from .motion import Motion


def motion_to_text(motion: Motion) -> str:
    """Pack a motion: a line of JSON that describes it, and its numbers as float32 in base64."""
    described = {
        "frames": len(motion.exp),
        "channels": motion.exp.shape[1],
        "fps": motion.fps,
        "basis": motion.basis,
        "names": list(motion.expression_names),
        "provenance": motion.provenance,
    }
    numbers = np.concatenate([motion.exp, motion.head, motion.jaw], axis=1).astype("<f4")
    packed = base64.b64encode(numbers.tobytes()).decode("ascii")
    return json.dumps(described, ensure_ascii=True) + "\n" + packed


@lru_cache(maxsize=8)
def motion_from_text(text: str) -> Motion:
    """Unpack what `motion_to_text` made.

    Raises:
        UserError: the text is damaged.
    """
    try:
        line, _, packed = text.partition("\n")
        described = json.loads(line)
        numbers = np.frombuffer(base64.b64decode(packed), "<f4").reshape(described["frames"], -1)
        channels = described["channels"]
        if numbers.shape[1] != channels + 6:
            raise ValueError("channels")
        exp, head, jaw = np.split(numbers, [channels, channels + 3], axis=1)
        fps, names = float(described["fps"]), tuple(described["names"])
        return Motion(exp, head, jaw, fps, str(described["basis"]), names, described["provenance"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("The motion that is stored with this take is damaged; generate it again.") from error
