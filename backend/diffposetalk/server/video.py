# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of video: the face tracker, the people in a video, their motion."""

from __future__ import annotations

from typing import Any

from ..errors import Cancelled, DiffPoseTalkError
from .backend import Backend, Progress, method, output_files
from .jsonrpc import Call


@method()
def tracking_status(backend: Backend, call: Call, *, tracker: str | None = None) -> dict[str, Any]:
    """Whether video can be tracked here: packages, and the tracker's model file."""
    from ..tracking.tracker_file import tracking_status

    return tracking_status(tracker)


@method(long=True)
def fetch_tracker(backend: Backend, call: Call, *, allow_online: bool) -> dict[str, Any]:
    """Fetch the face tracker's model file, with the user's permission."""
    from ..tracking.tracker_file import BYTES, fetch_tracker

    progress = Progress(call)
    path = fetch_tracker(
        allow_online,
        on_progress=lambda done: progress("fetch", done, BYTES),
        cancelled=call.cancelled.is_set,
    )
    return {"path": str(path)}


@method(long=True)
def find_faces(
    backend: Backend, call: Call, *, video: str, output_dir: str, tracker: str | None = None
) -> dict[str, Any]:
    """The people in a video, the largest first, each with a picture to be picked by."""
    with output_files(output_dir) as new_file:
        from ..files.png import write_png
        from ..tracking.face_choice import find_faces

        faces = [
            {
                "x": face.x,
                "y": face.y,
                "size": face.size,
                "seen": face.seen,
                "picture": str(write_png(new_file(f"face-{index}.png"), face.snapshot.image)),
            }
            for index, face in enumerate(find_faces(video, tracker))
        ]
    return {"faces": faces}


@method(long=True)
def track_video(
    backend: Backend,
    call: Call,
    *,
    video: str,
    output_dir: str,
    tracker: str | None = None,
    face: list[float] | None = None,
    neutral: str | None = None,
) -> dict[str, Any]:
    """Track a face through a video: its motion, a contact sheet of what was seen, and how good it is.

    `face` is the place of the one that is meant; `neutral` a picture or short video of the person at rest.
    """
    if face is not None and len(face) != 2:
        raise DiffPoseTalkError("A face is named by its place, x and y.", "video_face")
    progress = Progress(call)
    with output_files(output_dir) as new_file:
        from ..files.png import write_png
        from ..head.head_model import load_head
        from ..tracking.contact_sheet import contact_sheet
        from ..tracking.performance import track_performance

        head = load_head()
        tracked = track_performance(
            video,
            tracker,
            face=None if face is None else (float(face[0]), float(face[1])),
            neutral=neutral,
            head=head,
            on_progress=lambda done, total: progress("tracking", done, total),
            cancelled=call.cancelled.is_set,
        )
        motion = tracked.clip.save(new_file("motion.npz"))
        sheet = write_png(new_file("contact-sheet.png"), contact_sheet(tracked.clip, tracked.snapshots, head))
        if call.cancelled.is_set():
            raise Cancelled()
    return {
        "motion": str(motion),
        "contact_sheet": str(sheet),
        "frames": len(tracked.clip),
        "fps": float(tracked.clip.fps),
        "unseen": tracked.clip.provenance["unseen"],
        "summary": tracked.quality.describe(),
        "quality": tracked.quality.to_dict(),
        "warnings": list(tracked.quality.warnings),
    }
