# SPDX-License-Identifier: GPL-3.0-or-later
"""What defines a model: sizes, basis, rates and sampling defaults, as data that round-trips through JSON."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from .errors import ModelError

EXPRESSION_DIM = 50
SHAPE_DIM = 100
FPS = 25.0
SAMPLERS = ("unipc", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "ddpm")
"""By the names that `samplers.sample` knows them by; `ddpm` takes all N steps."""
DETERMINISTIC_SAMPLERS = ("unipc", "dpmpp_2m", "ddim")
"""Those that solve the ODE and draw no noise between their steps."""
QUALITIES = ("final", "draft")
"""The model itself, or the faster student beside it (`draft`)."""
PRECISIONS = ("auto", "float32", "bfloat16")
"""Of the matrix products in sampling."""
STYLE_WORDS = (
    "a preset, a style of your library (its name, or library:NAME), a style file (.dptstyle), a motion file (.npz, "
    ".csv, .json) or a video to take it from (FILE@120 from that frame on, FILE@mean from all of it), a style vector "
    "(.npy), a mixture (0.7 calm + 0.3 Anna), or none"
)
"""All that a word for a style can be, for help and errors; `styles.request` reads it."""


@dataclass(frozen=True)
class DenoiserConfig:
    """Sizes of the transformer denoiser (paper section 3.2; the published sizes are the defaults)."""

    motion_dim: int = 54
    """50 expression coefficients, 3 head rotation, 1 jaw pitch; 51 without head rotation."""
    width: int = 512
    heads: int = 8
    layers: int = 8
    mlp_ratio: int = 4
    dropout: float = 0.1
    window: int = 100
    """T_w, frames generated per window."""
    previous: int = 10
    """T_p, frames of the preceding window that condition the next one."""
    steps: int = 500
    """N, diffusion steps the network was trained with."""
    align_mask_width: int = 1
    """Speech features a motion token may attend to; 1 is the paper's alignment mask, 0 lifts it."""
    person_frames: bool = False
    """Tell every frame of diffusion step and person, not only the first token as in the paper: what scales with both,
    such as how far the head swings, is then learned soon."""
    shape_dim: int = SHAPE_DIM
    style_dim: int = 128


@dataclass(frozen=True)
class StyleEncoderConfig:
    """Sizes of the speaking style encoder (paper section 3.3.1)."""

    motion_dim: int = 54
    width: int = 128
    """d_s, also the length of a style vector."""
    heads: int = 4
    layers: int = 4
    mlp_ratio: int = 4
    dropout: float = 0.1
    window: int = 100
    """T, frames (4 s) a style is read from."""
    shared_position: bool = False
    """Add one and the same row of the position table to every frame, as the released weights expect."""
    differences: int = 0
    """Frames to either side between which the encoder is also told how far each channel moves; 0, as in the paper,
    leaves it to find out. Without, a model trained for an hour tells speakers apart by their resting faces alone."""


@dataclass(frozen=True)
class SpeechEncoderConfig:
    """Which pretrained speech encoder a model listens through and which of its layers it reads."""

    kind: str = "whisper"
    """`whisper` (weights inside the model directory) or `hubert` (weights from the user's files)."""
    layers: tuple[int, ...] = (4,)
    """Hidden states concatenated into a feature; 0 is the convolutions' output, the last is normalised."""
    width: int = 384
    heads: int = 6
    depth: int = 4
    mels: int = 80
    positions: int = 1500
    stored: bool = False
    """HuBERT only: the model directory holds all of its weights, and the user's files are not needed."""


@dataclass(frozen=True)
class SamplingConfig:
    """Defaults for generation."""

    sampler: str = "unipc"
    steps: int = 20
    sparse_guidance: int = 3
    """Steps from one evaluation of the branch without speech to the next, with the samplers that add no noise;
    1 evaluates it at every step."""
    speech_guidance: float = 1.15
    added_guidance: dict[str, float] = field(default_factory=dict)
    """What is added to the speech guidance of a group of channels (`motion.channel_groups`). Heads, brows and lids
    follow the speech more loosely than lips do, and need a stronger pull to move as far and as fast as people's."""
    noisy_lips_guidance: float = 0.0
    """Speech guidance of the lips and the jaw in noisy recordings (`recording_noise`); 0: as in others."""
    style_guidance: float = 3.0
    reuse_noise: bool = False
    """Start every window from the first one's noise, as the released code does."""
    hears_before: bool = False
    """The guidance branch without speech hears the frames before the window all the same, as the released code
    has it. A model must be trained so: training goes by this field too."""
    join_face: int = 0
    join_head: int = 0
    """Frames over which a window is eased into the previous one (expression and jaw; head); 0 leaves it be."""
    smooth_head: int = 0
    """Frames of the Savitzky-Golay filter (second order) over the head rotation of a finished take; 0 for none."""
    lips_temperature: float = 1.0
    """Scale of the noise that the lips and the jaw are made from. Below 1, takes differ less in them, and they stay
    closer to what the speech makes likely, as with the temperature of Kingma and Dhariwal 2018 (Glow)."""
    style: str = ""
    """Preset used when the user names none; empty: generate without a style."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to rebuild the networks, with the model's basis, rate and provenance."""

    name: str = "unnamed"
    basis: str = "arkit"
    fps: float = FPS
    expression_names: tuple[str, ...] = ()
    coefficient_range: tuple[float, float] | None = None
    """Expression coefficients are clamped to this range after generation (ARKit: 0 to 1)."""
    jaw_range: tuple[float, float] | None = None
    """Jaw pitch limits in radians."""
    jaw_rest: tuple[float, float] = (0.0, 0.0)
    """Jaw rotation about y and z of every frame, in radians: the networks move its pitch alone, and released
    models hold the other two at the means of their training data."""
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    style_encoder: StyleEncoderConfig = field(default_factory=StyleEncoderConfig)
    speech_encoder: SpeechEncoderConfig = field(default_factory=SpeechEncoderConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def head_pose(self) -> bool:
        """Whether the motion holds the three head rotation channels."""
        return self.denoiser.motion_dim == EXPRESSION_DIM + 4

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-ready data; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ModelConfig:
        """Rebuild a configuration.

        Raises:
            ModelError: unknown or missing fields, wrong types, or sizes that contradict each other.
        """
        try:
            values = dict(data)
            for name, part in get_type_hints(cls).items():
                if is_dataclass(part):
                    values[name] = from_fields(part, values.get(name, {}))
            config: ModelConfig = from_fields(cls, values)
        except (TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"The model's config.json is not valid: {error}.", "model_config") from error
        _check(config)
        return config


def from_fields(cls: Any, data: dict[str, Any]) -> Any:
    """An instance of a dataclass from values read from JSON or TOML (lists for tuples).

    Raises:
        ValueError: unknown field, or a value of the wrong type. TypeError: a field without default is missing.
    """
    known = {f.name for f in fields(cls)}
    unknown = set(data) - known
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r} in {cls.__name__}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    hints = get_type_hints(cls)
    for name, value in values.items():
        if not fits(value, hints[name]):
            raise ValueError(f"{name} = {str(value)[:60]!r} in {cls.__name__}")
    return cls(**values)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON or TOML is of a type; lists may stand for tuples, numbers fit 64 bits."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin in (list, tuple):
        if not isinstance(value, list | tuple):
            return False
        if origin is list or parts[-1] is Ellipsis:
            return all(fits(item, parts[0]) for item in value)
        return len(value) == len(parts) and all(map(fits, value, parts))
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, parts[1]) for item in value.values())
    if hint is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if hint is int:
        return type(value) is int and -(2**63) <= value < 2**63
    return isinstance(value, origin or hint)


def _check(config: ModelConfig) -> None:
    d, s, e = config.denoiser, config.style_encoder, config.speech_encoder
    g = config.sampling
    limits = {
        "fps": (config.fps, 1, 1000),
        "denoiser.width": (d.width, 8, 4096),
        "denoiser.layers": (d.layers, 1, 64),
        "denoiser.heads": (d.heads, 1, 64),
        "denoiser.mlp_ratio": (d.mlp_ratio, 1, 16),
        "denoiser.window": (d.window, 2, 4096),
        "denoiser.previous": (d.previous, 1, d.window),
        "denoiser.steps": (d.steps, 2, 10_000),
        "denoiser.align_mask_width": (d.align_mask_width, 0, 4096),
        "denoiser.shape_dim": (d.shape_dim, 1, 4096),
        "style_encoder.width": (s.width, 8, 4096),
        "style_encoder.heads": (s.heads, 1, 64),
        "style_encoder.mlp_ratio": (s.mlp_ratio, 1, 16),
        "style_encoder.layers": (s.layers, 1, 64),
        "style_encoder.window": (s.window, 2, 4096),
        "style_encoder.differences": (s.differences, 0, s.window),
        "speech_encoder.width": (e.width, 8, 4096),
        "speech_encoder.heads": (e.heads, 1, 64),
        "speech_encoder.mels": (e.mels, 8, 256),
        "speech_encoder.depth": (e.depth, 1, 64),
        "speech_encoder.positions": (e.positions, 50, 100_000),
        "sampling.steps": (g.steps, 1, d.steps),
        "sampling.sparse_guidance": (g.sparse_guidance, 1, d.steps),
        "sampling.smooth_head": (g.smooth_head, 0, d.window),
        "sampling.join_face": (g.join_face, 0, d.window),
        "sampling.join_head": (g.join_head, 0, d.window),
        "sampling.lips_temperature": (g.lips_temperature, 0, 1),
        "sampling.noisy_lips_guidance": (g.noisy_lips_guidance, 0, 20),
        "sampling.speech_guidance": (g.speech_guidance, 0, 20),
        "sampling.style_guidance": (g.style_guidance, 0, 20),
        **{f"sampling.added_guidance.{name}": (more, 0, 20) for name, more in g.added_guidance.items()},
    }
    for name, (value, low, high) in limits.items():
        _need(low <= value <= high, f"{name} = {value!r}, outside {low} to {high}")
    for name, pair in (("coefficient_range", config.coefficient_range), ("jaw_range", config.jaw_range)):
        _need(pair is None or pair[0] < pair[1], f"{name} = {list(pair or ())}, which does not rise")
    names = config.expression_names
    _need(
        not names or (len(names) == len(set(names)) == EXPRESSION_DIM and all(names)),
        f"expression_names that are not {EXPRESSION_DIM} different names",
    )
    _need(
        d.motion_dim in (EXPRESSION_DIM + 1, EXPRESSION_DIM + 4) and s.motion_dim == d.motion_dim,
        f"motion sizes {d.motion_dim} and {s.motion_dim}; both must be 54 (with head rotation) or 51 (without)",
    )
    _need(0 <= d.dropout < 1 and 0 <= s.dropout < 1, "a dropout outside 0 to 1")
    split = (d.width % d.heads, s.width % s.heads, e.width % e.heads, d.width % 2, s.width % 2)
    _need(d.style_dim == s.width and not any(split), "widths and heads that do not fit together")
    if config.basis not in ("arkit", "flame"):
        raise ModelError(
            f"The model's basis {config.basis!r} is neither 'arkit' nor 'flame'.", "model_config"
        )
    if e.kind not in ("whisper", "hubert"):
        raise ModelError(f"The model's speech encoder {e.kind!r} is not known.", "model_config")


def _need(sound: bool, otherwise: str) -> None:
    if not sound:
        raise ModelError(f"The model's config.json has {otherwise}.", "model_config")
