# SPDX-License-Identifier: GPL-3.0-or-later
"""A style as one portable file (`NAME.dptstyle`): vector, figures, thumbnail, and the motion it was read from.

The file is NumPy's `.npz` of plain arrays: `meta` (JSON text), `vector` (S,), `thumbnail` (the bytes of a PNG) and,
where the style was read from motion, `exp` (W, T, 50) and `pose` (W, T, 6) of the windows read. A style vector means
something to one style encoder only, so the file says which. With its motion, a style is read anew for another model of
the same basis; without, it is refused. The style's name is the file's.

The released code writes bare style vectors (`.npy`), which do not say which model they are of.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import EXPRESSION_DIM
from ..errors import StyleError, refusing
from ..files.array_file import read_arrays
from ..files.file_name import with_suffix
from ..files.whole_file import whole_file
from ..motion.clip import MotionClip, from_vectors, to_vectors
from ..motion.style_measures import StyleMeasures, mixed_measures
from ..networks.model import DiffPoseTalk
from .mixing import mix_styles
from .reading import StyleReading, encode_windows

SUFFIX = ".dptstyle"
FORMAT, VERSION = "diffposetalk style", 1
MAX_BYTES = 1 << 26
"""Of a style file's arrays; a window of motion has 22 kilobytes."""
MAX_VECTOR_BYTES = 1 << 20
"""Of a style vector's file, which has half a kilobyte."""
MAX_WINDOWS = 12
"""Of motion that are kept for other models, spread evenly over those read."""
MAX_PARTS = 8

_FIELDS = frozenset({"meta", "vector", "thumbnail", "exp", "pose"})
_TEXTS = ("space", "basis", "model", "description", "measured")


@dataclass(frozen=True)
class Part:
    """What a style is made of, for reading it anew: an amount of a preset, or of the style of some windows.

    preset: id of a model's preset; empty where there is motion.
    exp, pose: (W, T, 50) and (W, T, 6) of the windows, as of `MotionClip`; None for a preset.
    """

    amount: float
    preset: str = ""
    exp: np.ndarray | None = None
    pose: np.ndarray | None = None


@dataclass(frozen=True)
class Style:
    """A style of the user's.

    Attributes:
        name: as people call it, which is its file's name.
        vector: (S,) style vector.
        space: which style encoder it is of (`style_space`); empty where that is not known (a bare `.npy`).
        basis: of the model. model: its name.
        description: words of the user's.
        measures: figures, or None. measured: where they are from: `reference`, `generated` or `mixture`.
        source: where the style comes from: `kind` (motion, video, animation, mixture, vector) and what else is known.
        notes: what to beware of.
        parts: what it can be read anew from; empty where it cannot.
        thumbnail: a PNG, or empty.
    """

    name: str
    vector: torch.Tensor
    space: str
    basis: str
    model: str = ""
    description: str = ""
    measures: StyleMeasures | None = None
    measured: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    thumbnail: bytes = b""


def style_space(model: DiffPoseTalk) -> str:
    """Which style vectors a model understands: a digest of its style encoder and of the statistics it reads under.

    A distilled or further trained denoiser over the same encoder keeps it.
    """
    digest = hashlib.sha256()
    tensors = dict(model.style_encoder.state_dict())
    tensors |= {"mean": model.normalizer.motion_mean, "std": model.normalizer.motion_std}
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _of(model: DiffPoseTalk) -> tuple[str, str, str]:
    """What a style says of its model: `space`, `basis`, `model`."""
    return style_space(model), model.config.basis, model.config.name


def style_of_reading(model: DiffPoseTalk, name: str, reading: StyleReading, source: dict[str, Any]) -> Style:
    """The style that was read from a reference by this model, not yet described."""
    kept = np.unique(np.linspace(0, len(reading.motion) - 1, MAX_WINDOWS).round().astype(int))
    flat = reading.motion[kept].reshape(-1, reading.motion.shape[2])
    exp, pose = (a.reshape(len(kept), reading.frames, -1) for a in from_vectors(flat))
    seconds = [round(start / model.config.fps, 2) for start in reading.starts]
    read = {"windows_from_s": seconds[:100], "seconds": round(reading.frames / model.config.fps, 2)}
    return Style(
        name,
        reading.vector.detach().cpu(),
        *_of(model),
        source={**source, **read, **_created()},
        notes=reading.notes,
        parts=(Part(1.0, exp=exp, pose=pose),),
    )


def style_of_vector(model: DiffPoseTalk, name: str, path: str | Path) -> Style:
    """A bare vector's file as a style: taken for this model's, for it does not say whose it is. Raises StyleError."""
    return Style(
        name,
        load_style_vector(path, model.config.denoiser.style_dim),
        *_of(model),
        source={"kind": "vector", "file": Path(path).name},
        notes=("A bare style vector does not say which model it is of; it was taken for this one's.",),
    )


def style_of_preset(model: DiffPoseTalk, key: str) -> Style:
    """A preset as a style. Raises KeyError where the model has none of this id."""
    preset = model.styles[key]
    return Style(
        preset.name,
        preset.vector.detach().cpu(),
        *_of(model),
        preset.description,
        preset.measures,
        "generated" if preset.measures else "",
        {"kind": "preset", "preset": key},
        parts=(Part(1.0, preset=key),),
    )


def mixture(model: DiffPoseTalk, name: str, styles: list[Style], amounts: list[float]) -> Style:
    """The mixture of styles for this model; it can be read anew where all of them can.

    Raises:
        StyleError: as `vector_for` and `mix_styles`.
    """
    vector = mix_styles([vector_for(model, style) for style in styles], amounts)
    total = sum(amounts)
    parts: tuple[Part, ...] = ()
    # A mixture of mixtures keeps no parts: the lengths in between would be lost.
    if all(len(style.parts) == 1 for style in styles):
        pairs = zip(styles, amounts, strict=True)
        parts = tuple(replace(style.parts[0], amount=amount / total) for style, amount in pairs)
    of = [{"style": s.name, "amount": round(a / total, 4)} for s, a in zip(styles, amounts, strict=True)]
    measures = mixed_measures([style.measures for style in styles], amounts)
    return Style(
        name,
        vector.detach().cpu(),
        *_of(model),
        measures=measures,
        measured="mixture" if measures else "",
        source={"kind": "mixture", "of": of, **_created()},
        parts=parts,
    )


def vector_for(model: DiffPoseTalk, style: Style) -> torch.Tensor:
    """The style vector (S,) of a style for this model; read anew where it is another encoder's.

    Raises:
        StyleError: `style_basis`, `style_model`: it cannot be used with this model.
    """
    config = model.config
    if style.basis != config.basis:
        raise StyleError(
            f"The style “{style.name}” is of the {style.basis} basis; the model “{config.name}” speaks "
            f"{config.basis}. Extract it again with this model from a reference in its basis.",
            "style_basis",
        )
    size = config.denoiser.style_dim
    same = style.space == style_space(model) if style.space else style.vector.shape == (size,)
    if same and style.vector.shape == (size,):
        return style.vector.to(model.device)
    if not style.parts or any(part.preset and part.preset not in model.styles for part in style.parts):
        maker = f"“{style.model}”" if style.model else "another model"
        raise StyleError(
            f"The style “{style.name}” was made by {maker} and cannot be used with “{config.name}”: it does not hold "
            "the motion that it could be read from again. Extract it with this model.",
            "style_model",
        )
    return mix_styles([_read_part(model, p) for p in style.parts], [p.amount for p in style.parts])


def _read_part(model: DiffPoseTalk, part: Part) -> torch.Tensor:
    if part.preset:
        return model.styles[part.preset].vector.to(model.device)
    frames, size = model.config.style_encoder.window, model.config.denoiser.motion_dim
    windows = [to_vectors(clip, size)[:frames] for clip in _clips(part, model.config.basis)]
    return encode_windows(model, np.stack(windows)).mean(dim=0)


def reference_clips(style: Style) -> list[MotionClip]:
    """The windows of motion that a style was read from; none for presets, mixtures and bare vectors."""
    return _clips(style.parts[0], style.basis) if len(style.parts) == 1 else []


def _clips(part: Part, basis: str) -> list[MotionClip]:
    if part.exp is None or part.pose is None:
        return []
    return [MotionClip(exp, pose, basis=basis) for exp, pose in zip(part.exp, part.pose, strict=True)]


def save_style(path: str | Path, style: Style) -> Path:
    """Write a style file, whole or not at all. The name in it is the file's.

    Raises:
        StyleError: the folder cannot be written to or is full.
    """
    path = with_suffix(path, SUFFIX)
    exp = [part.exp for part in style.parts if part.exp is not None]
    pose = [part.pose for part in style.parts if part.pose is not None]
    parts, first = [], 0
    for part in style.parts:
        count = 0 if part.exp is None else len(part.exp)
        parts.append({"amount": part.amount, "preset": part.preset, "windows": [first, first + count]})
        first += count
    if len({windows.shape[1] for windows in exp}) > 1:  # of different lengths: they do not fit into one array
        parts, exp = [], []
    meta = {
        "format": FORMAT,
        "version": VERSION,
        **{name: getattr(style, name) for name in _TEXTS},
        "measures": style.measures.to_dict() if style.measures else None,
        "source": style.source,
        "notes": list(style.notes),
        "parts": parts,
    }
    arrays: dict[str, Any] = {
        "meta": np.array(json.dumps(meta, ensure_ascii=False)),
        "vector": style.vector.detach().cpu().numpy().astype(np.float32),
        "thumbnail": np.frombuffer(style.thumbnail, np.uint8),
    }
    if exp:
        arrays["exp"] = np.concatenate(exp).astype(np.float32)
        arrays["pose"] = np.concatenate(pose).astype(np.float32)
    with whole_file(path, StyleError, "style_write") as file:
        np.savez_compressed(file, **arrays)
    return path


def load_style(path: str | Path) -> Style:
    """Read a style file.

    Raises:
        StyleError: `style_missing`; `style_format`: damaged, another kind of file, or of a later version.
    """
    path = Path(path)
    if not path.is_file():
        raise StyleError(f"There is no style at “{path}”.", "style_missing")
    damaged = f"“{path.name}” is damaged, or not a style file ({SUFFIX})."
    with refusing(StyleError(damaged, "style_format")):
        arrays = read_arrays(path, _FIELDS, MAX_BYTES)
        meta = json.loads(str(arrays["meta"]))
        if meta["format"] != FORMAT:
            raise ValueError("format")
        version = int(meta["version"])
        vector = np.asarray(arrays["vector"], np.float32)
        if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
            raise ValueError("vector")
        style = Style(
            path.stem,
            torch.from_numpy(vector),
            **{name: str(meta[name]) for name in _TEXTS},
            measures=StyleMeasures.from_dict(meta.get("measures")),
            source=meta["source"] if isinstance(meta["source"], dict) else {},
            notes=tuple(str(note) for note in meta["notes"]),
            parts=_parts(meta["parts"], arrays),
            thumbnail=np.asarray(arrays.get("thumbnail", ()), np.uint8).tobytes(),
        )
    if version > VERSION:
        raise StyleError(
            f"“{path.name}” was written by a later version of DiffPoseTalk. Install that version.",
            "style_format",
        )
    return style


def _parts(rows: Any, arrays: dict[str, np.ndarray]) -> tuple[Part, ...]:
    """The parts as stored. Raises ValueError, KeyError or TypeError where they are not sound."""
    exp, pose = (np.asarray(arrays.get(name, np.zeros((0, 1, 1))), np.float32) for name in ("exp", "pose"))
    if "exp" in arrays or "pose" in arrays:
        fit = exp.ndim == 3 and exp.shape[2] == EXPRESSION_DIM and pose.shape == (*exp.shape[:2], 6)
        if not fit or not (np.isfinite(exp).all() and np.isfinite(pose).all()):
            raise ValueError("motion")
    parts = []
    for row in rows:
        amount, preset = float(row["amount"]), str(row["preset"])
        first, last = (int(n) for n in row["windows"])
        if not (np.isfinite(amount) and amount >= 0 and 0 <= first <= last <= len(exp)):
            raise ValueError("part")
        if not preset and first == last:
            raise ValueError("part without motion")
        motion = (None, None) if preset else (exp[first:last], pose[first:last])
        parts.append(Part(amount, preset, *motion))
    if len(parts) > MAX_PARTS:
        raise ValueError("parts")
    return tuple(parts)


def _created() -> dict[str, str]:
    return {"created": datetime.now(timezone.utc).isoformat(timespec="seconds")}


def load_style_vector(path: str | Path, size: int) -> torch.Tensor:
    """A style vector saved as `.npy`, (size,).

    Raises:
        StyleError: missing, not such a file, or of the wrong size.
    """
    with refusing(StyleError(f"{str(path)!r} is not a style vector (.npy).", "style_format")):
        vector = np.asarray(read_arrays(path, ("",), MAX_VECTOR_BYTES)[""], dtype=np.float32).reshape(-1)
    if vector.shape != (size,):
        raise StyleError(
            f"{str(path)!r} holds {vector.size} values; a style vector of {size} is needed.", "style_format"
        )
    if not np.isfinite(vector).all():
        raise StyleError(f"{str(path)!r} holds values that are not finite.", "style_format")
    return torch.from_numpy(vector)


def save_style_vector(path: str | Path, vector: torch.Tensor) -> Path:
    """Write a style vector (S,) as `.npy`, atomically: the file is whole or not there.

    Raises:
        StyleError: the folder cannot be written or is full.
    """
    path = Path(path).with_suffix(".npy")
    with whole_file(path, StyleError, "style_write") as file:
        np.save(file, vector.detach().cpu().numpy().astype(np.float32))
    return path
