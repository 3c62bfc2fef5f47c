# SPDX-License-Identifier: GPL-3.0-or-later
"""One recording of speech with its motion, whatever it was read from, and why one cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..motion.clip import MotionClip

Split = Literal["train", "validation", "test"]

KEPT_FOR_TESTING = "it is kept for testing."


@dataclass(frozen=True)
class Recording:
    """One clip of one speaker.

    Attributes:
        id: unique within its source; a path-like name.
        speaker: who speaks.
        split: `train`, `validation`, or `test`: of clips that are read only where they are asked for.
        sound: reads the sound: float32 (n,), 16 kHz mono. Raises AudioError.
        motion: at 25 frames a second, beginning with the sound; None where there is sound alone.
    """

    id: str
    speaker: str
    split: Split
    sound: Callable[[], np.ndarray]
    motion: MotionClip | None


@dataclass(frozen=True)
class Skipped:
    """A recording that cannot be used, and why."""

    id: str
    reason: str


OnSkip = Callable[[Skipped], None]
