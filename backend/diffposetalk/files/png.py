# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures as PNG (ISO/IEC 15948) with the standard library alone: 8 bits of red, green and blue."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from .whole_file import whole_file

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_bytes(image: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8, sRGB, as the contents of a PNG file."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"a picture of {image.shape} {image.dtype} is not (H, W, 3) uint8")
    height, width = image.shape[:2]
    # Filter type 1: each pixel as its difference to the one on its left, modulo 256.
    left = np.concatenate([np.zeros((height, 1, 3), np.uint8), image[:, :-1]], axis=1)
    rows = np.concatenate([np.ones((height, 1), np.uint8), (image - left).reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
        + _chunk(b"IEND", b"")
    )


def write_png(path: str | Path, image: np.ndarray) -> Path:
    """Write a picture (H, W, 3) uint8.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    with whole_file(path) as file:
        file.write(png_bytes(image))
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
