# SPDX-License-Identifier: GPL-3.0-or-later
"""A training as data: the model's sizes and every setting of its stages, read from TOML, kept with the checkpoints."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from ..config import EXPRESSION_DIM, ModelConfig, from_fields
from ..errors import DataError, refusing
from .training_set import SetDescription

_invalid = partial(DataError, kind="data_recipe")

SHIPPED = Path(__file__).parent / "recipes"
RECORD = "recipe.json"
"""Written beside the checkpoints: the recipe and the model's whole configuration."""
PRECISIONS = ("auto", "no", "bf16", "fp16")
"""Of matrix products, as Accelerate names them; `no` is float32, `auto` bf16 where the hardware has it."""


REGRESSOR = "regressor"
"""The ablation that leaves no diffusion; see `evaluate.regressor`."""


@dataclass(frozen=True)
class LossWeights:
    """λ of equation 6 (vertices in metres²) and of the head losses (normalised head rotation)."""

    vertex: float = 2e6
    velocity: float = 1e7
    smooth: float = 1e5
    head_angle: float = 0.05
    head_velocity: float = 5.0
    head_acceleration: float = 0.5
    head_transition: float = 0.5

    @property
    def geometric(self) -> bool:
        """Whether equations 3 to 5 enter the loss."""
        return self.vertex > 0 or self.velocity > 0 or self.smooth > 0


@dataclass(frozen=True)
class StageTraining:
    """Settings that the trainings of all stages have."""

    iterations: int = 1
    batch: int = 1
    """Samples a step, over all processes together; of the denoiser two windows each."""
    learning_rate: float = 1e-4
    gradient_clip: float = 0.0
    """Largest norm of a gradient; 0 is no limit."""
    precision: str = "no"
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    """Only the newest are kept."""
    log_every: int = 50
    seed: int = 0


@dataclass(frozen=True)
class StyleTraining(StageTraining):
    """Settings of the style encoder's training; the defaults are the paper's."""

    iterations: int = 26_000
    batch: int = 32
    temperature: float = 0.1
    views: bool = False
    """Show the two halves of a pair as two captures would (`style_views`; ARKit basis only). Not in the paper."""
    movement: float = 0.0
    """Weight of telling from a half's style how strongly each channel moves in the other half. Not in the paper."""


@dataclass(frozen=True)
class DenoiserTraining(StageTraining):
    """Settings of the denoiser's training; the defaults are the paper's, or the released code's."""

    iterations: int = 90_000
    batch: int = 16
    final_rate: float = 1e-4
    """Reached at the last iteration along half a cosine; equal to `learning_rate`, it is constant."""
    warmup: int = 5000
    """Iterations over which the rate rises from zero."""
    beta2: float = 0.999
    weight_decay: float = 0.0
    """0 is Adam; otherwise decoupled (AdamW)."""
    style_dropout: float = 0.45
    all_dropout: float = 0.1
    """Probabilities of training without style, and without style and speech."""
    truncate_first: float = 0.3
    truncate_second: float = 0.4
    train_speech_encoder: bool = False
    """Train HuBERT's transformer along; needs the set's sound and the user's HuBERT."""
    frozen_speech_layers: int = 2
    regression: bool = False
    """Train no diffusion model but a plain regressor from speech, the baseline: its input is the mean motion."""
    geometry: str = "head"
    """Vertices of equations 3 to 5: `head` estimates the mean over the whole head, `mouth` takes lips and a few."""
    geometry_vertices: int = 384
    ema: float = 0.0
    """Decay of the weights' moving average, which is exported; 0 exports the last weights."""
    sample_every: int = 5000
    """Iterations between rendered samples and validation losses in TensorBoard; 0 for none."""
    weights: LossWeights = field(default_factory=LossWeights)

    @property
    def styled(self) -> bool:
        """Whether a style is ever given in training."""
        return self.style_dropout + self.all_dropout < 1


@dataclass(frozen=True)
class DistillTraining(StageTraining):
    """Settings of the distillation of a trained model into one that samples in few steps without guidance."""

    guidance_iterations: int = 2000
    """Of the first phase, in which guidance is folded into one branch."""
    iterations: int = 4000
    """Of the second phase, in which several steps become one."""
    steps: int = 4
    """Sampling steps of the student."""
    substeps: int = 4
    """Steps of the one-branch teacher that a step of the student replaces."""
    batch: int = 8
    final_rate: float = 1e-6
    warmup: int = 100
    style_dropout: float = 0.1
    """How often the student learns to go without a style."""
    gradient_clip: float = 1.0
    ema: float = 0.99
    checkpoint_every: int = 250


@dataclass(frozen=True)
class Recipe:
    """A training.

    Attributes:
        name: what the provenance calls it.
        ablations: names in `ABLATIONS` that were applied.
        model: fields of ModelConfig that differ from its defaults, nested as in config.json.
        style, denoiser, distill: settings of the stages.
    """

    name: str
    ablations: tuple[str, ...] = ()
    model: dict[str, Any] = field(default_factory=dict)
    style: StyleTraining = field(default_factory=StyleTraining)
    denoiser: DenoiserTraining = field(default_factory=DenoiserTraining)
    distill: DistillTraining = field(default_factory=DistillTraining)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """The recipe that `asdict` gave, its ablations taken as applied already.

        Raises:
            ValueError, TypeError, AttributeError: unknown fields, wrong types or numbers out of range.
        """
        values = dict(data)
        denoiser = dict(values.get("denoiser", {}))
        denoiser["weights"] = from_fields(LossWeights, denoiser.get("weights", {}))
        values["denoiser"] = from_fields(DenoiserTraining, denoiser)
        values["style"] = from_fields(StyleTraining, values.get("style", {}))
        values["distill"] = from_fields(DistillTraining, values.get("distill", {}))
        recipe: Recipe = from_fields(cls, values)
        _check(recipe)
        return recipe


def _check(recipe: Recipe) -> None:
    distilled = ("guidance_iterations", "steps", "substeps")
    for stage in (recipe.style, recipe.denoiser, recipe.distill):
        for name in ("iterations", "batch", "checkpoint_every", "keep_checkpoints", "log_every", *distilled):
            if getattr(stage, name, 1) < 1:
                raise ValueError(f"{name} = {getattr(stage, name)}")
        for name in ("style_dropout", "all_dropout", "truncate_first", "truncate_second", "ema"):
            if not 0 <= getattr(stage, name, 0) <= 1:
                raise ValueError(f"{name} = {getattr(stage, name)}, outside 0 to 1")
        if stage.learning_rate <= 0:
            raise ValueError(f"learning_rate = {stage.learning_rate}")
        if stage.precision not in PRECISIONS:
            raise ValueError(f"precision = {stage.precision!r}, none of {', '.join(PRECISIONS)}")
    if recipe.style.temperature <= 0:
        raise ValueError(f"temperature = {recipe.style.temperature}")
    d = recipe.denoiser
    if d.geometry not in ("head", "mouth") or d.geometry_vertices < 8:
        raise ValueError(f"geometry = {d.geometry!r} on {d.geometry_vertices} vertices")
    if any(getattr(d.weights, f.name) < 0 for f in fields(d.weights)):
        raise ValueError("a loss weight below 0")


def read_recipe(name: str) -> Recipe:
    """A shipped recipe by its name (`paper`, `bundled`), or one from a TOML file.

    A file may name another recipe as its `base`, and then holds only what differs.

    Raises:
        DataError: `data_recipe`; no such recipe, or one that is not valid.
    """
    try:
        values = _read_values(name)
        wanted = values.pop("ablations", [])
        values.setdefault("name", Path(name).stem)
        return ablate(Recipe.from_dict(values), wanted)
    except (ValueError, TypeError, AttributeError) as error:
        raise _invalid(f"The recipe “{name}” is not valid: {error}.") from error


def _read_values(name: str, depth: int = 0) -> dict[str, Any]:
    """The tables of a recipe laid over those of its base."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef]

    shipped = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    path = SHIPPED / f"{name}.toml" if name in shipped else Path(name)
    unknown = _invalid(f"There is no recipe “{name}”: give a TOML file or one of {', '.join(shipped)}.")
    with refusing(unknown, OSError):
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    base = values.pop("base", None)
    if base is None:
        return values
    if depth == 8:
        raise ValueError("bases that lead in a circle")
    beside = path.parent / str(base)
    under = _read_values(str(beside) if beside.is_file() else str(base), depth + 1)
    under.pop("name", None)
    return _laid_over(under, values)


def _laid_over(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {k: _laid_over(under[k], v) for k, v in over.items() if isinstance(v, dict) and k in under}
    return {**under, **over, **both}


_NO_DIFFUSION = {"regression": True, "style_dropout": 1.0, "all_dropout": 0.0}
_NO_HEAD = {"motion_dim": EXPRESSION_DIM + 1}
NO_GUIDANCE: dict[str, Any] = {
    "speech_guidance": 1.0,
    "added_guidance": dict.fromkeys(("head", "brows", "eyes"), 0.0),
    "noisy_lips_guidance": 0.0,
    "style_guidance": 1.0,
}

ABLATIONS: dict[str, dict[str, Any]] = {
    "no-geometric-losses": {"denoiser": {"weights": {f.name: 0.0 for f in fields(LossWeights)}}},
    "no-alignment-mask": {"model": {"denoiser": {"align_mask_width": 0}}},
    "no-guidance": {
        "model": {"sampling": NO_GUIDANCE},
        "denoiser": {"style_dropout": 0.0, "all_dropout": 0.0},
    },
    "no-style-encoder": {"model": {"sampling": {"style": ""}}, "denoiser": {"style_dropout": 1.0}},
    "no-head-pose": {"model": {"denoiser": _NO_HEAD, "style_encoder": _NO_HEAD}},
    REGRESSOR: {"model": {"sampling": {"style": ""}}, "denoiser": _NO_DIFFUSION},
}
"""What rows of Table 1 change in a recipe: “Ours w/o L_geo” (equations 3 to 5, and the losses that the paper applies
to the head “in a similar way”), “w/o AM”, “w/o CFG” (no condition is dropped in training, nothing is extrapolated at
generation), “w/o SSE” (the style is never given) and “Ours (no HP)”; and the regressor, the same network without
diffusion, style or dropped conditions, which all must beat. Applied in this order."""


def ablate(recipe: Recipe, names: list[str]) -> Recipe:
    """The recipe with these ablations applied as well.

    Raises:
        DataError: `data_recipe`; an ablation is not known.
    """
    unknown = [name for name in names if name not in ABLATIONS]
    if unknown:
        raise _invalid(f"There is no ablation “{unknown[0]}”; there are {', '.join(ABLATIONS)}.")
    applied = [name for name in ABLATIONS if name in (*recipe.ablations, *names)]
    values = asdict(recipe)
    for name in applied:
        values = _laid_over(values, ABLATIONS[name])
    return Recipe.from_dict({**values, "ablations": applied})


def model_config(recipe: Recipe, data: SetDescription, jaw_open_angle: float) -> ModelConfig:
    """Configuration of the model to train: sizes from the recipe, basis and speech features from the set.

    Args:
        jaw_open_angle: of the head that the motion is for, in radians; bounds the jaw of ARKit models.

    Raises:
        ModelError: the recipe's model is not valid.
    """
    model = dict(recipe.model)
    model.setdefault("name", f"DiffPoseTalk {recipe.name}")
    own = {
        "basis": data.basis,
        "expression_names": list(data.expression_names),
        "jaw_rest": list(data.jaw_rest),
        "speech_encoder": asdict(data.speech_encoder),
    }
    if data.basis == "arkit":
        own |= {"coefficient_range": [0.0, 1.0], "jaw_range": [0.0, jaw_open_angle]}
    origin = {"recipe": recipe.name, "ablations": list(recipe.ablations)}
    return ModelConfig.from_dict({**own, **model, "provenance": {**model.get("provenance", {}), **origin}})


@dataclass(frozen=True)
class Record:
    """What is trained in a folder.

    Attributes:
        recipe, config: of the training, and of the model.
        before: settings that it was begun with and that were changed later: each until which iteration.
        started_from: what tells of the model whose weights it started from; empty where from random ones.
    """

    recipe: Recipe
    config: ModelConfig
    before: list[dict[str, Any]] = field(default_factory=list)
    started_from: dict[str, Any] = field(default_factory=dict)


def record(
    folder: Path,
    recipe: Recipe,
    config: ModelConfig,
    parts: tuple[str, ...],
    started_from: dict[str, Any] | None = None,
) -> None:
    """Write down beside the checkpoints in `folder` what is trained there, and what was changed on the way.

    Args:
        parts: of the configuration; what is trained in the folder depends on these and the basis.
        started_from: as of `Record`, of a new training.

    Raises:
        DataError: `data_recipe`; a model of another build is being trained there already.
    """
    known = recorded(folder)
    before, origin = (known.before, known.started_from) if known else ([], started_from)
    if known is not None and _build_of(known.config, parts) != _build_of(config, parts):
        raise _invalid(
            f"“{folder}” holds the training of another model ({known.recipe.name}; its sizes, basis or ablations "
            "differ). Take another --work folder, or leave --config and --ablation away to go on with that one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    if known is not None and (changed := _changed(asdict(known.recipe), asdict(recipe))):
        step = max((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.pt")), default=0)
        before.append({"until": step, **changed})
    values = {"recipe": asdict(recipe), "model": config.to_dict(), "before": before}
    if origin:
        values["started_from"] = origin
    text = json.dumps(values, indent=1, ensure_ascii=False)
    part = folder / f"{RECORD}.{os.getpid()}.part"  # several processes may write the same
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, folder / RECORD)


def recorded(folder: Path) -> Record | None:
    """What `record` wrote, or None where nothing is recorded.

    Raises:
        DataError: `data_recipe`; the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        recipe, config = Recipe.from_dict(values["recipe"]), ModelConfig.from_dict(values["model"])
        return Record(recipe, config, list(values.get("before", ())), dict(values.get("started_from", {})))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _invalid(f"“{path}” is damaged: {error}.") from error


def _changed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The old values of a recipe's settings that are others now, nested as in the recipe; names count for nothing."""
    changed: dict[str, Any] = {}
    for key, value in before.items():
        if isinstance(value, dict) and isinstance(now.get(key), dict):
            if inner := _changed(value, now[key]):
                changed[key] = inner
        elif now.get(key) != value and key not in ("name", "ablations"):
            changed[key] = value
    return changed


def _build_of(config: ModelConfig, parts: tuple[str, ...]) -> Any:
    """What must not change while a training goes on: all that shapes the network and what its inputs mean."""
    values = config.to_dict()
    build = {name: values[name] for name in ("basis", "expression_names", *parts)}
    if "denoiser" in parts:
        build["hears_before"] = config.sampling.hears_before
    return build
