# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech becomes motion, for scripts: one line, a dialogue, or a list of lines."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from ..data.errors import UserError
from ..data.generation_options import GenerationOptions
from ..data.mapping import PARTS
from ..install.preferences import addon_preferences, chosen_model_directory
from ..jobs import dialogue
from ..jobs.batch import BatchJob, BatchResult, run_batch
from ..jobs.generation import GenerationJob, GenerationSettings, Keyed, Speech
from ..jobs.style_list import asked_style
from ..takes import audio_strip
from ..takes.audio_strip import AudioSpan
from .calls import Objects, Paths, Style, checked_parts, listed, push_undo

TIMER_SECONDS = 0.1


def generate(
    objects: Objects,
    audio: Paths,
    *,
    style: Style = None,
    seed: int = 0,
    takes: int = 1,
    start_frame: float = 1,
    blocking: bool = True,
    on_done: Callable[[GenerationJob], None] | None = None,
    head_motion: bool = True,
    head_strength: float = 1.0,
    head_bone: str = "neck",
    speech_guidance: float | None = None,
    style_guidance: float | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    quality: str = "final",
    place_sound: bool = True,
    audio_start: float = 0.0,
    audio_seconds: float | None = None,
    scene: bpy.types.Scene | None = None,
    convert_basis: bool = False,
    parts: Sequence[str] = PARTS,
) -> list[Keyed] | GenerationJob:
    """Make motion for recordings and key it.

    One recording moves all objects alike (the meshes of one character, or a choir). As many recordings as
    objects pair up, first with first.

    Args:
        objects: heads, or meshes with ARKit shape keys.
        audio: sound file or files.
        style: id of a preset, name of a style of the library, path of a style (.dptstyle), a motion file (.npz,
            .csv, .json), a video or a style vector (.npy), "0.7 calm + 0.3 Anna", "none", or what the protocol takes,
            {"mix": [{"preset": a}, {"file": b}], "amounts": [1 - t, t]}; None is the model's own.
        seed, takes: the takes' seeds are seed, seed + 1, ...
        start_frame: frame where the speech begins.
        blocking: return when it is done, with its results. Otherwise return the job at once: Blender's timers
            drive it where there is a window; in a script without one, call its `wait()` or `poll()`.
        on_done: called with the job when it has ended in any way (blocking or by timers).
        head_motion, head_strength: whether the head turns, and how much.
        head_bone: the bone that turns it, "neck" or "root".
        speech_guidance, style_guidance, sampler, steps: None is the model's default.
        quality: "final", or "draft" for the model's faster student, which has its guidance and steps built in.
        place_sound: put the recordings into the sequencer.
        audio_start, audio_seconds: part of the recording, in seconds.
        scene: whose frame rate, range and sequencer count; the current one when None.
        convert_basis: where model and head differ in their expression basis, convert the motion to the head's;
            the results' `residual` says by how many millimetres the face misses the model's. Otherwise such a
            head is refused.
        parts: which of "LIPS", "UPPER" and "HEAD" are keyed; what the objects show of the others stays.

    Returns:
        Blocking: what was keyed, an entry for each recording. Otherwise the job.

    Raises:
        UserError: an input cannot be used.
        BackendError: the backend failed. In every case the scene is as it was.
    """
    items = listed(objects)
    paths = [audio] if isinstance(audio, str | Path) else list(audio)
    if not items:
        raise UserError("No object is given. Give a head, or a mesh with ARKit shape keys.")
    if len(paths) == 1:
        groups = [tuple(items)]
    elif len(paths) == len(items):
        groups = [(item,) for item in items]
    else:
        raise UserError(f"{len(items)} objects and {len(paths)} recordings do not pair up.")
    speeches = [
        Speech(
            AudioSpan(audio_strip.check_audio_path(str(path)), audio_start, audio_seconds, start_frame),
            group,
            place_sound and audio_start == 0.0 and audio_seconds is None,
        )
        for path, group in zip(paths, groups, strict=True)
    ]
    options = GenerationOptions(
        seeds=_seeds(seed, takes),
        style=asked_style(style),
        head_pose=head_motion,
        speech_guidance=speech_guidance,
        style_guidance=style_guidance,
        sampler=sampler,
        steps=steps,
        quality=quality,
    )
    settings = replace(
        _settings(options, head_strength),
        head_bone=head_bone,
        convert_basis=convert_basis,
        parts=checked_parts(parts),
    )
    job = GenerationJob(scene or bpy.context.scene, speeches, settings)
    if not blocking:
        _drive(job, on_done)
        return job
    job.wait()
    _finish(job, on_done)
    job.complete()
    return job.results


def generate_dialogue(
    scene: bpy.types.Scene | None = None,
    *,
    style: Style = None,
    seed: int = 0,
    takes: int = 1,
    only_changed: bool = True,
    steps: int | None = None,
    head_strength: float = 1.0,
) -> dialogue.DialogueJob:
    """Make the motion of all sound strips of a scene's sequencer, each by its speaker (see the panel Dialogue).

    Args:
        seed, takes: every speaker gets a take for each of seed, seed + 1, ...
        only_changed: keep lines whose sound and settings are as they were.

    Returns:
        The finished job: `takes`, `made`, `kept`, `left_out`, `warnings`.

    Raises:
        UserError, BackendError: it cannot be done; nothing was changed.
    """
    scene = scene or bpy.context.scene
    options = GenerationOptions(_seeds(seed, takes), asked_style(style), steps=steps)
    lines, left_out = dialogue.dialogue_lines(scene)
    settings = _settings(options, head_strength)
    job = dialogue.DialogueJob(scene, lines, settings, only_changed, left_out)
    job.complete()
    push_undo("Generate Dialogue")
    return job


def batch(
    jobs: str | Path | Sequence[BatchJob | dict[str, Any]],
    *,
    report: str | Path | None = None,
    on_progress: Callable[[int, int, BatchResult], None] | None = None,
    steps: int | None = None,
    head_strength: float = 1.0,
    place_sound: bool = False,
    scene: bpy.types.Scene | None = None,
) -> list[BatchResult]:
    """Generate, key and export many lines; what fails is noted and the rest goes on.

    Args:
        jobs: a CSV or JSON file, or `BatchJob`s and dictionaries with their fields.
        report: JSON file that is written anew after each job.
        on_progress: called after each job; without it a line is printed.

    Returns:
        A result for each row, bad ones among them.

    Raises:
        UserError: the list or the report cannot be read or written at all.
    """
    settings = _settings(GenerationOptions(steps=steps), head_strength)

    def printed(done: int, total: int, result: BatchResult) -> None:
        detail = result.error or ", ".join(result.exports) or "keyed"
        ended = f"row {result.row} {result.state} in {result.seconds:.1f} s"
        print(f"[{done}/{total}] {ended}: {detail}", flush=True)

    scene = scene or bpy.context.scene
    results = run_batch(jobs, settings, scene, place_sound, on_progress or printed, report)
    push_undo("Batch")
    return results


def _seeds(seed: int, takes: int) -> tuple[int, ...]:
    if takes < 1:
        raise UserError("At least one take must be made.")
    return tuple(range(seed, seed + takes))


def _settings(options: GenerationOptions, head_strength: float) -> GenerationSettings:
    """With the model and the device of the preferences."""
    device = addon_preferences().device
    return GenerationSettings(options, head_strength, model_directory=chosen_model_directory(), device=device)


def _drive(job: GenerationJob, on_done: Callable[[GenerationJob], None] | None) -> None:
    """Poll the job from Blender's timers until it has ended; without a window they never fire."""

    def tick() -> float | None:
        if job.poll() == "running":
            return TIMER_SECONDS
        _finish(job, on_done)
        return None

    if not bpy.app.background:
        bpy.app.timers.register(tick, first_interval=TIMER_SECONDS, persistent=True)


def _finish(job: GenerationJob, on_done: Callable[[GenerationJob], None] | None) -> None:
    if job.state == "done":
        push_undo("Generate")
    if on_done is not None:
        on_done(job)
