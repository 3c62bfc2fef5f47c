# SPDX-License-Identifier: GPL-3.0-or-later
"""From a recording to motion clips: speech features, windows, guided sampling, clips (paper sections 3.2 and 3.3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch
from scipy.signal import savgol_filter

from . import __version__
from .audio import SpeechAudio
from .config import EXPRESSION_DIM
from .continuity import ContinuousDenoiser
from .errors import Cancelled, DiffPoseTalkError
from .guidance import Condition, GuidedDenoiser
from .model import DiffPoseTalk
from .motion import MotionClip, from_vectors
from .samplers import Denoise, sample_ddpm, sample_dpm_solver_pp_2m
from .speech_encoder import encode

OnProgress = Callable[[str, int, int], None]
"""(stage, done, total); stages are `speech` and `motion`."""
OnWindow = Callable[[int, int, MotionClip], None]
"""(take, first frame, the window's clip), as soon as a window is finished."""

SAMPLERS = ("dpmpp_2m", "ddpm")
GUIDANCE_LIMIT = 20.0


def generate(
    model: DiffPoseTalk,
    audio: SpeechAudio,
    *,
    style: torch.Tensor | None,
    seeds: Sequence[int],
    style_name: str = "",
    shape: torch.Tensor | None = None,
    head_pose: bool = True,
    speech_guidance: float | None = None,
    style_guidance: float | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    on_progress: OnProgress | None = None,
    on_window: OnWindow | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[MotionClip]:
    """Generate one motion clip per seed; all takes run through the network together.

    A take depends only on its seed and the settings, not on the other takes beside it.

    Args:
        audio: the recording, 16 kHz mono.
        style: (S,) style vector, or None for no style.
        seeds: one per take, each 0 to 2**63 - 1.
        style_name: what the provenance calls the style.
        shape: (100,) identity coefficients; None is the mean of the training data.
        head_pose: False leaves the head rotation at zero.
        speech_guidance, style_guidance: w_a and w_s of equation 10; None takes the model's defaults.
        sampler: `dpmpp_2m` or `ddpm`; None takes the model's default.
        steps: network evaluations a window for `dpmpp_2m`, 1..N; `ddpm` always takes all N.
        cancelled: asked between network evaluations; True raises `Cancelled`.

    Raises:
        Cancelled: `cancelled` said so.
        DiffPoseTalkError: a setting is out of range.
    """
    config = model.config
    d = config.denoiser
    defaults = config.sampling
    w_a = defaults.speech_guidance if speech_guidance is None else speech_guidance
    w_s = defaults.style_guidance if style_guidance is None else style_guidance
    sampler = sampler or defaults.sampler
    count = steps or defaults.steps
    _check_settings(seeds, w_a, w_s, sampler, count, d.steps)
    frames = max(1, audio.frames)
    windows = math.ceil(frames / d.window)
    takes = len(seeds)
    device = model.device
    per_window = d.steps if sampler == "ddpm" else min(count, d.steps)

    def check() -> None:
        if cancelled and cancelled():
            raise Cancelled()

    def on_chunk(done: int, total: int) -> None:
        check()
        if on_progress:
            on_progress("speech", done, total)

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def noise() -> torch.Tensor:
        return torch.stack([torch.randn(d.window, d.motion_dim, generator=g) for g in generators]).to(device)

    with torch.inference_mode():
        check()
        features = encode(model.speech_encoder, audio.samples, windows * d.window, on_chunk)
        speech = model.speech_proj(features)
        if shape is None:
            beta = torch.zeros(takes, d.shape_dim, device=device)
        else:
            beta = model.normalizer.normalize_shape(shape.to(device)).expand(takes, -1)
        styles = None if style is None else style.to(device).expand(takes, -1)
        previous_motion = model.start_motion.expand(takes, -1, -1)
        previous_speech = model.start_speech
        start_noise = noise()
        finished: list[torch.Tensor] = []
        for window in range(windows):
            first = window * d.window
            current = speech[None, first : first + d.window]
            real = min(d.window, frames - first)
            indicator = torch.zeros(takes, d.window, device=device)
            indicator[:, :real] = 1
            condition = Condition(
                previous_motion=previous_motion,
                speech=torch.cat([previous_speech, current], dim=1).expand(takes, -1, -1),
                null_speech=model.null_speech,
                style=styles,
                null_style=model.null_style,
                shape=beta,
                indicator=indicator,
            )
            denoise: Denoise = GuidedDenoiser(model.denoiser, condition, w_a, w_s)
            if window > 0 and defaults.join_face and defaults.join_head:
                denoise = ContinuousDenoiser(denoise, previous_motion, defaults.join_face, defaults.join_head)

            def on_step(done: int, _total: int, window: int = window) -> None:
                check()
                if on_progress:
                    on_progress("motion", window * per_window + done, windows * per_window)

            start = start_noise if window == 0 or defaults.reuse_noise else noise()
            if sampler == "ddpm":
                x0 = sample_ddpm(denoise, start, model.schedule, noise, on_step)
            else:
                x0 = sample_dpm_solver_pp_2m(denoise, start, model.schedule, count, on_step)
            motion = model.clamp(model.normalizer.denormalize(x0))
            previous_motion = x0[:, -d.previous :]
            previous_speech = current[:, -d.previous :]
            finished.append(motion[:, :real])
            if on_window:
                for take in range(takes):
                    clip = _clip(model, motion[take, :real], head_pose, shape, {"synthetic": True})
                    on_window(take, first, clip)
        whole = smooth_head(torch.cat(finished, dim=1), defaults.smooth_head)
    style_guidance_used = w_s if style is not None else None
    clips = []
    for take, seed in enumerate(seeds):
        provenance = {
            "synthetic": True,
            "generator": f"DiffPoseTalk for Blender {__version__}",
            "model": config.name,
            "model_sha256": model.sha256,
            "seed": seed,
            "audio_name": audio.name,
            "audio_sha256": audio.sha256,
            "style": style_name or ("custom" if style is not None else "none"),
            "guidance": {"speech": w_a, "style": style_guidance_used},
            "sampler": sampler,
            "steps": per_window,
            "head_pose": head_pose and config.head_pose,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        clips.append(_clip(model, whole[take], head_pose, shape, provenance))
    return clips


def _clip(
    model: DiffPoseTalk,
    motion: torch.Tensor,
    head_pose: bool,
    shape: torch.Tensor | None,
    provenance: dict[str, Any],
) -> MotionClip:
    exp, pose = from_vectors(motion.float().cpu().numpy(), model.config.jaw_rest)
    if not head_pose:
        pose[:, :3] = 0
    if not (np.isfinite(exp).all() and np.isfinite(pose).all()):
        raise DiffPoseTalkError(
            "The model produced motion that is not finite. Lower the guidance scales or check the model.",
            "motion_not_finite",
        )
    return MotionClip(
        exp,
        pose,
        model.config.fps,
        model.config.basis,
        None if shape is None else shape.cpu().numpy(),
        model.config.expression_names,
        provenance,
    )


def smooth_head(motion: torch.Tensor, frames: int) -> torch.Tensor:
    """Savitzky-Golay filter over the head rotation of motion vectors (B, T, D), as the paper's data is filtered."""
    if not frames or motion.shape[1] < frames or motion.shape[2] == EXPRESSION_DIM + 1:
        return motion
    head = slice(EXPRESSION_DIM, EXPRESSION_DIM + 3)
    out = motion.clone()
    filtered = savgol_filter(motion[..., head].cpu().numpy(), frames, 2, axis=1)
    out[..., head] = torch.from_numpy(filtered).to(out)
    return out


def _check_settings(
    seeds: Sequence[int], w_a: float, w_s: float, sampler: str, steps: int, limit: int
) -> None:
    if not seeds or not all(0 <= seed < 2**63 for seed in seeds):
        raise DiffPoseTalkError("Give at least one seed, each from 0 to 2^63 - 1.", "settings_seed")
    if not (0 <= w_a <= GUIDANCE_LIMIT and 0 <= w_s <= GUIDANCE_LIMIT):
        raise DiffPoseTalkError(f"Guidance scales range from 0 to {GUIDANCE_LIMIT:g}.", "settings_guidance")
    if sampler not in SAMPLERS:
        raise DiffPoseTalkError(
            f"The sampler {sampler!r} is none of {', '.join(SAMPLERS)}.", "settings_sampler"
        )
    if not 1 <= steps <= limit:
        raise DiffPoseTalkError(f"Sampling steps range from 1 to {limit}.", "settings_steps")
