# SPDX-License-Identifier: GPL-3.0-or-later
"""How far each solver ends from the exact solution of the guided ODE, by the number of its steps.

The yardstick is the same ODE solved in N steps (500) from the same noise. Told are, over all windows, takes
and frames: the largest and the median over coefficients of the root mean square difference in standard
deviations of that coefficient, and the difference of the inner-lip gap on the bundled head in millimetres.

python benchmarks/solver_error.py [--audio FILE] [--rows 4] [--seed 100]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from diffposetalk.diffusion.guidance import Condition, GuidedDenoiser, SparseBranch
from diffposetalk.diffusion.samplers import sample, solver_steps
from diffposetalk.head.head_model import HeadModel, load_head
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.networks.model import DiffPoseTalk
from diffposetalk.networks.prepared_denoiser import PreparedDenoiser
from diffposetalk.networks.schedule import NoiseSchedule
from diffposetalk.networks.speech.encoder import encode
from diffposetalk.sound.audio import load_speech

ASSETS = Path(__file__).resolve().parents[1] / "flame_assets"
COUNTS = (8, 12, 16, 20)
SOLVERS = ("ddim", "dpmpp_2m", "unipc")


def conditions(model: DiffPoseTalk, audio: Path, rows: int, windows: int, seed: int) -> list[tuple]:
    """(condition, start noise, reference) of the first windows; each continues the reference before it."""
    d, defaults = model.config.denoiser, model.config.sampling
    generator = torch.Generator().manual_seed(seed)
    speech = model.speech_proj(encode(model.speech_encoder, load_speech(audio).samples, windows * d.window))
    styles = torch.stack([list(model.styles.values())[i % len(model.styles)].vector for i in range(rows)])
    previous, before = model.start_motion.expand(rows, -1, -1), model.start_speech[0]
    exact = PreparedDenoiser(model.denoiser)
    out = []
    for window in range(windows):
        current = speech[window * d.window : (window + 1) * d.window]
        condition = Condition(
            previous_motion=previous,
            speech=torch.cat([before, current]).expand(rows, -1, -1),
            null_speech=model.null_speech,
            style=styles,
            null_style=model.null_style,
            shape=torch.zeros(rows, d.shape_dim),
            indicator=torch.ones(rows, d.window),
        )
        noise = torch.randn(rows, d.window, d.motion_dim, generator=generator)
        denoise = GuidedDenoiser(exact, condition, defaults.speech_guidance, defaults.style_guidance)
        reference = sample("dpmpp_2m", denoise, noise, model.schedule, d.steps, torch.Tensor)
        out.append((condition, noise, reference))
        previous, before = reference[:, -d.previous :], current[-d.previous :]
    return out


def lip_gap(model: DiffPoseTalk, head: HeadModel, x0: torch.Tensor) -> np.ndarray:
    """Inner-lip gap (frames,) in mm of normalised motion."""
    motion = model.clamp(model.normalizer.denormalize(x0)).flatten(0, 1).numpy()
    pose = np.zeros((len(motion), 6), np.float32)
    pose[:, 3] = motion[:, -1]
    return 1000 * head.lip_gap(motion[:, :50], pose)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--audio", type=Path, default=ASSETS / "clips" / "jfk.flac")
    parser.add_argument("--rows", type=int, default=4, help="takes, each in another style")
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--seed", type=int, default=100)
    arguments = parser.parse_args()
    model = load_model(ASSETS / "model", "cpu", "float32")
    head = load_head(ASSETS / "head" / "head.npz")
    with torch.inference_mode():
        cases = conditions(model, arguments.audio, arguments.rows, arguments.windows, arguments.seed)
        spread = torch.cat([r for *_, r in cases]).std((0, 1))
        gaps = np.concatenate([lip_gap(model, head, r) for *_, r in cases])

        def errors(name: str, count: int, dtype: torch.dtype, every: int = 1) -> str:
            network = PreparedDenoiser(model.denoiser, dtype)
            defaults = model.config.sampling
            found = []
            for condition, noise, _ in cases:
                sparse = SparseBranch(every, model.schedule.half_log_snr().tolist()) if every > 1 else None
                scales = defaults.speech_guidance, defaults.style_guidance
                denoise = GuidedDenoiser(network, condition, *scales, sparse=sparse)
                found.append(sample(name, denoise, noise, model.schedule, count, torch.Tensor))
            difference = torch.cat([f - r for f, (*_, r) in zip(found, cases, strict=True)])
            ratio = difference.square().mean((0, 1)).sqrt() / spread
            gap = np.abs(np.concatenate([lip_gap(model, head, f) for f in found]) - gaps)
            return (
                f"| {name} | {count} | {every} | {str(dtype).removeprefix('torch.')} | {100 * ratio.max():.1f} "
                f"| {100 * ratio.median():.1f} | {math.sqrt(np.square(gap).mean()):.3f} | {gap.max():.2f} |"
            )

        columns = ["solver", "steps", "branch without speech at every", "precision"]
        columns += ["worst coefficient (% of sd)", "median", "lips rms (mm)", "lips max"]
        print("# Errors of the solvers\n")
        print(f"| {' | '.join(columns)} |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        # How well the yardstick itself has converged: half as many steps.
        print(errors("dpmpp_2m", model.config.denoiser.steps // 2, torch.float32), flush=True)
        for name in SOLVERS:
            for count in COUNTS:
                print(errors(name, count, torch.float32), flush=True)
        for count, every in ((16, 2), (18, 3), (20, 2)):
            print(errors("unipc", count, torch.float32, every), flush=True)
        defaults = model.config.sampling
        for dtype in (torch.float32, torch.bfloat16):
            print(errors(defaults.sampler, defaults.steps, dtype, defaults.sparse_guidance), flush=True)
    steps = model.config.sampling.steps
    print(f"\nSteps of {steps}:", solver_steps(NoiseSchedule(model.config.denoiser.steps), steps))


if __name__ == "__main__":
    main()
