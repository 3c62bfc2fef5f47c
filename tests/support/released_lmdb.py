# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases in the layout of the released TFHP/HDTF data, of made-up clips."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

SEGMENT = 100


def clip_arrays(frames: int, seed: int = 0) -> dict[str, np.ndarray]:
    """shape, exp, pose of a clip, and its sound at 640 samples a frame."""
    rng = np.random.default_rng(seed)
    pose = 0.1 * rng.standard_normal((frames, 6)).astype(np.float32)
    pose[:, 4:] = 0
    return {
        "shape": np.repeat(rng.standard_normal((1, 100)).astype(np.float32), frames, axis=0),
        "exp": rng.standard_normal((frames, 50)).astype(np.float32),
        "pose": pose,
        "sound": 0.1 * rng.standard_normal(frames * 640),
    }


def encode(sound: np.ndarray, rate: int = 16_000, kind: str = "FLAC") -> bytes:
    """The sound as the bytes of a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, format=kind)
    return buffer.getvalue()


def entries(name: str, arrays: dict[str, np.ndarray], protocol: int = 4) -> dict[str, bytes]:
    """Keys and values of one clip."""
    frames = len(arrays["exp"])
    out = {f"{name}/metadata": pickle.dumps({"n_frames": frames}, protocol)}
    for number, start in enumerate(range(0, frames, SEGMENT)):
        part = slice(start, min(start + SEGMENT, frames))
        coef = {key: arrays[key][part] for key in ("shape", "exp", "pose")}
        sound = arrays["sound"][part.start * 640 : part.stop * 640]
        out[f"{name}/{number:03d}"] = pickle.dumps({"audio": encode(sound), "coef": coef}, protocol)
    return out


def write_lmdb(folder: Path, values: dict[str, Any]) -> Path:
    """Write the entries (and the database's own metadata) into a new environment."""
    import lmdb

    folder.mkdir(parents=True, exist_ok=True)
    with (
        lmdb.open(str(folder), map_size=1 << 26) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"metadata", pickle.dumps({"seg_len": SEGMENT}))
        for key, value in values.items():
            transaction.put(key.encode(), value)
    return folder
