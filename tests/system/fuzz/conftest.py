# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged and hostile input for everything that reads files or messages from elsewhere."""

from __future__ import annotations

import os

import pytest
import torch
from support.paths import ROOT

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")
ASSETS = ROOT / "flame_assets"
os.environ["DIFFPOSETALK_HEAD"] = str(ASSETS / "head" / "head.npz")
os.environ["DIFFPOSETALK_MODEL"] = str(ASSETS / "model")


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the user's is touched."""
    for name in ("CACHE", "DATA", "STYLES"):
        os.environ[f"DIFFPOSETALK_{name}"] = str(tmp_path_factory.mktemp(name.lower()))
