# SPDX-License-Identifier: GPL-3.0-or-later
"""Styles and performances of a reference, for scripts."""

from pathlib import Path

import bpy

from ..data import style_library
from ..jobs import capture, style_list
from ..jobs import styles as style_jobs
from ..takes import scene_motion, showing
from .calls import Objects, listed, push_undo


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
    chosen = style_jobs.ReferenceWindow(window, start_frame)
    if isinstance(reference, bpy.types.Object):
        scene, target = bpy.context.scene, showing.target_of(reference)
        frames = frames or scene_motion.frame_range(scene, target, "ACTION")
        job = style_jobs.style_of_animation(scene, target, frames, name or "", chosen, description)
    else:
        path = Path(bpy.path.abspath(str(reference)))
        if path.suffix.lower() == style_library.SUFFIX:
            return style_library.import_style(style_list.library_folder(), path)
        person = _person(face, neutral)
        job = style_jobs.ExtractStyle(path, name or "", chosen, person=person, description=description)
    job.complete()
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
    items = listed(objects)
    showing.targets_of(items)
    path = Path(bpy.path.abspath(str(video)))
    job = style_jobs.TrackVideo(path, _person(face, neutral))
    job.complete()
    keyed = capture.key_capture(
        scene or bpy.context.scene,
        items,
        job.tracked,
        start_frame,
        translation=translation,
        place_sound=place_sound,
    )
    push_undo("Key Performance")
    return keyed


def _person(face: tuple[float, float] | None, neutral: str | Path | None) -> style_jobs.Person:
    return style_jobs.Person(face, None if neutral is None else Path(bpy.path.abspath(str(neutral))))
