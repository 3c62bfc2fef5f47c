# SPDX-License-Identifier: GPL-3.0-or-later
"""The styles that a caller can ask for, as data, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import StyleError
from ..motion.clip import MotionClip
from ..networks.model import DiffPoseTalk
from .library import find_style, library_folder
from .mixing import mix_styles
from .reading import Window, read_style
from .style_file import load_style, vector_for
from .vector_file import load_style_vector

MAX_DEPTH = 4
"""Mixtures of mixtures."""


def resolve_style(
    model: DiffPoseTalk, spec: dict[str, Any] | None, depth: int = MAX_DEPTH
) -> torch.Tensor | None:
    """The style vector (S,) of what was asked for; None stays None: the model then generates without a style.

    Args:
        spec: one of
            `{"preset": id}`, of the model;
            `{"motion": path, "start_frame": n}` or `{…, "window": "auto" | "mean"}`, a motion file of any kind, and
            where its basis is not the model's, `"heads": {"motion": path, "model": path}` to convert it between;
            `{"vector": path}`, a `.npy`;
            `{"file": path}`, a style file;
            `{"library": name}`, of the library (in the folder `"folder"` where that is given);
            `{"mix": [spec, …], "amounts": [a, …]}`.

    Raises:
        StyleError: an unknown preset or style, or a reference that cannot be used.
        MotionError: a motion file that cannot be read.
    """
    if spec is None:
        return None
    if "preset" in spec:
        preset = model.styles.get(str(spec["preset"]))
        if preset is None:
            known = ", ".join(model.styles) or "none"
            raise StyleError(
                f"There is no style preset {spec['preset']!r}. Presets: {known}.", "style_preset"
            )
        return preset.vector.to(model.device)
    if "motion" in spec:
        clip = reference_motion(model, spec["motion"], spec.get("heads"))
        window = chosen_window(spec.get("start_frame"), spec.get("window", "auto"))
        return read_style(model, clip, window).vector
    if "vector" in spec:
        return load_style_vector(spec["vector"], model.config.denoiser.style_dim).to(model.device)
    if "file" in spec:
        return vector_for(model, load_style(spec["file"]))
    if "library" in spec:
        folder = library_folder(spec.get("folder"))
        return vector_for(model, load_style(find_style(folder, str(spec["library"]))))
    if "mix" in spec and depth > 0:
        parts, amounts = spec["mix"], spec.get("amounts")
        if not isinstance(parts, list) or not isinstance(amounts, list) or None in parts:
            raise StyleError("A mixture is a list of styles and a list of amounts.", "style_mix")
        if not all(isinstance(amount, int | float) for amount in amounts):
            raise StyleError("The amounts of a mixture are numbers.", "style_mix")
        vectors = [resolve_style(model, part, depth - 1) for part in parts]
        return mix_styles([v for v in vectors if v is not None], amounts)
    raise StyleError(
        "A style is a preset, a motion, a vector, a style file, a style of the library or a mixture.",
        "style_format",
    )


def reference_motion(
    model: DiffPoseTalk, path: str | Path, heads: dict[str, str] | None = None
) -> MotionClip:
    """A motion file of any kind in the model's basis.

    Args:
        heads: head assets `motion` (which the file speaks for) and `model`, to convert it where the bases differ.

    Raises:
        MotionError: it cannot be read, or is not in the basis of its head.
        StyleError: `style_basis`; it is in another basis than the model's and no heads are given.
        ModelError: a head cannot be read.
    """
    from ..motion.formats import read_motion  # brings SciPy's geometry, which generating does not need

    clip = read_motion(path)
    if clip.basis == model.config.basis or not heads:
        return clip
    from ..head.basis_conversion import convert
    from ..head.head_model import load_head

    if not {"motion", "model"} <= heads.keys():
        raise StyleError("Conversion needs two heads, “motion” and “model”.", "style_format")
    return convert(clip, load_head(heads["motion"]), load_head(heads["model"]))[0]


def style_name(spec: dict[str, Any] | None) -> str:
    """What the provenance of a motion calls the style asked for; no folders, which are private."""
    if spec is None:
        return ""
    if "preset" in spec:
        return str(spec["preset"])
    if "library" in spec:
        return str(spec["library"])
    if "file" in spec:
        return Path(str(spec["file"])).stem
    if "mix" in spec and isinstance(spec["mix"], list):
        amounts = spec.get("amounts") or []
        parts = zip(spec["mix"], amounts, strict=False)
        return " + ".join(f"{style_name(part)} {float(amount):.2f}" for part, amount in parts)
    return Path(str(spec.get("motion") or spec.get("vector") or "")).name


def chosen_window(start_frame: int | None = None, window: str = "auto") -> Window:
    """What `read_style` takes, of two optional values. Raises StyleError."""
    if start_frame is not None:
        if not isinstance(start_frame, int) or isinstance(start_frame, bool):
            raise StyleError("The first frame of a style reference is a whole number.", "style_format")
        return start_frame
    if window == "auto":
        return "auto"
    if window == "mean":
        return "mean"
    raise StyleError(f"A style is read from “auto” or “mean”, not {window!r}.", "style_format")
