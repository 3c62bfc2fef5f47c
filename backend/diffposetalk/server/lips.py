# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of the lips: closures that are missing, transcripts in time."""

from __future__ import annotations

from typing import Any

from ..errors import Cancelled
from .backend import Backend, Progress, method
from .jsonrpc import Call


@method(long=True)
def check_lip_sync(
    backend: Backend,
    call: Call,
    *,
    audio: str,
    motion: str,
    audio_start: float = 0.0,
    audio_seconds: float | None = None,
    transcript: str | None = None,
    phones: list[list[Any]] | None = None,
    style: dict[str, Any] | None = None,
    head: str | None = None,
    samples: int = 5,
) -> dict[str, Any]:
    """Frames where the lips were expected to close and do not, and why (`evaluate.lip_sync_check`).

    Expected by `phones` ([ARPAbet symbol, start, end] in seconds), else by the `transcript`, else by the model's
    own confidence, which needs a loaded model. `head` is a head asset of the motion's basis, the bundled one by
    default. Times are from `audio_start`, where the motion begins.
    """
    model = None if phones is not None or transcript else backend.loaded_model()
    from ..lips.check import check_lip_sync

    report = check_lip_sync(
        audio,
        motion,
        model,
        audio_start=audio_start,
        audio_seconds=audio_seconds,
        transcript=transcript,
        phones=phones,
        style=style,
        head=head,
        samples=samples,
        on_progress=Progress(call),
        cancelled=call.cancelled.is_set,
    )
    if call.cancelled.is_set():
        raise Cancelled()
    return report


@method(long=True)
def align_transcript(
    backend: Backend,
    call: Call,
    *,
    audio: str,
    transcript: str,
    audio_start: float = 0.0,
    audio_seconds: float | None = None,
) -> dict[str, Any]:
    """Words and phones of a recording in time, seconds from `audio_start`, by an English transcript."""
    from ..lips.check import align_transcript

    words, phones = align_transcript(audio, transcript, audio_start, audio_seconds)
    if call.cancelled.is_set():
        raise Cancelled()
    return {"words": [[w.text, w.start, w.stop] for w in words], "phones": [list(p) for p in phones]}
