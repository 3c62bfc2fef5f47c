# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a batch: for programs `report.json`, for people `report.txt`, both in the output folder."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..files.whole_file import whole_file
from ..version import VERSION
from .manifest import BadRow
from .speaking import FAILED, MADE, SKIPPED, Outcome

JSON_NAME, TEXT_NAME = "report.json", "report.txt"


class BatchReport:
    """Collects outcomes.

    Args:
        manifest: its path. total: jobs in it that can be used. bad: rows that cannot.
    """

    def __init__(self, manifest: str | Path, total: int, bad: list[BadRow]) -> None:
        self.manifest, self.total, self.bad = Path(manifest), total, bad
        self.outcomes: list[Outcome] = []
        self.began = time.monotonic()
        self.facts: dict[str, Any] = {}

    def count(self, status: str) -> int:
        """Jobs of that status so far."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def failures(self) -> int:
        """Rows that gave nothing: bad ones and failed jobs."""
        return self.count(FAILED) + len(self.bad)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data, rows in the manifest's order."""
        took = time.monotonic() - self.began
        seconds = sum(outcome.seconds for outcome in self.outcomes)
        rows = [asdict(outcome) for outcome in sorted(self.outcomes, key=lambda outcome: outcome.row)]
        keys = ("row", "audio", "kind", "message")
        return {
            "diffposetalk": VERSION,
            "manifest": self.manifest.name,
            "finished": len(self.outcomes) == self.total,
            "jobs": self.total,
            "made": self.count(MADE),
            "skipped": self.count(SKIPPED),
            "failed": self.count(FAILED),
            "bad_rows": len(self.bad),
            "clips_made": sum(outcome.made for outcome in self.outcomes),
            "speech_seconds": round(seconds, 3),
            "wall_seconds": round(took, 3),
            "times_real_time": round(seconds / took, 2) if took > 0 else None,
            **self.facts,
            "failures": [
                *({"row": bad.row, "kind": "row", "message": bad.message} for bad in self.bad),
                *({key: row[key] for key in keys} for row in rows if row["status"] == FAILED),
            ],
            "rows": rows,
        }

    def write(self, folder: Path) -> dict[str, Any]:
        """Write both files. Raises OutputError where they cannot be written."""
        data = self.to_dict()
        with whole_file(folder / JSON_NAME) as file:
            file.write(json.dumps(data, indent=1, ensure_ascii=False).encode() + b"\n")
        with whole_file(folder / TEXT_NAME) as file:
            file.write(_readable(data).encode())
        return data


def summary(data: dict[str, Any]) -> str:
    """The report in a line."""
    left = data["jobs"] - data["made"] - data["skipped"] - data["failed"]
    parts = [f"{data['made']} made", f"{data['skipped']} done before"]
    parts += [f"{data['failed'] + data['bad_rows']} failed"] if data["failed"] + data["bad_rows"] else []
    parts += [f"{left} left to do"] if left else []
    return ", ".join(parts)


def _readable(data: dict[str, Any]) -> str:
    lines = [
        f"{data['manifest']}: {summary(data)}.",
        f"{data['clips_made']} clips, {data['speech_seconds']:.1f} s of speech in {data['wall_seconds']:.1f} s.",
    ]
    if data["failures"]:
        lines += ["", "Failed:"]
        lines += [f"  row {f['row']}: {f['message']}" for f in data["failures"]]
    lines += ["", "Clips:"]
    for row in data["rows"]:
        lines += [f"  row {row['row']}: {clip} ({row['status']})" for clip in row["clips"]]
    return "\n".join(lines) + "\n"
