# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts and Blender's Python console use, as `import diffposetalk`.

    import diffposetalk
    head, rig = diffposetalk.add_head("Ann")
    diffposetalk.generate(head, "//hello.wav", seed=7)

Errors are `diffposetalk.UserError` (something you can put right) and `diffposetalk.BackendError`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import bpy
import numpy as np

from ..client import BackendError
from ..data import bundled, style_library
from ..data.adjustment import Adjustment
from ..data.errors import UserError
from ..data.generation_options import GenerationOptions
from ..data.head_asset import load_head
from ..data.mapping import PARTS
from ..data.motion import read_motion, resample_motion
from ..engine import flame_file
from ..engine.flame_file import FlameHead
from ..engine.job import BackendJob
from ..faces import rig
from ..faces.targets import find_targets
from ..install.preferences import addon_preferences, chosen_model_directory
from ..jobs import capture, dialogue, exporting, style_list
from ..jobs import styles as style_jobs
from ..jobs.batch import BatchJob, BatchResult, run_batch
from ..jobs.generation import GenerationJob, GenerationSettings, Keyed, Speech
from ..jobs.lip_check import LipSyncJob
from ..jobs.motion_exchange import ExportMotionJob, ImportMotionJob
from ..jobs.regeneration import RangeRequest, RegenerationJob
from ..takes import audio_strip, layers, record, scene_motion
from ..takes import showing as take_functions
from ..takes.audio_strip import AudioSpan
from ..takes.keying import Performance, Take, key_performances, last_frame
from ..version import VERSION

__all__ = [
    "Adjustment",
    "BackendError",
    "BatchJob",
    "BatchResult",
    "GenerationJob",
    "Keyed",
    "UserError",
    "__version__",
    "add_head",
    "add_style",
    "adjust",
    "batch",
    "capture_performance",
    "check_lips",
    "export_alembic",
    "export_fbx",
    "export_gltf",
    "export_motion",
    "export_usd",
    "generate",
    "generate_dialogue",
    "import_motion",
    "key_motion",
    "push_to_nla",
    "reduce_keys",
    "regenerate",
    "show_take",
    "step_line",
    "styles",
    "takes",
]

__version__ = VERSION
TIMER_SECONDS = 0.1

Objects: TypeAlias = bpy.types.Object | Sequence[bpy.types.Object]
Paths: TypeAlias = str | Path | Sequence[str | Path]


def add_head(
    name: str | None = None,
    shape: Sequence[float] | np.ndarray | None = None,
    asset: str | Path | None = None,
    flame: bool | str | Path = False,
) -> tuple[bpy.types.Object, bpy.types.Object]:
    """Add a head at the 3D cursor.

    Args:
        name: of the mesh object.
        shape: up to 100 identity coefficients.
        asset: head file (.npz); the bundled head when None.
        flame: your FLAME file (.pkl or .npz as downloaded), or True for the one in the preferences. It is
            converted once, which needs the backend.

    Returns:
        The mesh object and the armature object.

    Raises:
        UserError: the head file or the shape cannot be used.
        BackendError: FLAME could not be converted.
    """
    if flame:
        path = flame_file.chosen_flame_file() if flame is True else Path(bpy.path.abspath(str(flame)))
        job = FlameHead(path)
        job.wait()
        if job.failure is not None:
            raise job.failure
        head = job.head
    else:
        head = bundled.bundled_head() if asset is None else load_head(asset)
    made = rig.add_head(bpy.context, head, name, None if shape is None else np.asarray(shape, np.float32))
    _push_undo("Add Head")
    return made


def generate(
    objects: Objects,
    audio: Paths,
    *,
    style: str | Path | dict[str, Any] | None = None,
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
    items = [objects] if isinstance(objects, bpy.types.Object) else list(objects)
    paths = [audio] if isinstance(audio, str | Path) else list(audio)
    if not items:
        raise UserError("No object is given. Give a head, or a mesh with ARKit shape keys.")
    if len(paths) == 1:
        groups = [tuple(items)]
    elif len(paths) == len(items):
        groups = [(item,) for item in items]
    else:
        raise UserError(f"{len(items)} objects and {len(paths)} recordings do not pair up.")
    if takes < 1:
        raise UserError("At least one take must be made.")
    speeches = [
        Speech(
            AudioSpan(audio_strip.check_audio_path(str(path)), audio_start, audio_seconds, start_frame),
            group,
            place_sound and audio_start == 0.0 and audio_seconds is None,
        )
        for path, group in zip(paths, groups, strict=True)
    ]
    options = GenerationOptions(
        seeds=tuple(range(seed, seed + takes)),
        style=_style_request(style),
        head_pose=head_motion,
        speech_guidance=speech_guidance,
        style_guidance=style_guidance,
        sampler=sampler,
        steps=steps,
        quality=quality,
    )
    settings = GenerationSettings(
        options,
        head_strength=head_strength,
        head_bone=head_bone,
        model_directory=chosen_model_directory(),
        device=addon_preferences().device,
        convert_basis=convert_basis,
        parts=_parts(parts),
    )
    job = GenerationJob(scene or bpy.context.scene, speeches, settings)
    if not blocking:
        _drive(job, on_done)
        return job
    job.wait()
    _finish(job, on_done)
    if job.failure is not None:
        raise job.failure
    return job.results


def key_motion(
    objects: Objects,
    motion: str | Path,
    *,
    start_frame: float = 1,
    head_strength: float = 1.0,
    head_bone: str = "neck",
    scene: bpy.types.Scene | None = None,
) -> list[bpy.types.Action]:
    """Key the motion of a file.

    Args:
        objects: heads, or meshes with ARKit shape keys; all move alike.
        motion: motion clip (.npz). The paper's own files, which name no expression basis, are FLAME's.
        start_frame: frame of its first key.
        head_strength: factor of the head rotation; 0 keys none.
        head_bone: the bone that turns the head, "neck" or "root".
        scene: whose frame rate and range count; the current one when None.

    Returns:
        The new Actions.

    Raises:
        UserError: the file or an object cannot be used, or they differ in their expression basis. The scene is
            as it was.
    """
    scene = scene or bpy.context.scene
    path = Path(bpy.path.abspath(str(motion)))
    clip = resample_motion(read_motion(path), audio_strip.frames_per_second(scene))
    found = tuple(find_targets(_listed(objects), bundled.bundled_jaw_open_angle()))
    performance = Performance(found, (Take(clip, f"{path.stem} · motion"),), start_frame)
    [[actions]] = key_performances([performance], head_bone, head_strength)
    scene.frame_end = max(scene.frame_end, last_frame(clip, start_frame))
    _push_undo("Key Motion")
    return actions


def takes(item: bpy.types.Object) -> list[bpy.types.Action]:
    """The takes of a head or character, by their first Actions. Raises UserError."""
    return record.takes_of(take_functions.target_of(item).owner)


def show_take(action: bpy.types.Action) -> None:
    """Let a take animate its head or character; the one before is kept. Raises UserError."""
    take_functions.show_take(action, take_functions.target_of(take_functions.owner_of_take(action)))
    _push_undo("Show Take")


def adjust(item: bpy.types.Object | bpy.types.Action, **changes: float) -> Adjustment:
    """Change the take that an object shows, or a take itself; nothing is lost, and keys made by hand stay.

    Args:
        changes: fields of `Adjustment`; the others stay as they are. None at all only answers.

    Returns:
        The take's changes now.

    Raises:
        UserError: there is no take, or no such field.
    """
    action = item
    if isinstance(item, bpy.types.Object):
        [action] = take_functions.chosen_takes([item])
    unknown = set(changes) - set(Adjustment().__dict__)
    if unknown:
        raise UserError(f"“{sorted(unknown)[0]}” is nothing that can be adjusted.")
    change = replace(take_functions.adjustment_of(action), **changes)
    if changes:
        take_functions.set_adjustment(action, change)
        _push_undo("Adjust Take")
    return take_functions.adjustment_of(action)


def regenerate(
    item: bpy.types.Object,
    first_frame: float,
    last_frame: float,
    *,
    seed: int = 1,
    count: int = 1,
    hold: Sequence[str] = (),
    hold_hand_made: bool = True,
) -> list[bpy.types.Action]:
    """Make a range of the take that an object shows again, joined to what stands around it.

    Args:
        first_frame, last_frame: of the scene.
        seed, count: seed, seed + 1, ... make a take each.
        hold: groups that stay as they are: "lips", "brows", "eyes", "head".
        hold_hand_made: let the new motion pass through keys made by hand. They stay in any case.

    Returns:
        The new takes' first Actions; the first one is shown.

    Raises:
        UserError, BackendError: it cannot be done; nothing was changed.
    """
    seeds = tuple(range(seed, seed + count))
    request = RangeRequest(first_frame, last_frame, seeds, frozenset(hold), hold_hand_made)
    job = RegenerationJob(item, request, addon_preferences().device)
    _wait(job)
    _push_undo("Regenerate Range")
    return job.results


def generate_dialogue(
    scene: bpy.types.Scene | None = None,
    *,
    style: str | Path | dict[str, Any] | None = None,
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
    if takes < 1:
        raise UserError("At least one take must be made.")
    lines, left_out = dialogue.dialogue_lines(scene)
    settings = GenerationSettings(
        GenerationOptions(tuple(range(seed, seed + takes)), _style_request(style), steps=steps),
        head_strength=head_strength,
        model_directory=chosen_model_directory(),
        device=addon_preferences().device,
    )
    job = dialogue.DialogueJob(scene, lines, settings, only_changed, left_out)
    _wait(job)
    _push_undo("Generate Dialogue")
    return job


def step_line(item: bpy.types.Object, frame: float) -> bpy.types.Action:
    """Let the line at a frame of the dialogue's take that an object shows be that of the next seed.

    Returns:
        The take that is shown now; see `dialogue.step_line`.

    Raises:
        UserError: it is no dialogue's take, or the line was made with one seed only.
    """
    [action] = take_functions.chosen_takes([item])
    action, _ = dialogue.step_line(action, take_functions.target_of(item), frame)
    _push_undo("Next Take of Line")
    return action


def check_lips(
    objects: Objects, transcript: str | dict[str, str] = "", scene: bpy.types.Scene | None = None
) -> LipSyncJob:
    """Mark on the timeline where lips should close and do not, and the words of transcripts.

    Args:
        objects: heads or characters, whose shown takes are checked.
        transcript: what is said, in English; for a dialogue by the names of its strips. See `lip_sync.LipSyncJob`.

    Returns:
        The finished job: `words`, `closures`, `source`, `problems`.

    Raises:
        UserError, BackendError: nothing can be checked; no marker was changed.
    """
    job = LipSyncJob(scene or bpy.context.scene, _listed(objects), transcript, addon_preferences().device)
    _wait(job)
    _push_undo("Check Lips")
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
    settings = GenerationSettings(
        GenerationOptions(steps=steps),
        head_strength=head_strength,
        model_directory=chosen_model_directory(),
        device=addon_preferences().device,
    )

    def printed(done: int, total: int, result: BatchResult) -> None:
        detail = result.error or ", ".join(result.exports) or "keyed"
        print(
            f"[{done}/{total}] row {result.row} {result.state} in {result.seconds:.1f} s: {detail}",
            flush=True,
        )

    scene = scene or bpy.context.scene
    results = run_batch(jobs, settings, _style_request, scene, place_sound, on_progress or printed, report)
    _push_undo("Batch")
    return results


def push_to_nla(item: bpy.types.Object, blend: str = "COMBINE") -> list[bpy.types.NlaStrip]:
    """Move the take that an object shows into the NLA editor; see `layers.push_to_nla`."""
    [action] = take_functions.chosen_takes([item])
    strips = layers.push_to_nla(action, take_functions.target_of(item), blend)
    _push_undo("Push to NLA")
    return strips


def reduce_keys(item: bpy.types.Object, bound: float = 0.1) -> tuple[int, int]:
    """Leave out keys of the take that an object shows; see `layers.reduce_keys`. `bound` is in millimetres."""
    [action] = take_functions.chosen_takes([item])
    counts = layers.reduce_keys(action, bound)
    _push_undo("Reduce Keys")
    return counts


def import_motion(
    objects: Objects, path: str | Path, *, start_frame: float = 1, scene: bpy.types.Scene | None = None
) -> list[bpy.types.Action]:
    """Key a motion file as a take: Live Link Face (.csv), ARKit curves (.json) or a motion clip (.npz).

    Returns:
        The take's first Action of each head or character.

    Raises:
        UserError, BackendError: the file or an object cannot be used; nothing was changed.
    """
    job = ImportMotionJob(scene or bpy.context.scene, _listed(objects), path, start_frame)
    _wait(job)
    _push_undo("Import Motion")
    return job.results


def export_motion(item: bpy.types.Object, path: str | Path, fps: float | None = None) -> Path:
    """Write the motion of the take that an object shows, as it is adjusted; the ending says the format.

    Raises:
        UserError, BackendError: there is no take, or the file cannot be written.
    """
    [action] = take_functions.chosen_takes([item])
    job = ExportMotionJob(action, path, fps)
    _wait(job)
    return job.path


def export_fbx(
    objects: Objects,
    path: str | Path,
    frame_range: tuple[int, int] | None = None,
    preset: str = "BLENDER",
) -> Path:
    """Write animated heads as FBX; see `exporting.export_fbx`."""
    return exporting.export_fbx(bpy.context, _listed(objects), path, frame_range, preset)


def export_gltf(objects: Objects, path: str | Path, frame_range: tuple[int, int] | None = None) -> Path:
    """Write animated heads as binary glTF; see `exporting.export_gltf`."""
    return exporting.export_gltf(bpy.context, _listed(objects), path, frame_range)


def export_usd(objects: Objects, path: str | Path, frame_range: tuple[int, int] | None = None) -> Path:
    """Write animated heads as USD; see `exporting.export_usd`."""
    return exporting.export_usd(bpy.context, _listed(objects), path, frame_range)


def export_alembic(objects: Objects, path: str | Path, frame_range: tuple[int, int] | None = None) -> Path:
    """Write animated heads as Alembic; see `exporting.export_alembic`."""
    return exporting.export_alembic(bpy.context, _listed(objects), path, frame_range)


def _parts(parts: Sequence[str]) -> frozenset[str]:
    chosen = frozenset(parts)
    if not chosen <= set(PARTS):
        raise UserError(f"The parts are {', '.join(PARTS)}, not “{sorted(chosen - set(PARTS))[0]}”.")
    return chosen


def _wait(job: BackendJob) -> None:
    """Wait for a job. Raises what it failed with."""
    job.wait()
    if job.failure is not None:
        raise job.failure


def _listed(objects: Objects) -> list[bpy.types.Object]:
    return [objects] if isinstance(objects, bpy.types.Object) else list(objects)


def styles() -> list[style_list.Choice]:
    """The styles to choose from: the model's presets, then those of the user's library."""
    return style_list.choices(fresh=True)


def add_style(
    reference: str | Path | bpy.types.Object,
    name: str | None = None,
    *,
    window: str = "auto",
    start_frame: int | None = None,
    frames: tuple[float, float] | None = None,
    face: tuple[float, float] | None = None,
    neutral: str | Path | None = None,
    description: str = "",
) -> Path:
    """Add the style of a reference to the library.

    Args:
        reference: motion file (.npz, Live Link Face .csv), style vector (.npy) or file (.dptstyle), video; or an
            animated head or character.
        name: of the style; the file's or object's when None.
        window: which four seconds, “auto” or “mean”; `start_frame` (25 a second) chooses them.
        frames: first and last frame of an animation that is read; all of its Action when None.
        face: of several in a video, as shares of the picture from left and top.
        neutral: picture or short video of the same person at rest.
        description: words to find it by.

    Returns:
        The style's file.

    Raises:
        UserError: the reference cannot be used. BackendError: the backend failed.
    """
    folder, chosen = style_list.library_folder(), style_jobs.ReferenceWindow(window, start_frame)
    machine = style_jobs.machine()
    if isinstance(reference, bpy.types.Object):
        [target] = find_targets([reference], bundled.bundled_jaw_open_angle())
        first, last = frames or scene_motion.frame_range(bpy.context.scene, target, "ACTION")
        motion = scene_motion.scene_motion(bpy.context.scene, target, first, last)
        job = style_jobs.ExtractStyle(
            machine,
            style_jobs.animation_file(motion),
            folder,
            name or style_library.name_from(target.mesh.name),
            chosen,
            description=description,
            source={"kind": "animation", "object": target.mesh.name, "frames": [first, last]},
            basis=target.basis,
            remove_reference=True,
        )
    else:
        path = Path(bpy.path.abspath(str(reference)))
        if path.suffix.lower() == style_library.SUFFIX:
            return style_library.import_style(folder, path)
        named = name or style_library.name_from(path)
        job = style_jobs.ExtractStyle(
            machine, path, folder, named, chosen, person=_person(face, neutral), description=description
        )
    job.wait()
    if job.failure is not None:
        raise job.failure
    return job.result.path


def capture_performance(
    objects: Objects,
    video: str | Path,
    *,
    start_frame: float = 1,
    translation: bool = False,
    face: tuple[float, float] | None = None,
    neutral: str | Path | None = None,
    place_sound: bool = True,
    scene: bpy.types.Scene | None = None,
) -> capture.KeyedCapture:
    """Key the performance in a video as it is.

    Args:
        objects: heads or characters; all move alike.
        start_frame: where the video begins.
        translation: also move the rigs of heads made with Add Head as the person's head moved.
        face: of several in the video, as shares of the picture from left and top.
        neutral: picture or short video of the same person at rest.

    Raises:
        UserError: an object or the video cannot be used. BackendError: it cannot be tracked.
    """
    items = _listed(objects)
    find_targets(items, bundled.bundled_jaw_open_angle())
    path = Path(bpy.path.abspath(str(video)))
    job = style_jobs.TrackVideo(style_jobs.machine(), path, _person(face, neutral))
    job.wait()
    if job.failure is not None:
        raise job.failure
    keyed = capture.key_capture(
        scene or bpy.context.scene,
        items,
        job.tracked,
        start_frame,
        translation=translation,
        place_sound=place_sound,
    )
    _push_undo("Key Performance")
    return keyed


def _person(face: tuple[float, float] | None, neutral: str | Path | None) -> style_jobs.Person:
    return style_jobs.Person(face, None if neutral is None else Path(bpy.path.abspath(str(neutral))))


def _style_request(style: str | Path | dict[str, Any] | None) -> dict[str, Any] | None:
    """A style as the protocol takes it."""
    return style_list.asked_style(style)


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
        _push_undo("Generate")
    if on_done is not None:
        on_done(job)


def _push_undo(message: str) -> None:
    """Make what was done one undo step; Blender does so itself only for operators of the window."""
    if not bpy.app.background:
        bpy.ops.ed.undo_push(message=message)
