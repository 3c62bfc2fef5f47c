# SPDX-License-Identifier: GPL-3.0-or-later
"""What a take is made from, as one hash: a clip that carries the hash of a job's take need not be made again.

Inputs go in by content, not by path or date, so that moving a project or touching its files costs nothing, while a
changed recording, style, setting or model does. Device and precision are left out: they change a coefficient by less
than the solver does.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

from ..files.array_file import read_arrays
from ..files.digest import content_digest
from ..generation.options import GenerationOptions
from ..networks.model import DiffPoseTalk
from ..styles.chosen import chosen_request
from .manifest import Job

KEY_NAME = "batch_key"
"""Of the hash in a clip's provenance."""
FORMAT = 2
"""Raised when the same key would no longer mean the same motion."""
MAX_PROVENANCE_BYTES = 1 << 22


class TakeKeys:
    """Keys of takes made by one model."""

    def __init__(self, model: DiffPoseTalk) -> None:
        self.model = model
        config = {key: value for key, value in model.config.to_dict().items() if key != "provenance"}
        self.common = [FORMAT, model.sha256, config]

    def key(self, job: Job, options: GenerationOptions, audio_sha256: str) -> str:
        """The hash of one take.

        Raises:
            StyleError, OSError: a file that the job names is not there.
        """
        asked = chosen_request(self.model, options.style)
        style = None
        if asked is not None:
            style = {"content": json.dumps(asked.content(self.model, content_digest), sort_keys=True)}
        made_with = replace(options, style=style)
        parts = [*self.common, audio_sha256, [job.audio_start, job.audio_seconds], made_with.key()]
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def stored_key(path: Path) -> str | None:
    """The key that a clip carries; empty where it carries none, None where there is no whole clip."""
    try:
        arrays = read_arrays(path, ("provenance",), MAX_PROVENANCE_BYTES)
        provenance = json.loads(str(arrays["provenance"]))
        return str(provenance.get(KEY_NAME, ""))
    except OSError:
        return None
    except (ValueError, KeyError, AttributeError, RecursionError):
        # Damaged after it was written, or another tool's: only a file that is no archive at all is replaced.
        return "" if path.is_file() and zipfile.is_zipfile(path) else None
