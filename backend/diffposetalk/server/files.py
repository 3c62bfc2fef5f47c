# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of files: motion in and out, and what others publish turned into ours."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import Cancelled
from .backend import Backend, method
from .jsonrpc import Call


@method(long=True)
def export_motion(
    backend: Backend, call: Call, *, motion: str, output: str, fps: float | None = None
) -> dict[str, Any]:
    """Write a motion file in the format of `output`'s suffix: .csv (Live Link Face), .json (ARKit curves), .npz."""
    from ..motion.formats.arkit_curves import read_unchanged, write_motion

    return {"path": str(write_motion(read_unchanged(motion), output, fps))}


@method(long=True)
def import_motion(
    backend: Backend, call: Call, *, path: str, output: str, calibrate: bool = False
) -> dict[str, Any]:
    """Write a Live Link Face table, ARKit curves or a clip as a motion clip (`.npz`), values as they stand.

    With `calibrate` a Live Link Face capture loses its neutral face, the head's mean direction and noise.
    """
    from ..motion.formats.arkit_curves import read_unchanged

    clip = read_unchanged(path, calibrate=calibrate)
    written = str(clip.save(output))
    kind = {".csv": "live_link", ".json": "arkit_curves"}.get(Path(path).suffix.lower(), "clip")
    return {
        "path": written,
        "frames": len(clip),
        "fps": float(clip.fps),
        "basis": clip.basis,
        "kind": kind,
    }


@method(long=True)
def convert_flame(backend: Backend, call: Call, *, path: str, output: str) -> dict[str, Any]:
    """Write the head asset of a FLAME file (`.pkl` or `.npz`, as it was downloaded)."""
    from ..convert.flame import convert_flame

    summary = convert_flame(path, output)
    if call.cancelled.is_set():
        summary.path.unlink(missing_ok=True)
        raise Cancelled()
    return {**asdict(summary), "path": str(summary.path)}


@method(long=True)
def convert_checkpoint(
    backend: Backend, call: Call, *, denoiser: str, style_encoder: str, statistics: str, output: str
) -> dict[str, Any]:
    """Make a model directory, which must not exist, of a released set: two `.pt` files and `stats_train.npz`."""
    from ..convert.checkpoint import convert_checkpoint

    summary = convert_checkpoint(denoiser, style_encoder, statistics, output)
    if call.cancelled.is_set():
        shutil.rmtree(summary.folder)
        raise Cancelled()
    return {"path": str(summary.folder), "description": summary.description}
