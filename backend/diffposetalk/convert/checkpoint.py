# SPDX-License-Identifier: GPL-3.0-or-later
"""The paper's released checkpoints, turned into a model directory.

A release is three files that belong together: the denoiser, the style encoder it was trained with, and the
statistics of the training data. The networks are the ones of `denoiser` and `style_encoder` under other names;
what the released code keeps beside them (step table, alignment mask, noise schedule) is computed here, and a
file whose copies differ is refused, because our network would not do what it was trained for.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import (
    EXPRESSION_DIM,
    SHAPE_DIM,
    DenoiserConfig,
    ModelConfig,
    SamplingConfig,
    SpeechEncoderConfig,
    StyleEncoderConfig,
)
from ..errors import ModelError, OutputError, refusing
from ..files.array_file import read_arrays
from ..files.digest import file_sha256
from ..files.torch_file import read_torch_file
from ..files.whole_folder import whole_folder
from ..networks.checkpoint import write_model
from ..networks.denoiser import Denoiser, alignment_mask, sinusoidal_table
from ..networks.schedule import NoiseSchedule
from ..networks.style_encoder import StyleEncoder

Tensors = dict[str, torch.Tensor]

_malformed = partial(ModelError, kind="checkpoint_format")
_unfitting = partial(ModelError, kind="checkpoint_shape")
_unpaired = partial(ModelError, kind="checkpoint_pair")
_unsupported = partial(ModelError, kind="checkpoint_unsupported")
_no_statistics = partial(ModelError, kind="model_statistics")

# Released name, or beginning of one, to ours.
_DENOISER_NAMES = {
    "start_audio_feat": "start_speech",
    "start_motion_feat": "start_motion",
    "null_style_feat": "null_style",
    "null_audio_feat": "null_speech",
    "audio_feature_map.": "speech_proj.",
    "denoising_net.PE": "denoiser.positions",
    "denoising_net.diff_step_map.": "denoiser.step_map.",
    "denoising_net.person_proj.": "denoiser.person_proj.",
    "denoising_net.feature_proj.": "denoiser.motion_proj.",
    "denoising_net.transformer.": "denoiser.transformer.",
    "denoising_net.motion_dec.": "denoiser.motion_head.",
    "audio_encoder.": "speech_encoder.hubert.",
}
_STYLE_NAMES = {
    "motion_proj.": "style_encoder.motion_proj.",
    "transformer.": "style_encoder.transformer.",
}
# Tables that the released code stores and this one computes. Those after them are not read at all: functions
# of the betas, and what HuBERT masks with in training.
_STEP_TABLE, _MASK = "denoising_net.TE.pe", "denoising_net.alignment_mask"
_ALPHA_BARS = "diffusion_sched.alpha_bars"
_UNUSED = (_STEP_TABLE, _MASK, "diffusion_sched.", "audio_encoder.masked_spec_embed")
_SCHEDULE_TOLERANCE, _TABLE_TOLERANCE = 1e-5, 1e-3

# Training options that this engine knows one value of. A file that lacks one predates the option.
_ONLY = {
    "target": "sample",
    "architecture": "decoder",
    "rot_repr": "aa",
    "audio_model": "hubert",
    "diff_schedule": "cosine",
    "cfg_mode": "incremental",
    "pad_mode": "zero",
    "fps": 25,
}
_HUBERT_BASE_LAYERS, _HUBERT_HEAD_WIDTH = 12, 64
_MAX_STATISTICS_BYTES = 1 << 20
_LARGEST_OPTION = 10_000


@dataclass(frozen=True)
class CheckpointSummary:
    """The model directory that a conversion made, and its configuration."""

    folder: Path
    config: ModelConfig

    @property
    def description(self) -> str:
        """One line for people."""
        speech = self.config.speech_encoder
        return (
            f"{self.config.name}, {'with' if self.config.head_pose else 'without'} head pose, "
            f"{self.config.denoiser.steps} diffusion steps, HuBERT "
            f"{'included' if speech.stored else 'to be found on this computer (facebook/hubert-base-ls960)'}"
        )


def convert_checkpoint(
    denoiser: str | Path,
    style_encoder: str | Path,
    statistics: str | Path | None,
    destination: str | Path,
    *,
    name: str | None = None,
) -> CheckpointSummary:
    """Make a model directory of a released set.

    Args:
        denoiser, style_encoder: the two `.pt` files.
        statistics: `stats_train.npz`; None is refused.
        destination: folder to make; must not exist yet, or be empty.
        name: what the model is called; default the folder's name.

    Raises:
        ModelError: a file is missing, damaged, hostile, of the wrong sort, or does not fit the others.
        OutputError: the folder exists or cannot be written.
    """
    destination = Path(destination)
    if statistics is None:
        raise _no_statistics(
            "Give the statistics of the release (--statistics stats_train.npz): a model that runs without them "
            "makes violent motion."
        )
    _check_destination(destination)
    sources = {"denoiser": Path(denoiser), "style encoder": Path(style_encoder)}
    d_args, d_tensors, d_iteration = _read(sources["denoiser"], "denoiser")
    s_args, s_tensors, s_iteration = _read(sources["style encoder"], "style encoder")
    d_what, s_what = (f"“{path.name}”" for path in sources.values())
    d_config = _denoiser_config(d_args, d_tensors, d_what)
    s_config = _style_config(s_args, s_tensors, s_what)
    if d_config.motion_dim != s_config.motion_dim:
        words = ("with", "without") if d_config.motion_dim > s_config.motion_dim else ("without", "with")
        raise _unpaired(
            f"{d_what} was trained {words[0]} and {s_what} {words[1]} head pose: they are of different releases."
        )
    if d_config.style_dim != s_config.width:
        raise _unpaired(
            f"{d_what} takes styles of {d_config.style_dim} values, {s_what} gives {s_config.width}: they are "
            "of different releases."
        )
    stats = _read_statistics(Path(statistics), d_config.motion_dim)
    tensors = _renamed(d_tensors, _DENOISER_NAMES, d_what) | _renamed(s_tensors, _STYLE_NAMES, s_what)
    speech = _speech_config(tensors, d_what)
    jaw_rest = stats.pop("jaw_rest").tolist()
    config = ModelConfig.from_dict(
        ModelConfig(
            name=name or destination.resolve().name,
            basis="flame",
            expression_names=tuple(f"Exp{i:03d}" for i in range(EXPRESSION_DIM)),
            jaw_rest=(jaw_rest[0], jaw_rest[1]),
            denoiser=d_config,
            style_encoder=s_config,
            speech_encoder=speech,
            sampling=SamplingConfig(
                steps=min(SamplingConfig().steps, d_config.steps), reuse_noise=True, hears_before=True
            ),
            provenance={
                "converted_from": "released checkpoints of DiffPoseTalk (Sun et al. 2024)",
                "files": {path.name: file_sha256(path) for path in (*sources.values(), Path(statistics))},
                "iterations": {"denoiser": d_iteration, "style_encoder": s_iteration},
            },
        ).to_dict()
    )
    _check_shapes(tensors, config, d_what, s_what)
    tensors |= {f"normalizer.{key}": value for key, value in stats.items()}
    with whole_folder(destination) as part:
        write_model(part, config, tensors)
    return CheckpointSummary(destination, config)


def _read(path: Path, role: str) -> tuple[dict[str, Any], Tensors, int]:
    """Training options, tensors (float32) and iteration of a checkpoint."""
    what = f"“{path.name}”"
    parts = {"denoiser": "model", "style encoder": "encoder"}
    content = read_torch_file(path)
    if not isinstance(content, dict):
        raise _malformed(f"{what} holds no {role}, only a {type(content).__name__}.")
    for other, part in parts.items():
        if part in content and other != role and parts[role] not in content:
            raise ModelError(
                f"{what} is a {other}, where a {role} is needed. Are the two files swapped?",
                "checkpoint_swapped",
            )
    state, args = content.get(parts[role]), content.get("args")
    if not isinstance(state, dict) or not isinstance(args, argparse.Namespace):
        raise _malformed(f"{what} is not a released {role}: it needs “args” and “{parts[role]}”.")
    tensors: Tensors = {}
    places: set[int] = set()
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise _malformed(f"{what} holds something that is not a tensor among its weights.")
        tensors[key] = value.float().contiguous()
        if tensors[key].untyped_storage().data_ptr() in places:  # safetensors holds every tensor by itself
            tensors[key] = tensors[key].clone()
        places.add(tensors[key].untyped_storage().data_ptr())
        if not bool(torch.isfinite(tensors[key]).all()):
            raise ModelError(
                f"{what} holds weights that are not finite ({_shown(key)}).", "checkpoint_not_finite"
            )
    iteration = content.get("iter")
    options = dict(vars(args))
    # Those that older checkpoints lack or spell differently.
    options.setdefault("align_mask_width", 1 if options.get("use_alignment_mask") else 0)
    options.setdefault("no_head_pose", not options.get("predict_head_pose"))
    options.setdefault("no_use_learnable_pe", not options.get("use_learnable_pe"))
    return options, tensors, iteration if isinstance(iteration, int) else 0


def _denoiser_config(options: dict[str, Any], tensors: Tensors, what: str) -> DenoiserConfig:
    """Sizes of a released denoiser: read off its tensors, checked against its options."""
    _check_options(options, _ONLY, what)
    if options["no_use_learnable_pe"]:
        raise _unsupported(
            f"{what} was trained with fixed positions (no_use_learnable_pe); only learnable ones are supported."
        )
    _, previous, motion_dim = _shape(tensors, "start_motion_feat", 3, what)
    _, tokens, width = _shape(tensors, "denoising_net.PE", 3, what)
    _, rows, _ = _shape(tensors, _STEP_TABLE, 3, what)
    style_dim = _shape(tensors, "null_style_feat", 3, what)[2]
    inputs = _shape(tensors, "denoising_net.feature_proj.weight", 2, what)[1]
    if inputs == motion_dim and not options.get("use_indicator"):
        # Trained without the indicator of padding: a column of zeros makes our network ignore it.
        weight = tensors["denoising_net.feature_proj.weight"]
        tensors["denoising_net.feature_proj.weight"] = torch.nn.functional.pad(weight, (0, 1))
    window, steps = tokens - 1 - previous, rows - 1
    sizes = {"n_motions": window, "n_prev_motions": previous, "d_style": style_dim, "n_diff_steps": steps}
    _agree(options, sizes, what)
    config = DenoiserConfig(
        **_transformer(options, tensors, "denoising_net.transformer.layers.", width, motion_dim, what),
        window=window,
        previous=previous,
        steps=steps,
        align_mask_width=_whole(options, "align_mask_width", what),
        shape_dim=SHAPE_DIM,
        style_dim=style_dim,
    )
    _check_tables(config, tensors, what)
    return config


def _style_config(options: dict[str, Any], tensors: Tensors, what: str) -> StyleEncoderConfig:
    _check_options(options, ("rot_repr",), what)
    width, motion_dim = _shape(tensors, "motion_proj.weight", 2, what)
    sizes = _transformer(options, tensors, "transformer.layers.", width, motion_dim, what)
    return StyleEncoderConfig(**sizes, window=_whole(options, "n_motions", what), shared_position=True)


def _check_options(options: dict[str, Any], names: Iterable[str], what: str) -> None:
    for option in names:
        if options.get(option) not in (None, _ONLY[option]):
            raise _unsupported(
                f"{what} was trained with {option} = {_shown(options[option])}; only {_ONLY[option]!r} is supported."
            )


def _transformer(
    options: dict[str, Any], tensors: Tensors, layers: str, width: int, motion_dim: int, what: str
) -> dict[str, Any]:
    """The sizes that both networks have; `layers`: beginning of the names of the transformer's."""
    sizes = {
        "feature_dim": width,
        "n_layers": _layers(tensors, layers),
        "mlp_ratio": _shape(tensors, f"{layers}0.linear1.weight", 2, what)[0] // width,
        "no_head_pose": motion_dim == EXPRESSION_DIM + 1,
    }
    _agree(options, sizes, what)
    heads = _whole(options, "n_heads", what)
    if heads < 1 or width % heads or width % 2:
        raise _unfitting(f"{what} has {heads} heads, which do not divide its width of {width}.")
    own = {"layers": sizes["n_layers"], "mlp_ratio": sizes["mlp_ratio"]}
    return {"motion_dim": motion_dim, "width": width, "heads": heads, **own}


def _speech_config(tensors: Tensors, what: str) -> SpeechEncoderConfig:
    """Which HuBERT the model listens through, and whether the checkpoint brings all of it.

    Renames what older PyTorch called the two parts of a normalised weight.
    """
    width = _shape(tensors, "speech_proj.weight", 2, what)[1]
    prefix = "speech_encoder.hubert."
    depth = _layers(tensors, prefix + "encoder.layers.") or _HUBERT_BASE_LAYERS
    config = SpeechEncoderConfig(
        kind="hubert", layers=(depth,), width=width, heads=max(1, width // _HUBERT_HEAD_WIDTH), depth=depth
    )
    names = [key for key in tensors if key.startswith(prefix)]
    if not names:
        return config
    from ..networks.speech.hubert import modern_name, unloaded

    for key in names:
        tensors[modern_name(key)] = tensors.pop(key)
    held = {key.removeprefix(prefix): tuple(v.shape) for key, v in tensors.items() if key.startswith(prefix)}
    expected = {key: tuple(v.shape) for key, v in unloaded(config).hubert.state_dict().items()}
    for key, shape in held.items():
        if expected.get(key) != shape:
            raise _misfit(what, "audio_encoder." + key, shape, expected.get(key))
    return replace(config, stored=held.keys() == expected.keys())


def _check_shapes(tensors: Tensors, config: ModelConfig, d_what: str, s_what: str) -> None:
    """Every tensor that our networks need is there in the right shape, and none besides."""
    d = config.denoiser
    with torch.device("meta"):
        expected = {f"denoiser.{k}": tuple(v.shape) for k, v in Denoiser(d).state_dict().items()}
        style = StyleEncoder(config.style_encoder).state_dict()
    expected |= {
        "start_motion": (1, d.previous, d.motion_dim),
        "start_speech": (1, d.previous, d.width),
        "null_style": (1, d.style_dim),
        "null_speech": (1, 1, d.width),
        "speech_proj.weight": (d.width, config.speech_encoder.width),
        "speech_proj.bias": (d.width,),
    }
    expected |= {f"style_encoder.{k}": tuple(v.shape) for k, v in style.items()}
    held = {k: tuple(v.shape) for k, v in tensors.items() if not k.startswith("speech_encoder.")}
    for key in [*expected, *held]:
        if held.get(key) != expected.get(key):
            what, names = (s_what, _STYLE_NAMES) if key.startswith("style_") else (d_what, _DENOISER_NAMES)
            released = next((k + key.removeprefix(v) for k, v in names.items() if key.startswith(v)), key)
            raise _misfit(what, released, held.get(key), expected.get(key))


def _check_tables(config: DenoiserConfig, tensors: Tensors, what: str) -> None:
    """The tables that the checkpoint stores are the ones that this engine computes."""
    frames = config.previous + config.window
    mask = alignment_mask(frames, config.align_mask_width)
    expected = {
        _STEP_TABLE: (sinusoidal_table(config.steps + 1, config.width)[None], _TABLE_TOLERANCE),
        _ALPHA_BARS: (NoiseSchedule(config.steps).alpha_bars.float(), _SCHEDULE_TOLERANCE),
        _MASK: (torch.zeros(1 + frames, frames) if mask is None else mask.float(), 0.0),
    }
    for name, (table, tolerance) in expected.items():
        held = tensors.get(name)
        if held is None:
            continue
        if held.shape != table.shape or float((held.float() - table).abs().max()) > tolerance:
            raise _unsupported(
                f"{what} holds a {name} other than its options describe; it cannot be converted faithfully."
            )


def _renamed(tensors: Tensors, names: Mapping[str, str], what: str) -> Tensors:
    out: Tensors = {}
    for key, value in tensors.items():
        if key.startswith(_UNUSED):
            continue
        old = next((old for old in names if key.startswith(old)), None)
        if old is None:
            raise _malformed(f"{what} holds a tensor that no released one has ({_shown(key)}).")
        out[names[old] + key.removeprefix(old)] = value
    if "null_style" in out:
        out["null_style"] = out["null_style"].reshape(1, -1)
    return out


def _read_statistics(path: Path, motion_dim: int) -> Tensors:
    """Means and deviations of motion vectors and shape, float32, and the jaw's rest about y and z."""
    what = f"“{path.name}”"
    if not path.is_file():
        raise _no_statistics(f"There is no statistics file “{path}”.")
    sizes = {"shape": SHAPE_DIM, "exp": EXPRESSION_DIM, "pose": 6}
    names = {f"{part}_{kind}": size for part, size in sizes.items() for kind in ("mean", "std")}
    foreign = _no_statistics(f"{what} is not the statistics of a release (.npz with {', '.join(names)}).")
    with refusing(foreign):
        held = read_arrays(path, names, _MAX_STATISTICS_BYTES)
        arrays = {name: np.asarray(held[name], np.float32).reshape(-1) for name in names}
    for name, size in names.items():
        array = arrays[name]
        if array.shape != (size,) or not np.isfinite(array).all():
            raise _no_statistics(f"{what}: {name} must be {size} finite numbers.")
        if name.endswith("_std") and not (array > 0).all():
            raise _no_statistics(f"{what}: {name} must be above zero.")
    out = {}
    head = slice(0, 3) if motion_dim == EXPRESSION_DIM + 4 else slice(0, 0)
    for kind in ("mean", "std"):
        pose = arrays[f"pose_{kind}"]
        out[f"motion_{kind}"] = np.concatenate([arrays[f"exp_{kind}"], pose[head], pose[3:4]])
        out[f"shape_{kind}"] = arrays[f"shape_{kind}"]
    # The released code pads the normalised jaw with zeros about y and z, which denormalise to their means.
    out["jaw_rest"] = arrays["pose_mean"][4:]
    return {key: torch.from_numpy(value.copy()) for key, value in out.items()}


def _check_destination(destination: Path) -> None:
    """Raises OutputError now rather than after the files have been read."""
    if destination.is_dir() and not any(destination.iterdir()):
        return
    if destination.exists():
        raise OutputError(f"“{destination}” exists already. Name a new folder, or delete it first.")
    parent = destination.resolve().parent
    if not parent.is_dir():
        raise OutputError(f"The folder “{parent}” does not exist. Make it first.")


def _shape(tensors: Tensors, name: str, dims: int, what: str) -> tuple[int, ...]:
    if name not in tensors:
        raise _misfit(what, name, None, None)
    shape = tuple(tensors[name].shape)
    if len(shape) != dims or 0 in shape:
        raise _misfit(what, name, shape, None)
    return shape


def _layers(tensors: Tensors, prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in tensors if key.startswith(prefix)})


def _agree(options: dict[str, Any], sizes: dict[str, Any], what: str) -> None:
    for name, value in sizes.items():
        if options.get(name) not in (None, value):
            raise _unfitting(f"{what} says {name} = {_shown(options[name])} and holds weights for {value}.")


def _whole(options: dict[str, Any], name: str, what: str) -> int:
    value = options.get(name)
    if type(value) is not int or not 0 <= value <= _LARGEST_OPTION:
        raise _malformed(f"{what} says {name} = {_shown(value)}, where a number is needed.")
    return value


def _misfit(
    what: str, name: str, held: tuple[int, ...] | None, expected: tuple[int, ...] | None
) -> ModelError:
    name = _shown(name)
    if held is None:
        text = f"{what} lacks the weights {name}"
    elif expected is None:
        text = f"{what} holds {name} {held}, which a released one does not have"
    else:
        text = f"{what} holds {name} in the shape {held}, where {expected} is needed"
    return ModelError(text + ". Is it the right file, from the released code?", "checkpoint_shape")


def _shown(value: Any) -> str:
    """A name or value out of a file, fit for a line of text."""
    if not isinstance(value, str | int | float) or (isinstance(value, int) and abs(value) > 10**18):
        return f"something ({type(value).__name__})"
    return "".join(c if c.isprintable() else "?" for c in str(value))[:80]
