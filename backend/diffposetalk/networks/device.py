# SPDX-License-Identifier: GPL-3.0-or-later
"""Where and how the networks compute: device, precision and threads, chosen by what the machine has."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from ..config import PRECISIONS
from ..errors import DeviceError, memory_ran_out, refusing

NUMBERED = ("cuda", "xpu")
"""Kinds of devices of which there may be several: NVIDIA's (AMD's under ROCm bear their name), Intel's."""
MAX_CPU_THREADS = 8
"""More threads than this gain nothing on windows of 111 tokens."""


@dataclass(frozen=True)
class Compute:
    """A choice of device and how to use it.

    device: where the networks run.
    dtype: of the matrix products in sampling; speech and style encoders always compute in float32.
    threads: CPU threads that one operation is spread over.
    rows: windows (of takes and clips) that run through the network together at most.
    graphs: whether steps of small batches are captured as CUDA graphs.
    """

    device: torch.device
    dtype: torch.dtype
    threads: int
    rows: int
    graphs: bool = False

    def describe(self) -> dict[str, Any]:
        """For `diffposetalk info` and the log."""
        return {
            "device": str(self.device),
            "name": getattr(torch, self.device.type).get_device_name(self.device)
            if self.device.type in NUMBERED
            else "",
            "precision": str(self.dtype).removeprefix("torch."),
            "tf32": self.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest",
            "threads": self.threads,
            "batch": self.rows,
            "cuda_graphs": self.graphs,
        }


def choose_compute(
    device: str = "auto", precision: str = "auto", threads: int | None = None, rows: int | None = None
) -> Compute:
    """The best way to compute here, as far as it is not prescribed; sets PyTorch's threads and TF32 for the process.

    Args:
        device: `auto` takes the first of `available_devices`.
        precision: `auto` takes bfloat16 products where the hardware has them (CUDA from Ampere on, Intel's GPUs, CPUs
            with AVX512-BF16 or AMX): on the bundled model they move a coefficient by less than the solver does.
        threads: CPU threads; None takes OMP_NUM_THREADS or the physical cores this process may use but
            one. That is left to Blender and to the speech encoder, which runs beside the sampling: operations
            spread over more threads than there are free cores take many times longer.
        rows: largest batch; None takes 64 on a GPU, 8 on a CPU.

    Raises:
        DeviceError: the device does not exist here, or a setting is out of range.
    """
    if precision not in PRECISIONS:
        raise DeviceError(
            f"The precision {precision!r} is none of {', '.join(PRECISIONS)}.", "settings_precision"
        )
    if threads is not None and not 1 <= threads <= 1024:
        raise DeviceError("Threads range from 1 to 1024.", "settings_threads")
    if rows is not None and not 1 <= rows <= 65536:
        raise DeviceError("The batch ranges from 1 to 65536 windows.", "settings_batch")
    target = pick_device(device)
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, min(_usable_cores() - 1, MAX_CPU_THREADS))
    if threads is not None:
        torch.set_num_threads(threads)
    if target.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32 where products stay in float32
    fast = precision == "bfloat16" or (precision == "auto" and has_bfloat16(target))
    return Compute(
        device=target,
        dtype=torch.bfloat16 if fast else torch.float32,
        threads=torch.get_num_threads(),
        rows=rows or (8 if target.type == "cpu" else 64),
        graphs=target.type == "cuda" and torch.version.hip is None,
    )


def available_devices() -> list[str]:
    """Compute devices of this machine, the preferred one first: CUDA (or ROCm), Intel's XPU, Apple's MPS, the CPU."""
    devices = [f"{kind}:{i}" for kind in NUMBERED for i in range(getattr(torch, kind).device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def pick_device(name: str = "auto") -> torch.device:
    """The compute device of a name; `auto` takes the first of `available_devices`.

    Raises:
        DeviceError: the named device does not exist here.
    """
    if name == "auto":
        return torch.device(available_devices()[0])
    missing = DeviceError(f"The device {name!r} is not available here. Choose 'auto' or 'cpu'.")
    with refusing(missing, RuntimeError, AssertionError):
        device = torch.device(name)
        torch.zeros(1, device=device)
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16; where it does not, that is emulated and many times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_bfloat16_conversions)
    if device.type == "cpu":
        return bool(_cpu_capabilities().get("avx512_bf16") or _cpu_capabilities().get("amx_bf16"))
    return False


def _cpu_capabilities() -> dict[str, Any]:
    ask = getattr(torch.cpu, "get_capabilities", None)  # from PyTorch 2.10 on
    return ask() if ask else {}


def _usable_cores() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical = _cpu_capabilities().get("num_physical_cores") or torch.get_num_threads()
    return max(1, min(allowed, int(physical)))


def give_memory_back() -> None:
    """Return free memory to the system: what a model that is gone has left, or recordings of ever other lengths.

    glibc keeps it in the heap of each thread: 600 MiB after 300 short lines.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache  # to look a function up makes a class and a cycle of objects
def _malloc_trim() -> Callable[[int], int] | None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            return ctypes.CDLL(None).malloc_trim
    return None


def empty_cache(device: torch.device) -> None:
    """Let a GPU have back what PyTorch keeps of its memory for later."""
    if device.type != "cpu":
        getattr(torch, device.type).empty_cache()


@contextmanager
def device_errors(device: torch.device) -> Iterator[None]:
    """Turn what PyTorch raises when memory runs out or a GPU disappears into a `DeviceError`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if memory_ran_out(error):
            raise DeviceError(
                f"The device {device} has not enough memory. Close other programs that use it, make fewer "
                "takes at once, or choose the CPU.",
                "out_of_memory",
            ) from error
        lost = getattr(torch, "AcceleratorError", ())  # from PyTorch 2.8 on
        if isinstance(error, lost) or (
            device.type != "cpu"
            and any(
                words in str(error) for words in ("CUDA error", "HIP error", "UR_RESULT_ERROR", "MPS backend")
            )
        ):
            raise DeviceError(
                f"The device {device} stopped working ({str(error).splitlines()[0]}). Try again; if it "
                "happens again, choose the CPU.",
                "device_lost",
            ) from error
        raise
