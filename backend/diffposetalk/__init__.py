# SPDX-License-Identifier: GPL-3.0-or-later
"""DiffPoseTalk: facial animation and head motion from speech, by diffusion.

    import diffposetalk
    model = diffposetalk.load_model("flame_assets/model")
    speech = diffposetalk.load_speech("line.wav")
    [clip] = diffposetalk.generate(model, speech, style=None, seeds=[0])
    clip.save("line.npz")

Names are imported when they are first used: reading audio or answering a handshake needs no torch.
"""

from __future__ import annotations

from importlib import import_module

from .version import VERSION

__version__ = VERSION

_HOMES = {
    "AudioError": ".errors",
    "Cancelled": ".errors",
    "DiffPoseTalkError": ".errors",
    "GenerationOptions": ".generation.options",
    "Hold": ".generation.ranges",
    "MotionClip": ".motion.clip",
    "SpeechAudio": ".sound.audio",
    "generate": ".generation.batching",
    "load_model": ".networks.checkpoint",
    "load_motion": ".motion.clip",
    "load_speech": ".sound.audio",
    "regenerate": ".generation.ranges",
    "resolve_style": ".styles",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
