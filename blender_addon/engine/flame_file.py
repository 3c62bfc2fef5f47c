# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's own FLAME: found, and converted into a head asset once.

FLAME's licence does not let it be passed on, so it comes from the user, as the file that was downloaded. What it
is converted into is kept in the add-on's own folder, under the name of the file's content.
"""

import contextlib
import zipfile
from collections.abc import Generator
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..data import bundled
from ..data.content_digest import content_digest
from ..data.errors import UserError
from ..data.head_asset import HeadAsset, load_head
from ..install.preferences import addon_preferences
from ..version import ADDON, VERSION
from .job import BackendJob, Steps

CONVERT_SECONDS = 300.0
WHERE = (
    "choose the .pkl or .npz file that you downloaded from flame.is.tue.mpg.de as FLAME Model in the add-on's "
    "preferences"
)
HEAD_ASSET_ARRAYS = {
    f"{name}.npy" for name in ("expression_names", "polygons", "basis")
}  # not in FLAME's own files


def chosen_flame_file() -> Path:
    """The FLAME file of the preferences.

    Raises:
        UserError: none is chosen, or it does not exist.
    """
    chosen = addon_preferences().flame_model
    if not chosen:
        raise UserError(f"No FLAME model is set: {WHERE}.")
    return check_flame_file(Path(bpy.path.abspath(chosen)))


def check_flame_file(path: Path) -> Path:
    """The path itself, when there is such a file. Raises UserError."""
    if path.is_dir():
        raise UserError(f"The FLAME model “{path}” is a folder: {WHERE}.")
    if not path.is_file():
        raise UserError(f"The FLAME model “{path}” does not exist: {WHERE}.")
    return path


def converted_file(path: Path) -> Path:
    """Where the head asset of a FLAME file is, or will be: the file itself where it is one already.

    Raises:
        UserError: the file cannot be read.
    """
    # A .pkl is no archive, nor perhaps what the conversion will refuse.
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        if set(archive.namelist()) >= HEAD_ASSET_ARRAYS:
            return path
    return heads_folder() / f"{path.stem}-{content_digest(path)[:16]}-{VERSION}.npz"


def heads_folder() -> Path:
    """The folder of the add-on's own that keeps converted heads; it outlives updates of the add-on."""
    return Path(bpy.utils.extension_path_user(ADDON, path="heads", create=True))


def kept_file(name: str) -> Path | None:
    """The converted head of this name, where there is one."""
    path = heads_folder() / Path(name).name
    return path if name and path.is_file() else None


def convert(job: BackendJob, path: Path) -> Generator[None, None, Path]:
    """Convert a FLAME file where that has not been done; the generator's value is the head asset's path.

    Raises:
        UserError: the file cannot be read, or is a head of another kind.
        BackendError: the backend cannot convert it.
    """
    converted = converted_file(path)
    if not converted.is_file():
        job.text = rpt_("Converting FLAME")
        params = {"path": str(path), "output": str(converted)}
        yield from job.ask("convert_flame", params, CONVERT_SECONDS)
    return converted


def head_file(job: BackendJob, basis: str, name: str = "") -> Generator[None, None, Path]:
    """The head asset that tells what the expressions of a basis mean; the one of this name if it is kept.

    Raises:
        UserError: the user's FLAME is needed, and none is chosen.
    """
    if basis != "flame":
        return bundled.HEAD_FILE
    return kept_file(name) or (yield from convert(job, chosen_flame_file()))


class FlameHead(BackendJob):
    """Finding the user's FLAME head; `head` is there when it is done."""

    head: HeadAsset

    def __init__(self, path: Path) -> None:
        """Start.

        Args:
            path: FLAME file as downloaded, or the head asset that one was converted into.

        Raises:
            UserError: there is no such file.
        """
        super().__init__(rpt_("Reading FLAME"))
        self._path = check_flame_file(path)

    def _run(self) -> Steps:
        converted = yield from convert(self, self._path)
        self.head = load_head(converted)
        if self.head.basis != "flame":
            raise UserError(f"“{self._path}” is not FLAME but {self.head.name}: {WHERE}.")
