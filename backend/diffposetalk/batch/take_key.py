# SPDX-License-Identifier: GPL-3.0-or-later
"""What a take is made from, as one hash: a clip that carries the hash of a job's take need not be made again.

Inputs go in by content, not by path or date, so that moving a project or touching its files costs nothing, while a
changed recording, style, setting or model does. Device and precision are left out: they change a coefficient by less
than the solver does.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from ..files.array_file import read_arrays
from ..generation.windows import Sampling
from ..networks.model import DiffPoseTalk
from ..sound.audio import file_sha256
from ..styles.request import StyleRequest
from .manifest import Job

KEY_NAME = "batch_key"
"""Of the hash in a clip's provenance."""
FORMAT = 1
"""Raised when the same key would no longer mean the same motion."""
MAX_PROVENANCE_BYTES = 1 << 22


class TakeKeys:
    """Keys of takes made by one model with one way of sampling. Files other than recordings are hashed once."""

    def __init__(self, model: DiffPoseTalk, sampling: Sampling) -> None:
        self.model = model
        config = {key: value for key, value in model.config.to_dict().items() if key != "provenance"}
        threshold = None if sampling.threshold is None else vars(sampling.threshold)
        self.common = [
            FORMAT,
            model.sha256,
            config,
            [sampling.sampler, sampling.steps, sampling.head_pose, threshold],
        ]
        self.file_hash = lru_cache(4096)(file_sha256)

    def key(self, job: Job, audio_sha256: str, seed: int) -> str:
        """The hash of one take.

        Raises:
            StyleError, OSError: a file that the job names is not there.
        """
        style = job.style
        if style is None and self.model.config.sampling.style:
            style = {"preset": self.model.config.sampling.style}
        parts = [
            *self.common,
            audio_sha256,
            [job.audio_start, job.audio_seconds],
            None if style is None else StyleRequest.parse(style).content(self.model, self.file_hash),
            None if job.shape is None else self.file_hash(job.shape),
            [job.speech_guidance, job.style_guidance],
            seed,
        ]
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
        return "" if path.is_file() and _is_archive(path) else None


def _is_archive(path: Path) -> bool:
    import zipfile

    return zipfile.is_zipfile(path)
