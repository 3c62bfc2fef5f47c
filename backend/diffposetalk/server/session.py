# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of a client's visit: the handshake, the model it loads, calls it takes back, its leaving."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from pathlib import Path
from typing import Any

from ..errors import ProtocolError
from ..version import VERSION
from .backend import Backend, method
from .jsonrpc import Call

PROTOCOL_VERSION = 1

log = logging.getLogger(__name__)


@method(before_handshake=True)
def initialize(
    backend: Backend, call: Call, *, protocol: int, client: str = "", version: str = ""
) -> dict[str, Any]:
    """The handshake, first of all calls. Refuses another protocol version."""
    if protocol != PROTOCOL_VERSION:
        raise ProtocolError(
            f"The client speaks protocol {protocol}, this backend (version {VERSION}) speaks "
            f"{PROTOCOL_VERSION}. Install the add-on and its backend from the same package.",
        )
    log.info("client %s %s", client, version)
    backend.greeted = True
    devices = _available_devices()
    return {
        "protocol": PROTOCOL_VERSION,
        "version": VERSION,
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "device": devices[0],
        "devices": devices,
    }


@method(long=True)
def load_model(
    backend: Backend,
    call: Call,
    *,
    model: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> dict[str, Any]:
    """Load a model directory (none: the bundled one) and describe it."""
    from ..generation import speak as _  # noqa: F401 - what the first generation will need is loaded now
    from ..generation.draft import has_draft
    from ..motion.channel_groups import channel_groups
    from ..networks.checkpoint import bundled_model_path, load_model
    from ..networks.device import give_memory_back

    backend.model, backend.draft = load_model(model, device, precision, threads), None
    give_memory_back()
    backend.folder = Path(model) if model else bundled_model_path()
    config = backend.model.config
    choices = ("speech_guidance", "style_guidance", "sampler", "steps", "style")
    return {
        "name": config.name,
        "basis": config.basis,
        "fps": config.fps,
        "head_pose": config.head_pose,
        "draft": has_draft(backend.folder),
        "expression_names": list(config.expression_names),
        "channel_groups": channel_groups(config.basis, config.denoiser.motion_dim),
        "styles": [
            {
                "id": key,
                "name": style.name,
                "description": style.description,
                "measures": style.measures.to_dict() if style.measures else None,
            }
            for key, style in backend.model.styles.items()
        ],
        "defaults": {name: getattr(config.sampling, name) for name in choices},
        "device": str(backend.model.device),
        "compute": backend.model.compute.describe(),
        "sha256": backend.model.sha256,
    }


@method(before_handshake=True)
def cancel(backend: Backend, call: Call, *, id: str | int) -> dict[str, Any]:
    """Cancel a running or waiting call."""
    assert backend.connection is not None
    return {"cancelled": backend.connection.cancel(id)}


@method(before_handshake=True)
def shutdown(backend: Backend, call: Call) -> dict[str, Any]:
    """End the process after this answer."""
    assert backend.connection is not None
    backend.connection.close()
    return {}


def _available_devices() -> list[str]:
    """Compute devices of this machine, the preferred one first. Imports torch unless it is a CPU build."""
    if importlib.metadata.version("torch").endswith("+cpu"):
        return ["cpu"]
    from ..networks import device

    return device.available_devices()
