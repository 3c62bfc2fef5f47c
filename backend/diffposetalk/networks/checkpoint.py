# SPDX-License-Identifier: GPL-3.0-or-later
"""Model directories: `config.json`, `model.safetensors` (weights and statistics) and the styles that ship with it.

Nothing here is unpickled: weights are safetensors, everything else is JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode

from ..config import ModelConfig
from ..errors import DAMAGED, ModelError, OutputError, refusing
from ..files.digest import file_sha256
from ..files.shipped import shipped
from ..files.text_file import read_text
from ..files.whole_file import allowed, whole_file
from ..motion.channel_groups import channel_groups
from ..motion.style_measures import StyleMeasures
from .device import choose_compute, device_errors
from .model import DiffPoseTalk, StylePreset
from .speech.whisper import WhisperSpeechEncoder

CONFIG_NAME, WEIGHTS_NAME, STYLES_NAME = "config.json", "model.safetensors", "styles.json"
STATISTICS = ("motion_mean", "motion_std", "shape_mean", "shape_std")


def bundled_model_path() -> Path:
    """The model that ships with the tool (source checkout or add-on folder), or DIFFPOSETALK_MODEL."""
    if os.environ.get("DIFFPOSETALK_MODEL"):
        return Path(os.environ["DIFFPOSETALK_MODEL"])
    return shipped(f"model/{CONFIG_NAME}").parent


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
    groups = channel_groups(config.basis, config.denoiser.motion_dim)
    for name in config.sampling.added_guidance:
        if name not in groups:
            raise ModelError(
                f"The model's config.json has sampling.added_guidance of {name!r}, which is none of its groups of "
                f"channels: {', '.join(groups)}.",
                "model_config",
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
    damaged = f"{WEIGHTS_NAME} in {str(folder)!r} is damaged or not a safetensors file."
    with refusing(ModelError(damaged, "model_weights"), SafetensorError, *DAMAGED):
        # Copied out of the mapped file, which may be replaced while the model is in use.
        tensors = {k: v.to(_kept(v.dtype), copy=True) for k, v in load_file(path).items()}
    if any(f"normalizer.{name}" not in tensors for name in STATISTICS):
        raise ModelError(
            f"{WEIGHTS_NAME} in {str(folder)!r} holds no normalisation statistics, without which the motion "
            "would be wrong. Convert the checkpoint again together with its statistics file.",
            "model_statistics",
        )
    shapes = {k: tuple(v.shape) for k, v in tensors.items()}
    # Compared before the networks get memory: a wrong configuration must not ask for any amount of it.
    model, whole = _unallocated(config)
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    external = config.speech_encoder.kind == "hubert" and not config.speech_encoder.stored
    for key in [*expected, *shapes]:
        if external and key.startswith("speech_encoder."):
            continue
        if shapes.get(key) != expected.get(key):
            raise _misfit(folder, key)
    if not all(bool(torch.isfinite(v).all()) for v in tensors.values() if v.is_floating_point()):
        raise ModelError(f"The weights in {str(folder)!r} hold values that are not finite.", "model_weights")
    if not whole:
        model = DiffPoseTalk(config)
    with refusing(_misfit(folder, "speech_encoder"), RuntimeError):
        # what a model with the user's own HuBERT lacks are that encoder's weights, in place already
        _, unexpected = model.load_state_dict(tensors, strict=False, assign=whole)
    if unexpected:
        raise _misfit(folder, unexpected[0])
    model.sha256 = file_sha256(path)
    model.styles = load_styles(folder, config)
    model.compute = compute
    with device_errors(compute.device):
        return model.to(compute.device).eval()


class _NoMemory(TorchFunctionMode):
    """While inside, what networks allocate for their weights has a shape but no memory, and is not filled.

    All else is computed as ever. PyTorch's own `torch.device("meta")` takes everything along, and for that imports its
    compiler: two seconds of processor.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.empty:
            kwargs = {**kwargs, "device": "meta"}
        elif getattr(function, "__name__", "") in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def _unallocated(config: ModelConfig) -> tuple[DiffPoseTalk, bool]:
    """A model whose weights have no memory, and whether it is whole once they are put in."""
    speech = config.speech_encoder
    if speech.kind == "hubert":
        from .speech.hubert import unloaded

        with torch.device("meta"):
            return DiffPoseTalk(config, unloaded(speech)), False
    with _NoMemory():
        return DiffPoseTalk(config), True


def _kept(dtype: torch.dtype) -> torch.dtype:
    """The type that weights of a type are computed in."""
    return torch.float32 if dtype.is_floating_point else dtype


def _misfit(folder: Path, key: str) -> ModelError:
    return ModelError(
        f"The weights in {str(folder)!r} do not fit its {CONFIG_NAME} (first: {key}).", "model_weights"
    )


def load_styles(folder: Path, config: ModelConfig) -> dict[str, StylePreset]:
    """The presets of a model directory by id; none where it has none. Raises ModelError where they are not valid."""
    path = folder / STYLES_NAME
    if not path.is_file():
        return {}
    styles = {}
    with refusing(ModelError(f"{STYLES_NAME} in {str(folder)!r} is not valid.", "model_styles")):
        for entry in json.loads(read_text(path)):
            vector = torch.tensor([float(v) for v in entry["vector"]])
            if vector.shape != (config.denoiser.style_dim,) or not torch.isfinite(vector).all():
                raise ValueError("vector")
            measures = StyleMeasures.from_dict(entry.get("measures"))
            name, description = str(entry["name"]), str(entry["description"])
            styles[str(entry["id"])] = StylePreset(name, description, vector, measures)
    return styles


def save_model(model: DiffPoseTalk, folder: str | Path, styles: dict[str, StylePreset] | None = None) -> None:
    """Write a model directory. Weights of a frozen Whisper encoder are stored as float16, as published.

    A HuBERT's weights are stored as they are, and override those of the user's files when they are loaded.
    """
    tensors, whispers = {}, isinstance(model.speech_encoder, WhisperSpeechEncoder)
    for name, value in model.state_dict().items():
        whisper = whispers and name.startswith("speech_encoder.")
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
