# SPDX-License-Identifier: GPL-3.0-or-later
"""What a take is made from, as one hash: a clip that carries the hash of a job's take need not be made again.

Inputs go in by content, not by path or date, so that moving a project or touching its files costs nothing, while a
changed recording, style, setting or model does. Device and precision are left out: they change a coefficient by less
than the solver does.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..files.array_file import read_arrays
from ..generation.options import GenerationOptions
from ..networks.model import DiffPoseTalk
from ..styles import resolve_style
from ..styles.chosen import chosen_spec
from ..styles.library import find_style, library_folder
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
        made_with = replace(options, style=self._style(chosen_spec(self.model, options.style)))
        parts = [*self.common, audio_sha256, [job.audio_start, job.audio_seconds], made_with.key()]
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def _style(self, spec: dict[str, Any] | None) -> dict[str, Any] | None:
        """A style with the contents of presets, and files for names of the library."""
        if spec is None:
            return None
        if "preset" in spec:
            vector = resolve_style(self.model, spec)
            assert vector is not None
            return {"preset": hashlib.sha256(vector.cpu().numpy().tobytes()).hexdigest()}
        if "library" in spec:
            return {"file": str(find_style(library_folder(spec.get("folder")), str(spec["library"])))}
        if "mix" in spec:
            return {**spec, "mix": [self._style(part) for part in spec["mix"]]}
        return spec


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
        return "" if path.is_file() and _is_archive(path) else None


def _is_archive(path: Path) -> bool:
    import zipfile

    return zipfile.is_zipfile(path)
