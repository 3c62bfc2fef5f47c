# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be chosen of a generation, as one value (as `DecodingOptions` of openai/whisper).

The command line, the protocol, manifests and the Python interface all make one of these, and what a take is made
from is told by its `key`: a new setting is a new field here, with its like in the add-on's `generation_options`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from ..config import QUALITIES, from_fields
from ..diffusion.samplers import SAMPLERS
from ..errors import DiffPoseTalkError
from ..files.digest import content_digest

GUIDANCE_LIMIT = 20.0
FILES = ("motion", "vector", "file", "model")
"""Names under which a style, as `styles.resolve_style` takes it, names files."""


@dataclass(frozen=True)
class GenerationOptions:
    """How takes are made; None leaves a value to the model.

    Attributes:
        seeds: one per take, each 0 to 2**63 - 1.
        style: as `styles.resolve_style` takes it.
        shape: file of 100 identity coefficients; None is the mean of the training data.
        head_pose: False leaves the head rotation at zero.
        speech_guidance, style_guidance: w_a and w_s of equation 10, 0 to 20.
        sampler: one of `diffusion.samplers.SAMPLERS`.
        steps: network evaluations a window, 1 to N; `ddpm` always takes all N.
        threshold: ratio, low and high of `guidance.DynamicThreshold`; None is off.
        quality: `final`, or `draft` for the model's faster student, whose guidance and steps are built in.

    Raises:
        DiffPoseTalkError: kinds settings_seed, settings_guidance, settings_sampler, settings_steps, settings_quality;
            a value is out of range, whatever the model.
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
        if not self.seeds or not all(0 <= seed < 2**63 for seed in self.seeds):
            raise DiffPoseTalkError("Give at least one seed, each from 0 to 2^63 - 1.", "settings_seed")
        for scale in (self.speech_guidance, self.style_guidance):
            if scale is not None and not 0 <= scale <= GUIDANCE_LIMIT:
                raise DiffPoseTalkError(
                    f"Guidance scales range from 0 to {GUIDANCE_LIMIT:g}.", "settings_guidance"
                )
        if self.sampler is not None and self.sampler not in SAMPLERS:
            raise DiffPoseTalkError(
                f"The sampler {self.sampler!r} is none of {', '.join(SAMPLERS)}.", "settings_sampler"
            )
        if self.steps is not None and self.steps < 1:
            raise DiffPoseTalkError("At least one sampling step is needed.", "settings_steps")
        if self.quality not in QUALITIES:
            raise DiffPoseTalkError(
                f"The quality is one of {', '.join(QUALITIES)}, not {self.quality!r}.", "settings_quality"
            )

    @classmethod
    def from_params(cls, params: dict[str, Any]) -> GenerationOptions:
        """The options in JSON's words, as `to_params` gives them; what is left out has its default.

        Raises:
            DiffPoseTalkError: kind settings_format; a name that is none, or a value of the wrong type. Others as of
                the class.
        """
        try:
            options: GenerationOptions = from_fields(cls, params)
        except (TypeError, ValueError) as error:
            raise DiffPoseTalkError(f"The settings cannot be used: {error}.", "settings_format") from error
        return options

    def to_params(self) -> dict[str, Any]:
        """All options as JSON-ready data; `from_params` is its inverse."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    def key(self) -> str:
        """A digest of all options, the files that they name by their content.

        Raises:
            OSError: a file is not there.
        """
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
