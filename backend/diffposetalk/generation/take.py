# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion vectors as clips, and where a clip comes from."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np

from ..errors import DiffPoseTalkError
from ..motion.clip import MotionClip, from_vectors
from ..networks.model import DiffPoseTalk
from ..version import VERSION
from .line import Guidance, Line, Solver


def motion_clip(
    model: DiffPoseTalk, line: Line, motion: np.ndarray, provenance: dict[str, Any]
) -> MotionClip:
    """Motion vectors (T, D) as a clip. Raises DiffPoseTalkError if they are not finite."""
    config = model.config
    exp, pose = from_vectors(motion, config.jaw_rest)
    if not line.options.head_pose:
        pose[:, :3] = 0
    if not (np.isfinite(exp).all() and np.isfinite(pose).all()):
        raise DiffPoseTalkError(
            "The model produced motion that is not finite. Lower the guidance scales or check the model.",
            "motion_not_finite",
        )
    shape = None if line.shape is None else line.shape.cpu().numpy()
    return MotionClip(exp, pose, config.fps, config.basis, shape, config.expression_names, provenance)


def provenance(
    model: DiffPoseTalk, line: Line, solver: Solver, guidance: Guidance, take: int
) -> dict[str, Any]:
    """Where a finished take comes from."""
    config = model.config
    scales = {"speech": guidance.speech, "style": guidance.style if line.style is not None else None}
    if guidance.lips != guidance.speech:
        scales["lips"] = guidance.lips
    return {
        "synthetic": True,
        "generator": f"DiffPoseTalk for Blender {VERSION}",
        "model": config.name,
        "model_sha256": model.sha256,
        "seed": line.options.seeds[take],
        "audio_name": line.audio.name,
        "audio_sha256": line.audio.sha256,
        "style": line.style_name or ("custom" if line.style is not None else "none"),
        "guidance": scales,
        "sampler": solver.sampler,
        "steps": solver.steps,
        "head_pose": line.options.head_pose and config.head_pose,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
