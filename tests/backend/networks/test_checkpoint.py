# SPDX-License-Identifier: GPL-3.0-or-later
"""Model directories: what is written loads again; what is damaged, incomplete or hostile is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_model import tiny_config

from diffposetalk.config import ModelConfig
from diffposetalk.errors import ModelError
from diffposetalk.networks.checkpoint import load_model, save_model
from diffposetalk.networks.model import DiffPoseTalk


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "modèle 1"))


def kind(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(folder, "cpu")
    assert len(caught.value.message) > 20 and "Traceback" not in caught.value.message
    return caught.value.kind


def test_round_trip(folder: Path):
    model = load_model(folder, "cpu")
    assert model.config == ModelConfig.from_dict(json.loads(json.dumps(tiny_config().to_dict())))
    assert not model.training and len(model.sha256) == 64 and list(model.styles) == ["calm"]


def test_missing_files(folder: Path, tmp_path: Path):
    assert kind(tmp_path / "nowhere") == "model_missing"
    (folder / "model.safetensors").unlink()
    assert kind(folder) == "model_missing"


def test_a_model_without_its_statistics_does_not_load(folder: Path):
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in tensors.items() if k != "normalizer.motion_std"}, folder / "model.safetensors"
    )
    assert kind(folder) == "model_statistics"


def test_weights_of_another_size(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    config["denoiser"]["layers"] = 2
    (folder / "config.json").write_text(json.dumps(config))
    assert kind(folder) == "model_weights"


def test_weights_that_are_not_finite(folder: Path):
    tensors = load_file(folder / "model.safetensors")
    tensors["null_style"][0, 0] = float("inf")
    save_file(tensors, folder / "model.safetensors")
    assert kind(folder) == "model_weights"


def test_a_pickle_is_never_run(folder: Path, tmp_path: Path):
    class Hostile:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    (folder / "model.safetensors").write_bytes(pickle.dumps(Hostile()))
    assert kind(folder) == "model_weights"
    torch.save({"x": torch.zeros(1)}, folder / "model.safetensors")
    assert kind(folder) == "model_weights"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"denoiser": 3}',
        '{"nonsense": 1}',
        '{"denoiser": {"width": "big"}}',
        '{"denoiser": {"width": 1e9}}',
        '{"basis": "morphs"}',
        '{"denoiser": {"motion_dim": 12}}',
        '{"denoiser": {"dropout": "none"}}',
        '{"sampling": {"speech_guidance": NaN}}',
        '{"sampling": {"reuse_noise": "yes"}}',
        '{"jaw_rest": [0.1]}',
        '{"jaw_rest": 0.1}',
        '{"name": {"a": 1}}',
        '{"fps": 1e999}',
        '{"expression_names": [1, 2]}',
        '{"fps": 0}',
        '{"fps": -5}',
        '{"fps": 1e300}',
        f'{{"fps": {"9" * 401}}}',
        '{"expression_names": ["one", "two"]}',
        json.dumps({"basis": "flame", "expression_names": ["same"] * 50}),
        '{"coefficient_range": [1, 0]}',
        '{"jaw_range": [0.3, 0.3]}',
        '{"sampling": {"style_guidance": -1}}',
        '{"coefficient_range": [[0, 1]]}',
        '{"provenance": []}',
        '{"style_encoder": {"heads": 0}}',
        '{"denoiser": {"shape_dim": -1}}',
        '{"speech_encoder": {"heads": 0}}',
        '{"speech_encoder": {"mels": 0}}',
        '{"denoiser": {"dropout": 2}}',
        '{"denoiser": {"width": 513, "heads": 3}}',
        "\x00\x01",
    ],
)
def test_configurations_that_are_not_valid(folder: Path, text: str):
    (folder / "config.json").write_text(text)
    assert kind(folder) == "model_config"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_the_umask_is_honoured(tiny_model: Path, tmp_path: Path, mask: int):
    model = load_model(tiny_model, "cpu")
    before = os.umask(mask)
    try:
        save_model(model, tmp_path / "made", model.styles)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "made").iterdir()}
    assert set(modes.values()) == {0o666 & ~mask} and len(modes) >= 2
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_loaded_backend_has_nothing_that_generating_does_not_need():
    """What takes seconds to import: the compiler of PyTorch, SciPy's signals and statistics, and transformers."""
    code = (
        "import sys\n"
        "from diffposetalk.server.methods import Backend\n"
        "from diffposetalk.server.jsonrpc import Call\n"
        "methods, call = Backend().methods(), Call(1, True, print)\n"
        "methods['initialize'].function(call, protocol=1)\n"
        "methods['load_model'].function(call, device='cpu')\n"
        "print([name for name in sys.argv[1:] if name in sys.modules])"
    )
    heavy = ["torch._dynamo", "torch._inductor", "sympy", "scipy", "transformers", "matplotlib", "accelerate"]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy, "scipy.stats"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_networks_are_made_in_memory_once(tiny_model: Path):
    """All of a loaded model has values: those of its file, and the tables that are computed."""
    model = load_model(tiny_model, "cpu")
    stored = load_file(tiny_model / "model.safetensors")
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        assert not value.is_meta and value.isfinite().all(), name
        if name in stored:
            assert torch.equal(value.detach(), stored[name].to(value.dtype)), name
    tables = DiffPoseTalk(model.config)
    for name, value in tables.named_buffers():
        if name not in stored:
            assert torch.equal(value, model.get_buffer(name)), name
    assert all(parameter.requires_grad for parameter in model.denoiser.parameters())


def test_damaged_styles(folder: Path):
    (folder / "styles.json").write_text('[{"id": "x", "name": "x", "description": "", "vector": [1, 2]}]')
    assert kind(folder) == "model_styles"


def test_truncated_weights(folder: Path):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert kind(folder) == "model_weights"
