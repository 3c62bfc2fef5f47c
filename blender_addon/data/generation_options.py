# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be chosen of a generation, as one value: the like of the backend's `generation.options`.

Fields, defaults, parameters and keys are the same on both sides (a test holds them together): a new setting is a new
field in each.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .content_digest import content_digest
from .errors import UserError

QUALITIES = ("final", "draft")
GUIDANCE_LIMIT = 20.0
FILES = ("motion", "vector", "file", "model")  # names under which a style names files
BUILT_IN = ("speech_guidance", "style_guidance", "sampler", "steps", "threshold")  # what a draft has taken in


@dataclass(frozen=True)
class Sampler:
    """How the panel shows a way from noise to motion.

    number: by which saved scenes know it.
    offered: in the menu; scripts, and scenes of before, may have chosen the others.
    """

    name: str
    description: str
    number: int
    offered: bool = True


SAMPLERS = {
    "unipc": Sampler("UniPC", "Third order, predicted and corrected: the fewest steps", 2),
    "dpmpp_2m": Sampler("DPM-Solver++ (2M)", "Second order: about 20 steps are enough", 0),
    "dpmpp_2m_sde": Sampler("DPM-Solver++ (2M SDE)", "Second order with fresh noise at every step", 3, False),
    "ddim": Sampler("DDIM", "First order: wants the most steps of the deterministic ones", 4, False),
    "ddpm": Sampler("DDPM", "The paper's own sampling; takes all of the model's steps", 1),
}
"""All that the backend's `diffusion.samplers` has, by the same names."""


@dataclass(frozen=True)
class GenerationOptions:
    """How takes are made; None leaves a value to the model. Raises UserError where a value is out of range.

    seeds: one take each.
    style: as the protocol takes it: {"preset": id}, {"motion": path, "start_frame": int | None}, {"vector": path},
        {"file": path}, {"mix": [...], "amounts": [...]} or None.
    shape: file of 100 identity coefficients.
    head_pose: whether the head turns.
    threshold: ratio, low and high of dynamic thresholding; None is off.
    quality: "final", or "draft": the model's faster student, whose guidance and steps are built in.
    """

    seeds: tuple[int, ...] = (0,)
    style: dict[str, Any] | None = None
    shape: str | None = None
    head_pose: bool = True
    speech_guidance: float | None = None
    style_guidance: float | None = None
    sampler: str | None = None
    steps: int | None = None
    threshold: tuple[float, float, float] | None = None
    quality: str = "final"

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if not self.seeds:
            raise UserError("At least one seed is needed: each makes a take.")
        if not all(0 <= seed < 2**63 for seed in self.seeds):
            raise UserError("Seeds range from 0 to 2^63 - 1.")
        for scale in (self.speech_guidance, self.style_guidance):
            if scale is not None and not 0 <= scale <= GUIDANCE_LIMIT:
                raise UserError(f"Guidance ranges from 0 to {GUIDANCE_LIMIT:g}.")
        if self.sampler is not None and self.sampler not in SAMPLERS:
            raise UserError(f"The sampler is one of {', '.join(SAMPLERS)}.")
        if self.steps is not None and self.steps < 1:
            raise UserError("At least one denoising step is needed.")
        if self.quality not in QUALITIES:
            raise UserError(f"The quality is one of {', '.join(QUALITIES)}.")

    @classmethod
    def from_params(cls, params: dict[str, Any]) -> "GenerationOptions":
        """The options among the parameters of a call, or what a take was made from; the others are passed over.

        Raises:
            UserError: a value of the wrong type or out of range.
        """
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in params.items()
            if name in known
        }
        try:
            return cls(**values)
        except TypeError as error:
            raise UserError(f"The settings of the take cannot be read: {error}.") from error

    def to_params(self) -> dict[str, Any]:
        """All options as the protocol takes them."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    def without_built_in(self) -> "GenerationOptions":
        """The options as they can be asked for: a draft's guidance and steps are its own."""
        left_out: dict[str, Any] = dict.fromkeys(BUILT_IN)
        return self if self.quality == "final" else replace(self, **left_out)

    def key(self) -> str:
        """A digest of all options, the files that they name by their content. Raises UserError."""
        shape = None if self.shape is None else content_digest(self.shape)
        content = {**self.to_params(), "style": _by_content(self.style), "shape": shape}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _by_content(style: Any) -> Any:
    """A style with digests for the files that it names."""
    if isinstance(style, dict):
        return {
            name: content_digest(value) if name in FILES and isinstance(value, str) else _by_content(value)
            for name, value in style.items()
        }
    return [_by_content(part) for part in style] if isinstance(style, list) else style
