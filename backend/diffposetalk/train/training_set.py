# SPDX-License-Identifier: GPL-3.0-or-later
"""The prepared training set: long sequences of speech and motion, on disk as flat arrays.

A folder holds:

- `sequences.json`: rows of `Sequence`;
- `motion.npy` (M, 54) float32: motion vectors;
- `features.npy` (N, C) float16: features of a frozen speech encoder, and `silence.npy` (100, C): of silence;
- `sound.npy` (N, 640) int16, instead of or beside the features: the sound of the same rows, one motion frame
  each, for training a speech encoder;
- `shapes.npy` (S, 100) float32, optional: identity coefficients of each sequence;
- `set.json`, optional: `SetDescription`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..config import EXPRESSION_DIM, SpeechEncoderConfig, from_fields
from ..errors import DataError
from ..motion.arkit import EXPRESSIONS

ARRAYS = ("features", "motion", "silence", "sound", "shapes")
HEAD_CHANNELS = slice(EXPRESSION_DIM, EXPRESSION_DIM + 3)
"""Of a motion vector with head rotation."""


@dataclass
class Sequence:
    """Rows of one sequence in the flat arrays: `feature_starts` per sound variant, `motion_starts` per style."""

    id: str
    corpus: str
    speaker: str
    frames: int
    feature_starts: list[int]
    motion_starts: list[int]
    validation: bool = False
    """Kept out of training; curves and sample pictures are made on these."""


@dataclass(frozen=True)
class SetDescription:
    """What the arrays mean: basis of the motion, jaw rotation about y and z, encoder of the features."""

    basis: str = "arkit"
    expression_names: tuple[str, ...] = EXPRESSIONS
    jaw_rest: tuple[float, float] = (0.0, 0.0)
    speech_encoder: SpeechEncoderConfig = field(default_factory=lambda: SpeechEncoderConfig(layers=(2, 4)))
    """Both layers that the bundled model reads: the one that tells phones best and an earlier one."""


@dataclass
class TrainingSet:
    """A training set, its arrays as the module's description names them."""

    features: np.ndarray | None
    motion: np.ndarray
    sequences: list[Sequence]
    silence: np.ndarray | None
    sound: np.ndarray | None = None
    shapes: np.ndarray | None = None
    description: SetDescription = field(default_factory=SetDescription)

    @classmethod
    def load(cls, folder: str | Path) -> TrainingSet:
        """Open a folder; the large arrays are memory-mapped.

        Raises:
            DataError: `data_set`; no training set is there, or its files do not fit together.
        """
        folder = Path(folder)

        def array(name: str) -> Any:
            path, small = folder / f"{name}.npy", name in ("silence", "shapes")
            return np.load(path, mmap_mode=None if small else "r") if path.is_file() else None

        try:
            rows = json.loads((folder / "sequences.json").read_text(encoding="utf-8"))
            about = folder / "set.json"
            described = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
            arrays = {name: array(name) for name in ARRAYS}
            if arrays["motion"] is None:
                raise ValueError("no motion.npy")
            if "speech_encoder" in described:
                encoder = from_fields(SpeechEncoderConfig, described["speech_encoder"])
                described = {**described, "speech_encoder": encoder}
            description: SetDescription = from_fields(SetDescription, described)
            if description.basis not in ("arkit", "flame"):
                raise ValueError(f"basis {description.basis!r}")
            sequences = [Sequence(**row) for row in rows]
            data = cls(sequences=sequences, description=description, **arrays)
            data.check()
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise DataError(
                f"“{folder}” is not a training set ({error}). Make one with 'diffposetalk train prepare'.",
                "data_set",
            ) from error
        return data

    def save(self, folder: str | Path) -> None:
        """Write the folder; `sequences.json` comes last, so that a half-written set does not load."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sequences.json").unlink(missing_ok=True)
        for name in ARRAYS:
            values = getattr(self, name)
            if values is None:
                (folder / f"{name}.npy").unlink(missing_ok=True)
            else:
                np.save(folder / f"{name}.npy", values)
        (folder / "set.json").write_text(json.dumps(asdict(self.description), indent=1), encoding="utf-8")
        rows = [asdict(s) for s in self.sequences]
        (folder / "sequences.json").write_text(json.dumps(rows), encoding="utf-8")

    def check(self) -> None:
        """Raise ValueError unless arrays and sequences fit together."""
        if self.features is None and self.sound is None:
            raise ValueError("neither features nor sound")
        if self.motion.ndim != 2 or self.motion.shape[1] != EXPRESSION_DIM + 4:
            raise ValueError(f"motion of shape {self.motion.shape}")
        if self.features is not None:
            if self.silence is None or self.silence.shape[1:] != self.features.shape[1:]:
                raise ValueError("features without those of silence")
            if self.sound is not None and len(self.sound) != len(self.features):
                raise ValueError("sound and features of different length")
        if self.shapes is not None and len(self.shapes) != len(self.sequences):
            raise ValueError("not one shape a sequence")
        heard = self.features if self.features is not None else self.sound
        assert heard is not None
        for s in self.sequences:
            starts = [(start, len(heard)) for start in s.feature_starts]
            starts += [(start, len(self.motion)) for start in s.motion_starts]
            if not s.feature_starts or not s.motion_starts or s.frames < 1:
                raise ValueError(f"sequence {s.id!r} is empty")
            if any(start < 0 or start + s.frames > length for start, length in starts):
                raise ValueError(f"sequence {s.id!r} lies outside the arrays")

    def drawable(self, frames: int, validation: bool = False) -> list[int]:
        """Indices of the training (or validation) sequences with at least so many frames.

        Raises:
            DataError: `data_set`; there is none for training.
        """
        which = [i for i, s in enumerate(self.sequences) if s.validation == validation and s.frames >= frames]
        if not which and not validation:
            raise DataError(
                f"The training set has no sequence of {frames} frames ({frames / 25:.0f} s) or more.",
                "data_set",
            )
        return which


def motion_channels(motion_dim: int) -> np.ndarray:
    """Channels of the set's motion vectors (54) that a model of `motion_dim` has: all, or all but the head's."""
    channels = np.arange(EXPRESSION_DIM + 4)
    return channels if motion_dim == len(channels) else np.delete(channels, HEAD_CHANNELS)
