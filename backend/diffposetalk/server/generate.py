# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of generation: a recording described, its takes, a range of one made again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, DiffPoseTalkError
from ..generation.options import GenerationOptions
from ..sound.audio import load_speech, probe
from .backend import Backend, Progress, method, output_files
from .jsonrpc import Call

if TYPE_CHECKING:
    from ..motion.clip import MotionClip

MAX_TAKES = 64


@method(aside=True)
def probe_audio(backend: Backend, call: Call, *, path: str) -> dict[str, Any]:
    """Describe a recording."""
    progress = Progress(call)
    return asdict(probe(path, call.cancelled.is_set, lambda done, total: progress("read", done, total)))


@method(long=True)
def generate(
    backend: Backend,
    call: Call,
    *,
    audio: str,
    output_dir: str,
    options: GenerationOptions,
    audio_start: float = 0.0,
    audio_seconds: float | None = None,
    heads: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Generate one take per seed into `output_dir`, telling progress and finished windows meanwhile.

    A `window` notification names a file of frames that are final: no later window, filter or join changes them,
    and those of a take, in order, are the take. `start` and `frames` say which they are; where the model filters
    the head, half the filter's length waits for the next window.

    The fields of `options` are parameters of their own. With `heads` (`model` and `target`, paths of head assets)
    clips and windows come in the target's basis.
    """
    began, model, between = time.monotonic(), backend.loaded_model(options.quality), _checked(options, heads)
    from ..generation.speak import animate
    from ..styles.chosen import chosen_style

    progress = Progress(call)
    with output_files(output_dir) as new_file:

        def on_window(take: int, start: int, clip: MotionClip) -> None:
            path = clip.save(new_file(f"window-{take}-{start}.npz"))
            call.notify("window", take=take, start=start, frames=len(clip), path=str(path))

        speech, clips = animate(
            model,
            audio,
            options,
            *chosen_style(model, options.style),
            audio_start=audio_start,
            audio_seconds=audio_seconds,
            on_progress=progress,
            on_window=on_window,
            cancelled=call.cancelled.is_set,
            heads=between,
        )
        takes = _write_takes(call, progress, new_file, options.seeds, clips)
    return {"takes": takes, "audio": asdict(speech.info), "seconds": round(time.monotonic() - began, 3)}


@method(long=True)
def regenerate(
    backend: Backend,
    call: Call,
    *,
    audio: str,
    motion: str,
    output_dir: str,
    start: int,
    stop: int,
    options: GenerationOptions,
    hold: list[dict[str, Any]] | None = None,
    audio_start: float = 0.0,
    audio_seconds: float | None = None,
    heads: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Generate frames `start` to `stop` (exclusive) of the take in the file `motion` again, once per seed.

    The files in the answer hold whole takes, equal to `motion` bit for bit outside the range and where `hold`
    says so. Progress is told as by `generate`, finished windows are not. The fields of `options` are parameters of
    their own; with `heads`, as of `generate`, the take is in the target's basis.
    """
    began, model, between = time.monotonic(), backend.loaded_model(options.quality), _checked(options, heads)
    from ..generation.draft import refuse_settings
    from ..generation.ranges import parse_holds, regenerate
    from ..generation.speak import conversions, load_shape
    from ..motion.clip import load_motion
    from ..styles.chosen import chosen_style

    progress, cancelled = Progress(call), call.cancelled.is_set
    with output_files(output_dir) as new_file:
        style, style_name = chosen_style(model, options.style)
        refuse_settings(model, options)
        holds, both_ways = parse_holds(hold or []), conversions(model.config.basis, between)
        take = load_motion(motion)
        clips = regenerate(
            model,
            load_speech(audio, audio_start, audio_seconds, cancelled),
            take,
            start,
            stop,
            options,
            holds=holds,
            style=style,
            style_name=style_name,
            shape=load_shape(options.shape),
            on_progress=progress,
            cancelled=cancelled,
            conversions=both_ways,
        )
        takes = _write_takes(call, progress, new_file, options.seeds, clips)
    return {
        "takes": takes,
        "start": start,
        "stop": stop,
        "seconds": round(time.monotonic() - began, 3),
    }


def _checked(options: GenerationOptions, heads: dict[str, str] | None) -> tuple[str, str] | None:
    """The heads between which takes are converted, for as many takes as one call may make.

    Raises:
        DiffPoseTalkError: kinds settings_seed, settings_heads.
    """
    if len(options.seeds) > MAX_TAKES:
        raise DiffPoseTalkError(f"At most {MAX_TAKES} takes can be made in one call.", "settings_seed")
    if heads is None:
        return None
    if not {"model", "target"} <= heads.keys():
        raise DiffPoseTalkError("Conversion needs two heads, “model” and “target”.", "settings_heads")
    return heads["model"], heads["target"]


def _write_takes(
    call: Call,
    progress: Progress,
    new_file: Callable[[str], Path],
    seeds: Sequence[int],
    clips: list[MotionClip],
) -> list[dict[str, Any]]:
    takes = []
    for index, (seed, clip) in enumerate(zip(seeds, clips, strict=True)):
        if call.cancelled.is_set():
            raise Cancelled()
        progress("write", index, len(clips))
        path = clip.save(new_file(f"take-{index}-seed-{seed}.npz"))
        takes.append({"seed": seed, "path": str(path), "frames": len(clip), "fps": float(clip.fps)})
    progress("write", len(clips), len(clips))
    return takes
