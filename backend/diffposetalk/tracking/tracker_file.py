# SPDX-License-Identifier: GPL-3.0-or-later
"""MediaPipe's face landmarker model: fetched once, when the user has agreed, and only if it is the file we know."""

from __future__ import annotations

import hashlib
import importlib.util
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import Cancelled, OutputError, VideoError
from ..files.whole_file import whole_file
from .landmarker import check_libraries, find_tracker, kept_tracker

URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
BYTES = 3_758_596
"""That the file has."""
CHUNK = 1 << 16
TIMEOUT = 30.0


def tracking_status(path: str | Path | None = None) -> dict[str, Any]:
    """Whether video can be tracked: the packages missing, the model file (or None), and what is wrong with it.

    Args:
        path: the model file chosen by the user, or None.
    """
    missing = [name for name in ("av", "mediapipe") if importlib.util.find_spec(name) is None]
    try:
        tracker, problem = str(find_tracker(path)), ""
    except VideoError as error:
        tracker, problem = None, error.message
    try:
        check_libraries()
    except VideoError as error:
        problem = problem or error.message
    return {"missing_packages": missing, "tracker": tracker, "problem": problem, "url": URL, "bytes": BYTES}


def _open(url: str) -> BinaryIO:
    return urllib.request.urlopen(url, timeout=TIMEOUT)  # type: ignore[no-any-return]


def fetch_tracker(
    allow_online: bool,
    *,
    on_progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    opener: Callable[[str], BinaryIO] = _open,
) -> Path:
    """Fetch the model file into the user's data folder, where `find_tracker` finds it; nothing if it is there.

    Args:
        allow_online: the user's permission; nothing is fetched without it.
        on_progress: told the bytes read so far.
        opener: opens the URL.

    Raises:
        VideoError: `tracker_offline` (no permission), `tracker_fetch` (no connection), `tracker_checksum`.
        OutputError: the folder cannot be written to. Cancelled: `cancelled` said so.
    """
    target = kept_tracker()
    if target.is_file():
        return target
    if not allow_online:
        raise VideoError(
            "The face tracker's model may only be fetched when you allow it. Or choose the file "
            "face_landmarker.task yourself.",
            "tracker_offline",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder “{target.parent}” cannot be made: {error.strerror or error}."
        ) from error
    digest, done = hashlib.sha256(), 0
    with whole_file(target) as file:
        try:
            with closing(opener(URL)) as reply:
                while block := reply.read(CHUNK):
                    if cancelled is not None and cancelled():
                        raise Cancelled()
                    done += len(block)
                    if done > BYTES:
                        break
                    digest.update(block)
                    file.write(block)
                    if on_progress is not None:
                        on_progress(done)
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror or error
            raise VideoError(
                f"The face tracker's model could not be fetched: {reason}. Check the connection and try again.",
                "tracker_fetch",
            ) from error
        if digest.hexdigest() != SHA256:
            raise VideoError(
                "What was fetched is not the face tracker's model (its checksum differs); it was not kept.",
                "tracker_checksum",
            )
    return target
