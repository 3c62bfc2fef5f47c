# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in the exact layout of the paper's released checkpoints, with random weights and small sizes."""

from __future__ import annotations

import argparse
import math
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

WIDTH, HEADS, LAYERS, STEPS, STYLE = 32, 4, 2, 20, 128
WINDOW, PREVIOUS = 100, 10
HEARD = 64
"""Width of the speech features of these files; the released ones have HuBERT's 768."""

State = OrderedDict[str, torch.Tensor]


def denoiser_state(motion_dim: int) -> State:
    """Tensors of a released denoiser without its speech encoder."""
    frames = PREVIOUS + WINDOW
    shapes: dict[str, tuple[int, ...]] = {
        "start_audio_feat": (1, PREVIOUS, WIDTH),
        "start_motion_feat": (1, PREVIOUS, motion_dim),
        "null_style_feat": (1, 1, STYLE),
        "null_audio_feat": (1, 1, WIDTH),
        "audio_feature_map.weight": (WIDTH, HEARD),
        "audio_feature_map.bias": (WIDTH,),
        "denoising_net.PE": (1, 1 + frames, WIDTH),
        "denoising_net.diff_step_map.0.weight": (WIDTH, WIDTH),
        "denoising_net.diff_step_map.0.bias": (WIDTH,),
        "denoising_net.diff_step_map.2.weight": (WIDTH, WIDTH),
        "denoising_net.diff_step_map.2.bias": (WIDTH,),
        "denoising_net.person_proj.weight": (WIDTH, 100 + STYLE),
        "denoising_net.person_proj.bias": (WIDTH,),
        "denoising_net.feature_proj.weight": (WIDTH, motion_dim + 1),
        "denoising_net.feature_proj.bias": (WIDTH,),
        **_layers("denoising_net.transformer", WIDTH, ("self_attn", "multihead_attn"), LAYERS),
        "denoising_net.motion_dec.0.weight": (WIDTH // 2, WIDTH),
        "denoising_net.motion_dec.0.bias": (WIDTH // 2,),
        "denoising_net.motion_dec.2.weight": (motion_dim, WIDTH // 2),
        "denoising_net.motion_dec.2.bias": (motion_dim,),
    }
    state = _random(shapes)
    mask = torch.ones(1 + frames, frames, dtype=torch.bool)
    mask[0] = False
    mask[1 + torch.arange(frames), torch.arange(frames)] = False
    state["denoising_net.alignment_mask"] = mask
    position = torch.arange(STEPS + 1)[:, None]
    frequency = 10_000.0 ** (-torch.arange(0, WIDTH, 2) / WIDTH)
    table = torch.stack([torch.sin(position * frequency), torch.cos(position * frequency)], -1).flatten(1)
    state["denoising_net.TE.pe"] = table[None]
    state.update(_schedule())
    return state


def style_state(motion_dim: int) -> State:
    """Tensors of a released style encoder."""
    shapes = {
        "motion_proj.weight": (STYLE, motion_dim),
        "motion_proj.bias": (STYLE,),
        **_layers("transformer", STYLE, ("self_attn",), 1),
    }
    return _random(shapes)


def denoiser_file(head_pose: bool = True) -> dict[str, Any]:
    """What `torch.save` is given for a denoiser."""
    args = argparse.Namespace(
        target="sample",
        architecture="decoder",
        style_enc_ckpt=PurePosixPath("experiments/SE/checkpoints/iter_0026000.pt"),
        rot_repr="aa",
        no_head_pose=not head_pose,
        fps=25,
        n_motions=WINDOW,
        n_prev_motions=PREVIOUS,
        d_style=STYLE,
        audio_model="hubert",
        feature_dim=WIDTH,
        n_heads=HEADS,
        n_layers=LAYERS,
        mlp_ratio=4,
        align_mask_width=1,
        no_use_learnable_pe=False,
        use_indicator=True,
        n_diff_steps=STEPS,
        diff_schedule="cosine",
        cfg_mode="incremental",
        guiding_conditions="audio,style",
        stats_file=Path("stats_train.npz"),
        pad_mode="zero",
    )
    return {"args": args, "model": denoiser_state(54 if head_pose else 51), "iter": 110_000}


def style_file(head_pose: bool = True) -> dict[str, Any]:
    """What `torch.save` is given for a style encoder."""
    args = argparse.Namespace(
        rot_repr="aa",
        no_head_pose=not head_pose,
        feature_dim=STYLE,
        n_heads=4,
        n_layers=1,
        mlp_ratio=4,
        n_motions=WINDOW,
        fps=25,
        stats_file=Path("stats_train.npz"),
    )
    return {"args": args, "encoder": style_state(54 if head_pose else 51), "iter": 26_000}


def statistics() -> dict[str, np.ndarray]:
    """Arrays of `stats_train.npz`."""
    rng = np.random.default_rng(5)
    arrays = {}
    for part, size in (("shape", 100), ("exp", 50), ("pose", 6)):
        arrays[f"{part}_mean"] = rng.normal(0, 0.05, size).astype(np.float32)
        arrays[f"{part}_std"] = rng.uniform(0.02, 0.3, size).astype(np.float32)
    return arrays


class Released:
    """The three files of a release in a folder, and what a test changes in them before they are written."""

    def __init__(self, folder: Path, head_pose: bool = True) -> None:
        torch.manual_seed(3)
        self.folder = folder
        self.denoiser = denoiser_file(head_pose)
        self.style = style_file(head_pose)
        self.statistics = statistics()

    def write(self, save: Callable[..., None] = torch.save) -> tuple[Path, Path, Path]:
        """Paths of the denoiser, the style encoder and the statistics."""
        paths = tuple(self.folder / name for name in ("denoiser.pt", "style.pt", "stats_train.npz"))
        save(self.denoiser, paths[0])
        save(self.style, paths[1])
        np.savez(paths[2], **self.statistics)  # type: ignore[arg-type]
        return paths[0], paths[1], paths[2]


def _layers(prefix: str, width: int, attentions: tuple[str, ...], count: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(count):
        name = f"{prefix}.layers.{layer}"
        for attention in attentions:
            shapes[f"{name}.{attention}.in_proj_weight"] = (3 * width, width)
            shapes[f"{name}.{attention}.in_proj_bias"] = (3 * width,)
            shapes[f"{name}.{attention}.out_proj.weight"] = (width, width)
            shapes[f"{name}.{attention}.out_proj.bias"] = (width,)
        shapes[f"{name}.linear1.weight"] = (4 * width, width)
        shapes[f"{name}.linear1.bias"] = (4 * width,)
        shapes[f"{name}.linear2.weight"] = (width, 4 * width)
        shapes[f"{name}.linear2.bias"] = (width,)
        for norm in range(1, 2 + len(attentions)):
            shapes[f"{name}.norm{norm}.weight"] = (width,)
            shapes[f"{name}.norm{norm}.bias"] = (width,)
    return shapes


def _random(shapes: dict[str, tuple[int, ...]]) -> State:
    state: State = OrderedDict()
    for name, shape in shapes.items():
        scale = 1.0 if len(shape) == 1 else 1 / math.sqrt(shape[-1])
        state[name] = torch.randn(shape) * scale
        if ".norm" in name:
            state[name] = torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    return state


def _schedule() -> State:
    """Cosine schedule, s = 0.008, betas clipped to [0.0001, 0.999]; written out here, not taken from the engine."""
    bars = [math.cos((n / STEPS + 0.008) / 1.008 * math.pi / 2) ** 2 for n in range(STEPS + 1)]
    betas = [0.0] + [min(max(1 - bars[n] / bars[n - 1], 1e-4), 0.999) for n in range(1, STEPS + 1)]
    values = torch.tensor(betas, dtype=torch.float64)
    alphas = 1 - values
    state: State = OrderedDict()
    state["diffusion_sched.betas"] = values.float()
    state["diffusion_sched.alphas"] = alphas.float()
    state["diffusion_sched.alpha_bars"] = alphas.cumprod(0).float()
    state["diffusion_sched.sigmas_flex"] = values.sqrt().float()
    state["diffusion_sched.sigmas_inflex"] = values.sqrt().float()
    return state
