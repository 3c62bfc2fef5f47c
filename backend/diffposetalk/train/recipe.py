# SPDX-License-Identifier: GPL-3.0-or-later
"""A training as data: the model's sizes and every setting of its stages, read from TOML, kept with the checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..config import EXPRESSION_DIM, ModelConfig, from_fields
from ..errors import DataError
from .training_set import SetDescription

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

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """Rebuild a recipe, its ablations taken as applied already.

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
    for stage in (recipe.style, recipe.denoiser, recipe.distill):
        for name in ("iterations", "batch", "checkpoint_every", "keep_checkpoints", "log_every"):
            if getattr(stage, name) < 1:
                raise ValueError(f"{name} = {getattr(stage, name)}")
        if stage.learning_rate <= 0:
            raise ValueError(f"learning_rate = {stage.learning_rate}")
        if stage.precision not in PRECISIONS:
            raise ValueError(f"precision = {stage.precision!r}, none of {', '.join(PRECISIONS)}")
    if recipe.style.temperature <= 0:
        raise ValueError(f"temperature = {recipe.style.temperature}")
    d = recipe.denoiser
    for name in ("style_dropout", "all_dropout", "truncate_first", "truncate_second", "ema"):
        if not 0 <= getattr(d, name) <= 1:
            raise ValueError(f"{name} = {getattr(d, name)}, outside 0 to 1")
    if d.geometry not in ("head", "mouth") or d.geometry_vertices < 8:
        raise ValueError(f"geometry = {d.geometry!r} on {d.geometry_vertices} vertices")
    t = recipe.distill
    if t.guidance_iterations < 1 or t.steps < 1 or t.substeps < 1:
        raise ValueError("a distillation without iterations or steps")
    if not (0 <= t.style_dropout <= 1 and 0 <= t.ema <= 1):
        raise ValueError("a style_dropout or ema of the distillation outside 0 to 1")
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
        raise DataError(f"The recipe “{name}” is not valid: {error}.", "data_recipe") from error


def _read_values(name: str, depth: int = 0) -> dict[str, Any]:
    """The tables of a recipe laid over those of its base."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef]

    shipped = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    path = SHIPPED / f"{name}.toml" if name in shipped else Path(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"There is no recipe “{name}”: give a TOML file or one of {', '.join(shipped)}.", "data_recipe"
        ) from error
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


def _without_geometric_losses(recipe: Recipe) -> Recipe:
    """L_geo: equations 3 to 5, and those that the paper applies to the head “in a similar way”."""
    none = LossWeights(**{f.name: 0.0 for f in fields(LossWeights)})
    return replace(recipe, denoiser=replace(recipe.denoiser, weights=none))


def _without_alignment_mask(recipe: Recipe) -> Recipe:
    return replace(recipe, model=_with(recipe.model, "denoiser", align_mask_width=0))


def _without_guidance(recipe: Recipe) -> Recipe:
    """No condition is dropped in training, and nothing is extrapolated at generation."""
    return replace(
        recipe,
        model=_with(
            recipe.model,
            "sampling",
            speech_guidance=1.0,
            added_guidance={},
            noisy_lips_guidance=0.0,
            style_guidance=1.0,
        ),
        denoiser=replace(recipe.denoiser, style_dropout=0.0, all_dropout=0.0),
    )


def _without_style_encoder(recipe: Recipe) -> Recipe:
    """The style is never given, in training or at generation."""
    return replace(
        recipe,
        model=_with(recipe.model, "sampling", style=""),
        denoiser=replace(recipe.denoiser, style_dropout=1.0 - recipe.denoiser.all_dropout),
    )


def _without_head_pose(recipe: Recipe) -> Recipe:
    model = _with(recipe.model, "denoiser", motion_dim=EXPRESSION_DIM + 1)
    return replace(recipe, model=_with(model, "style_encoder", motion_dim=EXPRESSION_DIM + 1))


def _regressor(recipe: Recipe) -> Recipe:
    """The same network without diffusion, style or dropped conditions: not in Table 1, but what all must beat."""
    return replace(
        recipe,
        model=_with(recipe.model, "sampling", style=""),
        denoiser=replace(recipe.denoiser, regression=True, style_dropout=1.0, all_dropout=0.0),
    )


ABLATIONS: dict[str, Callable[[Recipe], Recipe]] = {
    "no-geometric-losses": _without_geometric_losses,
    "no-alignment-mask": _without_alignment_mask,
    "no-guidance": _without_guidance,
    "no-style-encoder": _without_style_encoder,
    "no-head-pose": _without_head_pose,
    REGRESSOR: _regressor,
}
"""The rows of Table 1: “Ours w/o L_geo”, “w/o AM”, “w/o CFG”, “w/o SSE” and “Ours (no HP)”, and the regressor. Applied
in this order."""


def ablate(recipe: Recipe, names: list[str]) -> Recipe:
    """The recipe with these ablations applied as well.

    Raises:
        DataError: `data_recipe`; an ablation is not known.
    """
    unknown = [name for name in names if name not in ABLATIONS]
    if unknown:
        raise DataError(
            f"There is no ablation “{unknown[0]}”; there are {', '.join(ABLATIONS)}.", "data_recipe"
        )
    applied = {*recipe.ablations, *names}
    for name, apply in ABLATIONS.items():
        if name in applied:
            recipe = apply(recipe)
    return replace(recipe, ablations=tuple(name for name in ABLATIONS if name in applied))


def _with(model: dict[str, Any], part: str, **values: Any) -> dict[str, Any]:
    return {**model, part: {**model.get(part, {}), **values}}


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
    model["provenance"] = {
        **model.get("provenance", {}),
        "recipe": recipe.name,
        "ablations": list(recipe.ablations),
    }
    return ModelConfig.from_dict({**own, **model})


def first_bundled() -> Recipe:
    """What checkpoints that lie without a record were trained by: those of the first bundled model."""
    recipe = read_recipe("bundled")
    model = _with(recipe.model, "sampling", hears_before=False)
    return replace(recipe, name="bundled-1", model={**model, "name": "DiffPoseTalk bundled 1"})


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
        started_from: what tells of the model whose weights a new training starts from.

    Raises:
        DataError: `data_recipe`; a model of another build is being trained there already.
    """
    known = recorded(folder)
    if known is not None and _build_of(known[1], parts) != _build_of(config, parts):
        raise DataError(
            f"“{folder}” holds the training of another model ({known[0].name}; its sizes, basis or ablations "
            "differ). Take another --work folder, or leave --config and --ablation away to go on with that one.",
            "data_recipe",
        )
    folder.mkdir(parents=True, exist_ok=True)
    before = earlier_settings(folder)
    if known is not None and (changed := _changed(known[0].to_dict(), recipe.to_dict())):
        step = max((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.pt")), default=0)
        before.append({"until": step, **changed})
    values = {"recipe": recipe.to_dict(), "model": config.to_dict(), "before": before}
    if origin := (start_of(folder) if known is not None else started_from):
        values["started_from"] = origin
    text = json.dumps(values, indent=1, ensure_ascii=False)
    part = folder / f"{RECORD}.{os.getpid()}.part"  # several processes may write the same
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, folder / RECORD)


def recorded(folder: Path) -> tuple[Recipe, ModelConfig] | None:
    """What `record` wrote, or None where nothing is recorded.

    Raises:
        DataError: `data_recipe`; the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Recipe.from_dict(values["recipe"]), ModelConfig.from_dict(values["model"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"“{path}” is damaged: {error}.", "data_recipe") from error


def earlier_settings(folder: Path) -> list[dict[str, Any]]:
    """Settings that a training in the folder was begun with and that were changed later: each until which iteration."""
    return list(_record_of(folder).get("before", []))


def start_of(folder: Path) -> dict[str, Any]:
    """The model whose weights a training in the folder started from; empty where it started from random ones."""
    return dict(_record_of(folder).get("started_from", {}))


def _record_of(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return dict(values)


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
