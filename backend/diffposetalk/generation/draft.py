# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's draft: a denoiser distilled from its own (`train.distillation`) that samples in a few steps.

It lies in the model's directory as `draft.safetensors` (its denoiser) and `draft.json` (how it is sampled, where it
comes from); all else is the model's own. It belongs to those weights alone and is refused beside others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..config import SamplingConfig, from_fields
from ..diffusion.samplers import solver_steps
from ..errors import DiffPoseTalkError, ModelError, refusing
from ..files.digest import file_sha256
from ..files.text_file import read_text
from ..files.whole_file import whole_file
from ..networks.checkpoint import WEIGHTS_NAME, bundled_model_path, save_weights
from ..networks.model import DiffPoseTalk
from .options import GenerationOptions

DRAFT_WEIGHTS, DRAFT_CONFIG = "draft.safetensors", "draft.json"
_PREFIX = "denoiser."
BUILT_IN = ("speech_guidance", "style_guidance", "sampler", "steps", "threshold")
"""Options that a draft has taken in."""


def save_draft(student: DiffPoseTalk, folder: str | Path) -> None:
    """Write a student beside the model it was distilled from.

    Raises:
        ModelError: kind draft_model; the folder does not hold that model.
    """
    folder = Path(folder)
    teacher = student.config.provenance.get("distilled_from_sha256")
    weights = folder / WEIGHTS_NAME
    if not weights.is_file() or file_sha256(weights) != teacher:
        raise ModelError(f"“{folder}” is not the model that the draft was distilled from.", "draft_model")
    tensors = {
        _PREFIX + name: value.detach().cpu().contiguous()
        for name, value in student.denoiser.state_dict().items()
    }
    about = {
        "name": student.config.name,
        "sampling": asdict(student.config.sampling),
        "provenance": student.config.provenance,
    }
    save_weights(folder / DRAFT_WEIGHTS, tensors)
    with whole_file(folder / DRAFT_CONFIG) as file:
        file.write((json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())


def has_draft(folder: str | Path) -> bool:
    """Whether a model directory holds a draft."""
    return (Path(folder) / DRAFT_CONFIG).is_file()


def load_draft(folder: str | Path, model: DiffPoseTalk) -> DiffPoseTalk:
    """The draft of a loaded model, which shares with it all but the denoiser.

    Args:
        folder: the model's directory.

    Raises:
        ModelError: kind draft_missing: it has none; draft_invalid: files that are damaged or do not fit together;
            draft_model: a draft of other weights than the model's.
    """
    folder = Path(folder)
    if not has_draft(folder):
        raise ModelError(
            f"{model.config.name} has no draft. Use quality Final, or distil one with 'diffposetalk train "
            "distill'.",
            "draft_missing",
        )
    try:
        about = json.loads(read_text(folder / DRAFT_CONFIG))
        sampling: SamplingConfig = from_fields(SamplingConfig, about["sampling"])
        provenance = dict(about["provenance"])
        grid = provenance["distilled_grid"]
        tensors = load_file(folder / DRAFT_WEIGHTS)
        if not 1 <= sampling.steps <= model.config.denoiser.steps:
            raise ValueError(f"{sampling.steps} steps")
        if not all(bool(torch.isfinite(v).all()) for v in tensors.values()):
            raise ValueError("weights that are not finite")
    except (OSError, ValueError, TypeError, KeyError, RecursionError, SafetensorError) as error:
        raise ModelError(f"The draft in “{folder}” is damaged: {error}.", "draft_invalid") from error
    if provenance.get("distilled_from_sha256") != model.sha256:
        raise ModelError(
            f"The draft in “{folder}” is of another model than the one beside it.", "draft_model"
        )
    if grid != solver_steps(model.schedule, sampling.steps):
        raise ModelError(
            f"The draft in “{folder}” was distilled for other sampling steps than this version takes. Distil it "
            "again.",
            "draft_invalid",
        )
    config = replace(model.config, name=str(about["name"]), sampling=sampling, provenance=provenance)
    draft = DiffPoseTalk(config, model.speech_encoder)
    shared = ("speech_proj", "style_encoder", "normalizer", "schedule", "styles", "compute")
    for name in (*shared, "start_motion", "start_speech", "null_style", "null_speech"):
        setattr(draft, name, getattr(model, name))
    misfit = ModelError(f"The draft in “{folder}” does not fit the model beside it.", "draft_invalid")
    with refusing(misfit, RuntimeError):
        draft.denoiser.load_state_dict({k.removeprefix(_PREFIX): v for k, v in tensors.items()})
    draft.sha256 = file_sha256(folder / DRAFT_WEIGHTS)
    return draft.to(model.device).eval()


def of_quality(model: DiffPoseTalk, folder: str | Path | None, quality: str) -> DiffPoseTalk:
    """The model (`final`) or its draft, which lies in the same folder (None: the bundled one's).

    Raises:
        ModelError: there is no draft, or it is not that model's.
    """
    return model if quality == "final" else load_draft(folder or bundled_model_path(), model)


def refuse_settings(model: DiffPoseTalk, options: GenerationOptions) -> None:
    """A draft is sampled as it learned to be.

    Raises:
        DiffPoseTalkError: kind settings_draft; the model is a draft, and one of BUILT_IN is not None.
    """
    if "distilled_grid" not in model.config.provenance:
        return
    given = [name.replace("_", " ") for name in BUILT_IN if getattr(options, name) is not None]
    if given:
        raise DiffPoseTalkError(
            f"A draft's guidance and steps are built in: leave {', '.join(given)} alone, or use quality final.",
            "settings_draft",
        )
