# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices, precision and threads; what becomes of memory that runs out and devices that disappear."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from diffposetalk.errors import DeviceError, memory_ran_out
from diffposetalk.networks.device import (
    available_devices,
    choose_compute,
    device_errors,
    empty_cache,
    pick_device,
)


@pytest.fixture(autouse=True)
def threads_as_they_were():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_devices():
    assert pick_device("cpu").type == "cpu" and str(pick_device("auto")) == available_devices()[0]
    assert available_devices()[-1] == "cpu"
    with pytest.raises(DeviceError):
        pick_device("toaster")


def test_an_intel_gpu_comes_after_nvidias_and_before_the_others(monkeypatch: pytest.MonkeyPatch):
    """A pretended one: what is asked of PyTorch, not whether its kernels run."""
    emptied = []
    hardware = SimpleNamespace(has_bfloat16_conversions=True)
    xpu = SimpleNamespace(
        device_count=lambda: 2,
        get_device_name=lambda device: f"Arc {device.index}",
        get_device_properties=lambda _: hardware,
        empty_cache=lambda: emptied.append(1),
    )
    monkeypatch.setattr(torch, "xpu", xpu)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert available_devices() == ["xpu:0", "xpu:1", "mps", "cpu"]
    for has_it, precision in ((True, "bfloat16"), (False, "float32")):
        hardware.has_bfloat16_conversions = has_it
        compute = choose_compute("auto")
        assert str(compute.device) == "xpu:0" and compute.rows == 64 and not compute.graphs
        described = compute.describe()
        assert described["name"] == "Arc 0" and described["precision"] == precision
        assert not described["tf32"]
    empty_cache(compute.device)
    empty_cache(torch.device("cpu"))
    assert emptied == [1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert str(pick_device()) == "cuda:0" and available_devices()[1] == "xpu:0"


def test_choices_can_be_prescribed():
    compute = choose_compute("cpu", "bfloat16", threads=1, rows=3)
    assert compute.dtype == torch.bfloat16 and compute.threads == 1 == torch.get_num_threads()
    assert compute.rows == 3
    assert choose_compute("cpu", "float32").dtype == torch.float32
    description = choose_compute("cpu").describe()
    assert description["device"] == "cpu" and description["precision"] in ("float32", "bfloat16")


def test_automatic_precision_is_what_the_processor_has(monkeypatch: pytest.MonkeyPatch):
    for capabilities, dtype in [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True}, torch.float32),
        ({}, torch.float32),
    ]:
        monkeypatch.setattr("diffposetalk.networks.device._cpu_capabilities", lambda c=capabilities: c)
        assert choose_compute("cpu").dtype == dtype


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert choose_compute("cpu").threads == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    for cores, threads in [(1, 1), (2, 1), (4, 3), (64, 8)]:
        monkeypatch.setattr("diffposetalk.networks.device._usable_cores", lambda c=cores: c)
        assert choose_compute("cpu").threads == threads


@pytest.mark.parametrize("settings", [{"precision": "int3"}, {"threads": 0}, {"rows": 0}])
def test_settings_out_of_range(settings: dict):
    with pytest.raises(DeviceError):
        choose_compute("cpu", **settings)


def test_errors_of_the_device_are_explained():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    with pytest.raises(DeviceError) as caught, device_errors(gpu):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert caught.value.kind == "out_of_memory"
    with pytest.raises(DeviceError) as caught, device_errors(gpu):
        raise RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might …")
    assert caught.value.kind == "device_lost" and "\n" not in caught.value.message
    for code, kind in (
        ("20 (UR_RESULT_ERROR_DEVICE_LOST", "device_lost"),
        ("40 (UR_RESULT_ERROR_OUT_OF_RESOURCES", "out_of_memory"),
    ):
        with pytest.raises(DeviceError) as caught, device_errors(torch.device("xpu")):
            raise RuntimeError(f"level_zero backend failed with error: {code})")
        assert caught.value.kind == kind
    with pytest.raises(RuntimeError, match="a bug"), device_errors(cpu):
        raise RuntimeError("a bug")
    assert memory_ran_out(MemoryError())
    assert memory_ran_out(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 1 bytes"))
    assert memory_ran_out(OSError(12, "Cannot allocate memory"))
    assert memory_ran_out(ImportError("libtorch_cpu.so: failed to map segment from shared object"))
    assert not memory_ran_out(RuntimeError("shapes do not fit"))
    assert not memory_ran_out(ValueError("out of memory"))
