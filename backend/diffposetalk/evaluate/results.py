# SPDX-License-Identifier: GPL-3.0-or-later
"""What an evaluation found, as data: for the report page, the terminal and JSON."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..phones import BILABIALS, OPEN_VOWELS
from .confidence import LEVEL, Estimate
from .evaluation import Figures
from .long_take import LongTake
from .paper_table import CAPTION, COLUMNS, NOT_COMPARABLE, TABLE_1
from .references import Reference
from .reported_figures import BY_KEY, LONG_TAKE, METRICS, PAPER, STYLE, Metric, printed


@dataclass
class Corpus:
    """The figures of all subjects on the references of one corpus; `pictured`: indices of those to be shown."""

    name: str
    references: list[Reference]
    figures: list[Figures]
    seconds: float
    pictured: list[int] = field(default_factory=list)

    def described(self) -> str:
        """What it holds, in words."""
        speakers = len({reference.speaker for reference in self.references})
        spoken = [phone for reference in self.references for phone, _, _ in reference.phones]
        closures, openings = (sum(phone in kind for phone in spoken) for kind in (BILABIALS, OPEN_VOWELS))
        said = f"{_count(closures, 'P B M', '')} and {_count(openings, 'open vowel')}"
        return (
            f"{_count(len(self.references), 'recording')} of {_count(speakers, 'speaker')}, {self.seconds:.0f} s, "
            f"with{'' if self.has_motion else 'out'} recorded motion; {said if spoken else 'phones not known'}."
        )

    def worst(self) -> int | None:
        """The reference on which the first subject that can be compared has the largest LVE."""
        for figures in self.figures:
            errors = [figures.by_clip.get(r.id, {}).get("lve", float("nan")) for r in self.references]
            known = {index: error for index, error in enumerate(errors) if math.isfinite(error)}
            if known:
                return max(known, key=lambda index: known[index])
        return None

    @property
    def has_motion(self) -> bool:
        """Whether any reference has motion to compare with."""
        return any(reference.motion is not None for reference in self.references)


def _count(number: int, name: str, plural: str = "s") -> str:
    return f"{number} {name}{plural if number != 1 else ''}"


@dataclass
class Evaluation:
    """A whole evaluation.

    Attributes:
        settings: how it was run, for the reader (name: value).
        long_take: of the model over one long recording, or None.
        style: figures by the keys of `reported_figures.STYLE`, empty if not measured.
        notes: what a reader should know.
    """

    settings: dict[str, str]
    corpora: list[Corpus]
    long_take: LongTake | None = None
    style: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def rows_of(corpus: Corpus, metrics: Sequence[Metric] = METRICS) -> list[Metric]:
    """The metrics that any subject of a corpus has a figure of."""
    return [metric for metric in metrics if any(metric.key in f.estimates for f in corpus.figures)]


def to_json(evaluation: Evaluation) -> str:
    """Everything as JSON: means, half-widths of the intervals, the runs' values, each clip's; numbers are unrounded."""
    data: dict[str, Any] = {
        "format": 1,
        "confidence": LEVEL,
        "settings": evaluation.settings,
        "notes": evaluation.notes,
        "metrics": {
            key: {
                "title": m.title,
                "unit": "" if m.percent else m.unit,
                "better": m.better,
                "meaning": m.meaning,
            }
            for key, m in BY_KEY.items()
        },
        "corpora": {
            corpus.name: {
                "clips": len(corpus.references),
                "seconds": corpus.seconds,
                "subjects": {
                    f.subject: {
                        "runs": f.runs,
                        "notes": f.notes,
                        "figures": {key: asdict(value) for key, value in f.estimates.items()},
                        "by_run": f.by_run,
                        "by_clip": f.by_clip,
                    }
                    for f in corpus.figures
                },
            }
            for corpus in evaluation.corpora
        },
        "long_take": None
        if evaluation.long_take is None
        else {
            "seconds": evaluation.long_take.seconds,
            "figures": {k: asdict(v) for k, v in evaluation.long_take.estimates.items()},
        },
        "style": evaluation.style,
        "paper": {
            "caption": CAPTION,
            "note": NOT_COMPARABLE,
            "columns": list(COLUMNS),
            "rows": [
                [group, method, *cells] for group, rows in TABLE_1.items() for method, cells in rows.items()
            ],
        },
    }
    return json.dumps(_finite(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON knows no NaN: null stands for what was not measured."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_text(evaluation: Evaluation) -> str:
    """Tables for the terminal."""
    parts = []
    for corpus in evaluation.corpora:
        parts.append(f"{corpus.name}: {corpus.described()}")
        header = ["", "", *(f.subject for f in corpus.figures)]
        rows = [
            [m.title, m.unit, *(printed(m, f.estimates.get(m.key)) for f in corpus.figures)]
            for m in rows_of(corpus)
        ]
        parts.append(_columns([header, *rows]))
    compared = [corpus for corpus in evaluation.corpora if corpus.has_motion]
    if compared:
        columns = [BY_KEY[key] for key in COLUMNS]
        rows = [["", *(f"{m.title} ({m.unit})" if m.unit else m.title for m in columns)]]
        rows += [
            [f"{f.subject}, {corpus.name}", *(printed(m, f.estimates.get(m.key)) for m in columns)]
            for corpus in compared
            for f in corpus.figures
            if "lve" in f.estimates
        ]
        for group, published in TABLE_1.items():
            rows += [[f"{group}: {method}", *cells] for method, cells in published.items()]
        parts += [PAPER + " beside its Table 1. " + NOT_COMPARABLE, _columns(rows)]
    if evaluation.long_take:
        take = evaluation.long_take
        parts.append(f"One recording of {take.seconds:.0f} s, {len(take.clips)} takes")
        known = [m for m in LONG_TAKE if m.key in take.estimates]
        parts.append(_columns([[m.title, m.unit, printed(m, take.estimates[m.key])] for m in known]))
    if evaluation.style:
        values = {key: Estimate(value, None, 1) for key, value in evaluation.style.items()}
        parts += ["Style", _columns([[m.title, m.unit, printed(m, values[m.key])] for m in STYLE])]
    parts += [f"Note: {note}" for note in evaluation.notes]
    return "\n\n".join(parts) + "\n"


def _columns(rows: list[list[str]]) -> str:
    widths = [max(_width(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text + " " * (width - _width(text)) if k == 0 else " " * (width - _width(text)) + text
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    """Columns that a text takes up in a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )
