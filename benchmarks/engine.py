# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's speed and memory, in one run: against the plain network, against real time, and by length.

Writes a table (`engine.md`) and a plot (`engine.png`). Needs matplotlib beside the backend. On a machine with a
GPU both devices are measured.

python benchmarks/engine.py [--seconds 5 60 600] [--threads N] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from backend_process import BackendProcess
from plain_network import PlainDenoiser, ancestral_steps

from diffposetalk.config import DenoiserConfig, SamplingConfig
from diffposetalk.diffusion.guidance import Condition, GuidedDenoiser, SparseBranch
from diffposetalk.diffusion.samplers import sample
from diffposetalk.networks.denoiser import Denoiser
from diffposetalk.networks.device import choose_compute
from diffposetalk.networks.prepared_denoiser import PreparedDenoiser
from diffposetalk.networks.schedule import NoiseSchedule
from diffposetalk.networks.speech.encoder import encode
from diffposetalk.networks.speech.hubert import HubertSpeechEncoder

CLIP = Path(__file__).resolve().parents[1] / "flame_assets" / "clips" / "jfk.flac"
RELEASED = DenoiserConfig()
PLAIN_STEPS = 12
"""Ancestral steps that are run of the plain network; a window's time is extrapolated from them to all."""


@dataclass
class Released:
    """Times of one window (4 s of motion) of the released size in seconds."""

    device: str
    precision: str
    plain: float
    ours: float
    batch: int
    batched: float
    floors: tuple[float, float]


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def best_of(run: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """Shortest wall time of several runs after one to warm up; noise of a shared machine only adds."""
    run()
    times = []
    for _ in range(repeats):
        synchronize(device)
        began = time.perf_counter()
        run()
        synchronize(device)
        times.append(time.perf_counter() - began)
    return min(times)


def ours(rows: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """Sampling of one window of `rows` takes by the engine at its defaults, preparation included."""
    c = RELEASED
    network = PreparedDenoiser(Denoiser(c).eval().to(device), dtype)
    schedule, defaults = NoiseSchedule(c.steps), SamplingConfig()
    condition = Condition(
        previous_motion=torch.randn(rows, c.previous, c.motion_dim, device=device),
        speech=torch.randn(rows, c.previous + c.window, c.width, device=device),
        null_speech=torch.randn(1, 1, c.width, device=device),
        style=torch.randn(rows, c.style_dim, device=device),
        null_style=torch.randn(1, c.style_dim, device=device),
        shape=torch.zeros(rows, c.shape_dim, device=device),
        indicator=torch.ones(rows, c.window, device=device),
    )
    noise = torch.randn(rows, c.window, c.motion_dim)

    def run() -> torch.Tensor:
        sparse = SparseBranch(defaults.sparse_guidance, schedule.half_log_snr().tolist())
        scales = defaults.speech_guidance, defaults.style_guidance
        denoise = GuidedDenoiser(network, condition, *scales, sparse=sparse)
        return sample(
            defaults.sampler, denoise, noise.to(device), schedule, defaults.steps, torch.Tensor
        ).cpu()

    return run


def floors(rows: int, dtype: torch.dtype, device: torch.device) -> tuple[float, float]:
    """Seconds that a window takes at least: moving the weights once a step, and the multiplications.

    By the bandwidth and the rate of large matrix products measured here and now.
    """
    c, defaults = RELEASED, SamplingConfig()
    steps = defaults.steps
    tokens = (2 + 1 / defaults.sparse_guidance) * rows * (1 + c.previous + c.window)
    per_layer = (4 + 2 * c.mlp_ratio) * c.width**2  # self-attention's four maps, the two of the feed-forward
    attention = 2 * (1 + c.previous + c.window) * c.width
    operations = 2 * steps * c.layers * tokens * (per_layer + attention)
    size = torch.finfo(dtype).bits // 8
    moved = steps * c.layers * per_layer * size
    a = torch.randn(2048, 2048, device=device, dtype=dtype)
    rate = 2 * 2048**3 / best_of(lambda: a @ a, device, 5)
    big = torch.zeros(1 << 26, device=device)
    bandwidth = 2 * big.numel() * 4 / best_of(lambda: big.clone(), device, 5)
    return moved / bandwidth, operations / rate


def measure_released(device: torch.device, threads: int | None) -> list[Released]:
    """The plain loop against ours in every precision, same device and threads, in turn."""
    results = []
    plain = PlainDenoiser(RELEASED).eval().to(device)
    steps = partial(ancestral_steps, plain, RELEASED, PLAIN_STEPS, device)
    with torch.inference_mode():
        a_step = best_of(steps, device) / PLAIN_STEPS
        for precision in ("float32", "bfloat16"):
            compute = choose_compute(str(device), precision, threads)
            window = best_of(ours(1, compute.dtype, device), device)
            batched = best_of(ours(compute.rows, compute.dtype, device), device) / compute.rows
            limits = floors(1, compute.dtype, device)
            a_step = min(a_step, best_of(steps, device) / PLAIN_STEPS)
            name = compute.describe()["precision"]
            results.append(Released(str(device), name, 0.0, window, compute.rows, batched, limits))
    return [replace(r, plain=a_step * RELEASED.steps) for r in results]


def measure_hubert(device: torch.device, seconds: float) -> float:
    """Time of speech features of HuBERT base (random weights, as large as the real one)."""
    base = HubertSpeechEncoder.from_config().eval().to(device)
    sound = np.random.default_rng(0).standard_normal(int(seconds * 16_000)).astype(np.float32)
    return best_of(lambda: encode(base, sound, int(seconds * 25)), device, 1)


def measure_bundled(
    lengths: list[float], folder: Path
) -> tuple[list[tuple[float, float, float, float]], float, dict]:
    """The real backend process on recordings of these lengths.

    Returns:
        rows of (seconds of sound, seconds to the first window, seconds in all, peak MiB), seconds from start to
        a loaded model, and how the backend computes.
    """
    sound, rate = soundfile.read(CLIP)
    rows = []
    backend = BackendProcess()
    told = backend.call("load_model", {})
    ready = time.perf_counter() - backend.started
    backend.generate(CLIP, folder, 2.0)  # warm
    for seconds in lengths:
        path = folder / f"{seconds:g}.wav"
        soundfile.write(path, np.resize(sound, int(seconds * rate)), rate)
        runs = [backend.generate(path, folder) for _ in range(3 if seconds <= 60 else 1)]
        rows.append((seconds, min(r[0] for r in runs), min(r[1] for r in runs), backend.peak_mib()))
        print(f"{seconds:g} s in {rows[-1][2]:.2f} s", flush=True)
    backend.close()
    return rows, ready, told["compute"]


def plot(rows: list[tuple[float, float, float, float]], path: Path) -> None:
    """Time against length, both axes logarithmic, with real time and the straight line through the longest."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    length, first, whole, memory = np.array(rows).T
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.loglog(length, whole, "o-", label="whole take written")
    left.loglog(length, first, "s-", label="first window")
    left.loglog(length, length, ":", color="gray", label="real time")
    left.loglog(length, length * whole[-1] / length[-1], "--", color="C0", alpha=0.4, label="proportional")
    left.set(xlabel="sound (s)", ylabel="time (s)")
    left.legend()
    right.semilogx(length, memory, "o-")
    right.set(xlabel="sound (s)", ylabel="peak memory (MiB)", ylim=(0, None))
    figure.savefig(path, dpi=110)


def report(
    bundled: tuple[list[tuple[float, float, float, float]], float, dict],
    released: list[Released],
    hubert: float,
    hubert_seconds: float,
) -> str:
    """The table as Markdown."""
    rows, ready, compute = bundled
    cpu = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    processor = cpu.get("cpu_name") or platform.processor()
    lines = [
        "# Speed of the engine",
        "",
        f"PyTorch {importlib.metadata.version('torch')}, {processor}, {cpu.get('num_physical_cores', '?')} cores.",
        "",
        "## Bundled model, the backend process end to end",
        "",
        f"Device {compute['device']} {compute['name']}, {compute['precision']}, {compute['threads']} thread(s) and one "
        f"for the speech. From the start of the process to a loaded model: {ready:.1f} s.",
        "",
        "| sound (s) | first window (s) | whole take (s) | of real time | peak memory (MiB) |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {s:g} | {f:.2f} | {w:.2f} | {w / s:.3f} | {m:.0f} |" for s, f, w, m in rows),
        "",
        "## Released size (512 wide, 8 layers; random weights), one window of 4 s",
        "",
        f"Plain: 500 ancestral steps, extrapolated from {PLAIN_STEPS}. Ours: "
        f"{SamplingConfig().sampler}, {SamplingConfig().steps} steps. Floors: moving the weights, multiplying.",
        "",
        "| device | precision | plain (s) | ours (s) | times faster | batch | a window of it (s) | floors (s) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {r.device} | {r.precision} | {r.plain:.1f} | {r.ours:.3f} | {r.plain / r.ours:.0f} "
            f"| {r.batch} | {r.batched:.3f} | {r.floors[0]:.4f}, {r.floors[1]:.3f} |"
            for r in released
        ),
        "",
        f"HuBERT base features of {hubert_seconds:g} s of sound: {hubert:.2f} s.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write table and plot."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, nargs="+", default=[5, 20, 60, 180, 600])
    parser.add_argument(
        "--threads", type=int, help="CPU threads of the comparison (default: as the engine chooses)"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        bundled = measure_bundled(arguments.seconds, Path(folder))
    released = []
    devices = [choose_compute("cpu").device, choose_compute().device]
    for device in dict.fromkeys(devices):
        released += measure_released(device, arguments.threads)
    hubert = measure_hubert(devices[-1], 20.0)
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = report(bundled, released, hubert, 20.0)
    (arguments.out / "engine.md").write_text(text, encoding="utf-8")
    plot(bundled[0], arguments.out / "engine.png")
    print(text)


if __name__ == "__main__":
    main()
