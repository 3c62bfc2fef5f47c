# SPDX-License-Identifier: GPL-3.0-or-later
"""Model directories: `config.json`, `model.safetensors` (weights and statistics) and the styles that ship with it.

Nothing here is unpickled: weights are safetensors, everything else is JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..config import ModelConfig
from ..errors import ModelError, OutputError
from ..files.text_file import read_text
from ..files.whole_file import allowed, whole_file
from ..motion.arkit import EXPRESSIONS
from ..sound.audio import file_sha256
from ..styles.measures import StyleMeasures
from .device import choose_compute, device_errors
from .model import DiffPoseTalk, StylePreset
from .speech.whisper import WhisperSpeechEncoder

CONFIG_NAME, WEIGHTS_NAME, STYLES_NAME = "config.json", "model.safetensors", "styles.json"
STATISTICS = ("motion_mean", "motion_std", "shape_mean", "shape_std")


def bundled_model_path() -> Path:
    """The model that ships with the tool (source checkout or add-on folder), or DIFFPOSETALK_MODEL."""
    if os.environ.get("DIFFPOSETALK_MODEL"):
        return Path(os.environ["DIFFPOSETALK_MODEL"])
    above = Path(__file__).resolve().parents[3]
    for folder in ("flame_assets", "assets"):
        if (above / folder / "model" / CONFIG_NAME).is_file():
            return above / folder / "model"
    return above / "flame_assets" / "model"


def read_config(folder: str | Path) -> ModelConfig:
    """The configuration of a model directory.

    Raises:
        ModelError: no such directory, or a config.json that is missing or not valid.
    """
    path = Path(folder) / CONFIG_NAME
    try:
        data = json.loads(read_text(path))
    except OSError as error:
        raise ModelError(
            f"{str(folder)!r} is not a model directory: it has no {CONFIG_NAME}.", "model_missing"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{CONFIG_NAME} in {str(folder)!r} is not valid JSON.", "model_config") from error
    if not isinstance(data, dict):
        raise ModelError(f"{CONFIG_NAME} in {str(folder)!r} is not a JSON object.", "model_config")
    config = ModelConfig.from_dict(data)
    if (
        config.basis == "arkit"
        and config.expression_names
        and set(config.expression_names) != set(EXPRESSIONS)
    ):
        raise ModelError(
            f"{CONFIG_NAME} in {str(folder)!r} names expressions that are not ARKit's.", "model_config"
        )
    return config


def load_model(
    folder: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    rows: int | None = None,
) -> DiffPoseTalk:
    """Load a model directory, ready to generate; None is the bundled model.

    Args:
        device, precision, threads, rows: as `device.choose_compute` takes them.

    Raises:
        ModelError: files missing or damaged, weights that do not fit the configuration, no statistics.
        DeviceError: the device does not exist here, or has no memory for the model.
    """
    folder = Path(folder) if folder else bundled_model_path()
    config = read_config(folder)
    compute = choose_compute(device, precision, threads, rows)
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise ModelError(f"{str(folder)!r} has no {WEIGHTS_NAME}.", "model_missing")
    try:
        tensors = {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"{WEIGHTS_NAME} in {str(folder)!r} is damaged or not a safetensors file.", "model_weights"
        ) from error
    if any(f"normalizer.{name}" not in tensors for name in STATISTICS):
        raise ModelError(
            f"{WEIGHTS_NAME} in {str(folder)!r} holds no normalisation statistics, without which the motion "
            "would be wrong. Convert the checkpoint again together with its statistics file.",
            "model_statistics",
        )
    shapes = {k: tuple(v.shape) for k, v in tensors.items()}
    # Compared before the networks are made: a wrong configuration must not ask for any amount of memory.
    expected = _expected_shapes(config)
    external = config.speech_encoder.kind == "hubert" and not config.speech_encoder.stored
    for key in [*expected, *shapes]:
        if external and key.startswith("speech_encoder."):
            continue
        if shapes.get(key) != expected.get(key):
            raise _misfit(folder, key)
    if not all(bool(torch.isfinite(v).all()) for v in tensors.values() if v.is_floating_point()):
        raise ModelError(f"The weights in {str(folder)!r} hold values that are not finite.", "model_weights")
    model = DiffPoseTalk(config)
    try:
        # what a model with the user's own HuBERT lacks are that encoder's weights, in place already
        _, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise _misfit(folder, "speech_encoder") from error
    if unexpected:
        raise _misfit(folder, unexpected[0])
    model.sha256 = file_sha256(path)
    model.styles = load_styles(folder, config)
    model.compute = compute
    with device_errors(compute.device):
        return model.to(compute.device).eval()


def _expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's tensors, found without allocating them."""
    speech = config.speech_encoder
    with torch.device("meta"):
        if speech.kind == "hubert":
            from .speech.hubert import unloaded

            model = DiffPoseTalk(config, unloaded(speech))
        else:
            model = DiffPoseTalk(config)
    return {k: tuple(v.shape) for k, v in model.state_dict().items()}


def _misfit(folder: Path, key: str) -> ModelError:
    return ModelError(
        f"The weights in {str(folder)!r} do not fit its {CONFIG_NAME} (first: {key}).", "model_weights"
    )


def load_styles(folder: Path, config: ModelConfig) -> dict[str, StylePreset]:
    """The presets of a model directory by id; none where it has none. Raises ModelError where they are not valid."""
    path = folder / STYLES_NAME
    if not path.is_file():
        return {}
    try:
        styles = {}
        for entry in json.loads(read_text(path)):
            vector = torch.tensor([float(v) for v in entry["vector"]])
            if vector.shape != (config.denoiser.style_dim,) or not torch.isfinite(vector).all():
                raise ValueError("vector")
            measures = StyleMeasures.from_dict(entry.get("measures"))
            name, description = str(entry["name"]), str(entry["description"])
            styles[str(entry["id"])] = StylePreset(name, description, vector, measures)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ModelError(f"{STYLES_NAME} in {str(folder)!r} is not valid.", "model_styles") from error
    return styles


def save_model(model: DiffPoseTalk, folder: str | Path, styles: dict[str, StylePreset] | None = None) -> None:
    """Write a model directory. Weights of a frozen Whisper encoder are stored as float16, as published.

    A HuBERT's weights are stored as they are, and override those of the user's files when they are loaded.
    """
    tensors = {}
    for name, value in model.state_dict().items():
        whisper = name.startswith("speech_encoder.") and isinstance(
            model.speech_encoder, WhisperSpeechEncoder
        )
        tensors[name] = value.detach().cpu().to(torch.float16 if whisper else value.dtype).contiguous()
    write_model(folder, model.config, tensors, styles)


def write_model(
    folder: str | Path,
    config: ModelConfig,
    tensors: dict[str, torch.Tensor],
    styles: dict[str, StylePreset] | None = None,
) -> None:
    """Write a model directory of a configuration and tensors under the names of `DiffPoseTalk.state_dict`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(folder / WEIGHTS_NAME, tensors)
    text = json.dumps(config.to_dict(), indent=2, ensure_ascii=False)
    with whole_file(folder / CONFIG_NAME) as file:
        file.write((text + "\n").encode())
    if styles is not None:
        save_styles(folder / STYLES_NAME, styles)


def save_weights(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a safetensors file, whole or not at all. Raises OutputError."""
    part = path.with_name(path.name + ".part")
    try:
        save_file(tensors, part)
        part.chmod(allowed(0o666))  # safetensors writes files that only their owner may read
        os.replace(part, path)
    except (OSError, SafetensorError) as error:  # the latter where the disk is full
        part.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"Cannot write “{path}”: {reason}. Is the disk full?") from error


def save_styles(path: Path, styles: dict[str, StylePreset]) -> None:
    """Write a model directory's presets."""
    rows = [
        {
            "id": key,
            "name": s.name,
            "description": s.description,
            **({"measures": s.measures.to_dict()} if s.measures else {}),
            "vector": [round(float(v), 5) for v in s.vector],
        }
        for key, s in styles.items()
    ]
    with whole_file(path) as file:
        file.write((json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())
