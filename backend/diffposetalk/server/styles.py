# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of speaking styles: read from a reference, shown, mixed."""

from __future__ import annotations

from typing import Any

from .backend import Backend, method
from .jsonrpc import Call


@method(long=True)
def extract_style(
    backend: Backend,
    call: Call,
    *,
    motion: str,
    output: str,
    start_frame: int | None = None,
    window: str = "auto",
    heads: dict[str, str] | None = None,
    description: str = "",
    source: dict[str, Any] | None = None,
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """Write the style of a reference motion, as a style file (`.dptstyle`) or a bare vector (`.npy`).

    The style is named after the file. `start_frame` (25 a second) or `window` (“auto”, “mean”) say which four
    seconds; `source` and `notes` are kept in the style's file; `heads` as of `styles.resolve_style`.
    """
    model = backend.loaded_model()
    from ..styles import extraction_call

    return extraction_call.extract(
        model, motion, output, start_frame, window, heads, description, source, notes
    )


@method(long=True)
def preview_reference(
    backend: Backend,
    call: Call,
    *,
    motion: str,
    output: str,
    start_frame: int | None = None,
    window: str = "auto",
    heads: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Plot a reference with the four seconds that `extract_style` would read, as a picture (`.png`)."""
    model = backend.loaded_model()
    from ..styles import extraction_call

    return extraction_call.preview(model, motion, output, start_frame, window, heads)


@method(long=True)
def mix_styles(
    backend: Backend, call: Call, *, styles: list[dict[str, Any]], amounts: list[float], output: str
) -> dict[str, Any]:
    """Write a mixture of presets and style files as a style file named after `output`."""
    model = backend.loaded_model()
    from ..styles import extraction_call

    return extraction_call.mix(model, styles, amounts, output)
