# SPDX-License-Identifier: GPL-3.0-or-later
"""What the package brings: the head, the model, its style presets and its defaults."""

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .head_asset import HeadAsset, load_head
from .style_library import figures_text

ROOT = Path(__file__).parents[1]
HEAD_FILE = ROOT / "assets" / "head" / "head.npz"
MODEL_DIRECTORY = ROOT / "assets" / "model"
EXAMPLE_CLIP = ROOT / "assets" / "clips" / "jfk.flac"
BACKEND_DIRECTORY = ROOT / "backend"


@dataclass(frozen=True)
class StylePreset:
    """A speaking style that comes with a model; figures: what was measured of it, in one line."""

    id: str
    name: str
    description: str
    figures: str = ""


@dataclass(frozen=True)
class SamplingDefaults:
    """A model's own settings for generation; the paper's where the model names none."""

    speech_guidance: float = 1.15
    style_guidance: float = 3.0
    sampler: str = "unipc"
    steps: int = 20
    style: str = ""


def find_model(directory: str) -> Path:
    """The folder of a model that a scene names.

    The bundled model lies elsewhere for each user and Blender: where it is not at its place of then, it is this one.
    """
    path = Path(directory)
    bundled = directory.replace("\\", "/").endswith("/diffposetalk/assets/model")
    return MODEL_DIRECTORY if bundled and not path.is_dir() else path


@functools.cache
def bundled_head() -> HeadAsset:
    """The head in the package.

    Raises:
        UserError: it is missing or damaged.
    """
    return load_head(HEAD_FILE)


@functools.cache
def bundled_jaw_open_angle() -> float:
    """Jaw pitch in radians that opens ARKit's jawOpen fully, as the bundled model means it."""
    with np.load(HEAD_FILE, allow_pickle=False) as file:
        return float(file["jaw_open_angle"])


@functools.lru_cache(maxsize=8)
def style_presets(model_directory: Path) -> tuple[StylePreset, ...]:
    """The presets of a model directory; none where there are none."""
    try:
        rows = json.loads((model_directory / "styles.json").read_text(encoding="utf-8"))
        names = ("id", "name", "description")
        return tuple(
            StylePreset(**{name: str(row[name]) for name in names}, figures=figures_text(row.get("measures")))
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ()  # the backend says what is wrong with a model when it loads it


def has_draft(model_directory: Path) -> bool:
    """Whether a model comes with a faster student of itself."""
    return (model_directory / "draft.json").is_file()


def preset_thumbnail(model_directory: Path, preset: str) -> Path | None:
    """The picture of a preset, where the model directory has one."""
    path = model_directory / "thumbnails" / f"{preset}.png"
    return path if path.is_file() else None


@functools.lru_cache(maxsize=8)
def model_basis(model_directory: Path) -> str | None:
    """The expression basis of a model directory, "arkit" or "flame"; None where it does not say so readably."""
    try:
        return str(json.loads((model_directory / "config.json").read_text(encoding="utf-8"))["basis"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # as above


def sampling_defaults(model_directory: Path = MODEL_DIRECTORY) -> SamplingDefaults:
    try:
        sampling = json.loads((model_directory / "config.json").read_text(encoding="utf-8"))["sampling"]
        known = {name: value for name, value in asdict(SamplingDefaults()).items() if name in sampling}
        return SamplingDefaults(**{name: type(value)(sampling[name]) for name, value in known.items()})
    except (OSError, ValueError, KeyError, TypeError):
        return SamplingDefaults()
