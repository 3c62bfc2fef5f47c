# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaking styles: read from reference motion (paper section 3.3.1), described, mixed, kept in files and a library."""

from __future__ import annotations

from .reading import MIN_REFERENCE_FRAMES, extract_style, read_style
from .request import StyleRequest, resolve_style, style_name
from .style_file import load_style_vector, save_style_vector

__all__ = [
    "MIN_REFERENCE_FRAMES",
    "StyleRequest",
    "extract_style",
    "load_style_vector",
    "read_style",
    "resolve_style",
    "save_style_vector",
    "style_name",
]
