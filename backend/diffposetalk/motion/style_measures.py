# SPDX-License-Identifier: GPL-3.0-or-later
"""What a style looks like in figures that can be compared without generating; `description` measures them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class StyleMeasures:
    """A manner of speaking in figures; None where the basis does not tell.

    Attributes:
        mouth_opening: 95th percentile of the gap between the inner lips, millimetres on the head measured on.
        lip_activity: mean speed of the lips relative to the head, millimetres a second.
        brow_activity: standard deviation of the brows' blendshapes, 0 to 1.
        head_amplitude: standard deviation of the head's rotation (root mean square of its axes), degrees.
        head_tempo: root-mean-square frequency of the head's rotation, hertz; 0 for a still head.
        blinks: a minute.
        seconds: of motion that was measured.
    """

    mouth_opening: float
    lip_activity: float
    brow_activity: float | None
    head_amplitude: float
    head_tempo: float
    blinks: float | None
    seconds: float

    def to_dict(self) -> dict[str, float | None]:
        """As JSON-ready data; `from_dict` is its inverse."""
        return {k: None if v is None else round(v, 3) for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Any) -> StyleMeasures | None:
        """Measures out of JSON, or None where they are not there or not numbers."""
        try:
            values = {
                name: None
                if data[name] is None and name in ("brow_activity", "blinks")
                else float(data[name])
                for name in cls.__dataclass_fields__
            }
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        return cls(**values)  # type: ignore[arg-type]

    def __str__(self) -> str:
        parts = [f"mouth opens {self.mouth_opening:.0f} mm", f"lips move {self.lip_activity:.0f} mm/s"]
        if self.brow_activity is not None:
            parts.append(f"brows move {100 * self.brow_activity:.0f} %")
        tempo = f" about every {1 / self.head_tempo:.1f} s" if self.head_tempo > 0 else ""
        parts.append(f"head moves {self.head_amplitude:.1f}°{tempo}")
        if self.blinks is not None:
            parts.append(f"{self.blinks:.0f} blinks a minute")
        return ", ".join(parts)


def listed_measures(measures: StyleMeasures | None) -> dict[str, Any]:
    """For listings: `measures` as JSON-ready data and `figures` in words, None and empty where nothing was measured."""
    return {"figures": str(measures or ""), "measures": measures and measures.to_dict()}


def mixed_measures(
    measures: Sequence[StyleMeasures | None], amounts: Sequence[float]
) -> StyleMeasures | None:
    """What a mixture may be expected to measure: the mean, weighted; None where a part is not measured."""
    total = sum(amounts)
    known = [m for m in measures if m is not None]
    if len(known) < len(measures) or total <= 0:
        return None
    rows = [asdict(m) for m in known]

    def mean(name: str) -> float | None:
        if any(row[name] is None for row in rows):
            return None
        return sum(row[name] * amount for row, amount in zip(rows, amounts, strict=True)) / total

    return StyleMeasures.from_dict({name: mean(name) for name in rows[0]})
