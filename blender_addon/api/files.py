# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of other programs, for scripts."""

from pathlib import Path

import bpy

from ..data.errors import UserError
from ..jobs import exporting
from ..jobs.motion_exchange import ExportMotionJob, ImportMotionJob
from ..takes import showing
from .calls import Objects, listed, push_undo


def import_motion(
    objects: Objects, path: str | Path, *, start_frame: float = 1, scene: bpy.types.Scene | None = None
) -> list[bpy.types.Action]:
    """Key a motion file as a take: Live Link Face (.csv), ARKit curves (.json) or a motion clip (.npz).

    Returns:
        The take's first Action of each head or character.

    Raises:
        UserError, BackendError: the file or an object cannot be used; nothing was changed.
    """
    job = ImportMotionJob(scene or bpy.context.scene, listed(objects), path, start_frame)
    job.complete()
    push_undo("Import Motion")
    return job.results


def export_motion(item: bpy.types.Object, path: str | Path, fps: float | None = None) -> Path:
    """Write the motion of the take that an object shows, as it is adjusted; the ending says the format.

    Raises:
        UserError, BackendError: there is no take, or the file cannot be written.
    """
    [action] = showing.chosen_takes([item])
    job = ExportMotionJob(action, path, fps)
    job.complete()
    return job.path


export_fbx, export_alembic, export_gltf, export_usd = (exporter.write for exporter in exporting.EXPORTERS)


def export_heads(objects: Objects, path: str | Path, frame_range: tuple[int, int] | None = None) -> Path:
    """Write animated heads as any of the files that there are exporters for; the path's ending says which.

    Raises:
        UserError: there is no exporter of that ending, or the file cannot be written.
    """
    exporter = exporting.EXPORTER_OF.get(Path(str(path)).suffix.lower())
    if exporter is None:
        endings = ", ".join(exporting.EXPORTER_OF)
        raise UserError(f"“{path}” has no ending that heads are exported to: {endings} are.")
    return exporter.write(objects, path, frame_range)
