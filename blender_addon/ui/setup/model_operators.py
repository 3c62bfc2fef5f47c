# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons for what a user brings: FLAME is read, a released checkpoint converted, a model loaded."""

import hashlib
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ...data.errors import UserError
from ...engine.flame_file import FlameHead, chosen_flame_file
from ...engine.job import BackendJob, Steps
from ...install.preferences import addon_preferences, chosen_model_directory
from ...version import ADDON
from ..common.job_operator import JobOperator

CHECKPOINT = ("checkpoint", "checkpoint_style_encoder", "checkpoint_statistics")


class LoadModel(BackendJob):
    """Loading a model into the backend; `model` is what that says of it."""

    model: dict[str, Any]

    def __init__(self, folder: Path) -> None:
        super().__init__(rpt_("Loading the model"))
        self._model_folder = folder

    def _run(self) -> Steps:
        self.model = yield from self.load_model(self._model_folder, addon_preferences().device, anew=True)


class ConvertCheckpoint(LoadModel):
    """Converting a released set into a model folder, and loading that."""

    def __init__(self, denoiser: Path, style_encoder: Path, statistics: Path) -> None:
        """Check the files.

        Raises:
            UserError: one is not there.
        """
        files = {"checkpoint": denoiser, "style encoder": style_encoder, "statistics": statistics}
        for name, path in files.items():
            if not path.is_file():
                raise UserError(f"The {name} “{path}” does not exist. Choose another file.")
        digest = hashlib.sha256()
        for path in files.values():
            stat = path.stat()
            digest.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        self.folder = models_folder() / f"{denoiser.stem}-{digest.hexdigest()[:8]}"
        self._files = (denoiser, style_encoder, statistics)
        super().__init__(self.folder)

    def _run(self) -> Steps:
        if not self.folder.exists():  # else it was converted before, and perhaps lacked HuBERT
            self.text = rpt_("Converting the checkpoint")
            denoiser, style_encoder, statistics = map(str, self._files)
            params = {"denoiser": denoiser, "style_encoder": style_encoder, "statistics": statistics}
            yield from self.ask("convert_checkpoint", {**params, "output": str(self.folder)})
        yield from super()._run()


def models_folder() -> Path:
    """The folder of the add-on's own that keeps converted models; it outlives updates of the add-on."""
    return Path(bpy.utils.extension_path_user(ADDON, path="models", create=True))


class DIFFPOSETALK_OT_check_flame(JobOperator):
    """Read the FLAME model, and convert it if needed"""

    bl_label = "Check FLAME"
    place = "FILES"
    job: FlameHead

    def start(self, context: bpy.types.Context) -> FlameHead:
        return FlameHead(chosen_flame_file())

    def finish(self, context: bpy.types.Context) -> str:
        head = self.job.head
        return rpt_("{name}: {vertices} vertices, {expressions} expressions; it can be used").format(
            name=head.name, vertices=len(head.v_template), expressions=len(head.expression_names)
        )


class DIFFPOSETALK_OT_convert_checkpoint(JobOperator):
    """Make a model folder of the three files, load it, and choose it. No code in the files is run"""

    bl_label = "Convert Checkpoint"
    place = "FILES"
    job: ConvertCheckpoint

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        if not all(getattr(addon_preferences(), name) for name in CHECKPOINT):
            return rpt_("Choose the checkpoint, its style encoder and its statistics")
        return super().obstacle(context)

    def start(self, context: bpy.types.Context) -> ConvertCheckpoint:
        chosen = addon_preferences()
        return ConvertCheckpoint(*(Path(bpy.path.abspath(getattr(chosen, name))) for name in CHECKPOINT))

    def finish(self, context: bpy.types.Context) -> str:
        addon_preferences().model_directory = str(self.job.folder)
        return rpt_("The checkpoint is converted and chosen as Model Folder: {folder}").format(
            folder=self.job.folder
        )


class DIFFPOSETALK_OT_check_model(JobOperator):
    """Load the model in Model Folder, with HuBERT if it needs that, and say what it is"""

    bl_label = "Check Model"
    place = "FILES"
    job: LoadModel

    def start(self, context: bpy.types.Context) -> LoadModel:
        return LoadModel(chosen_model_directory())

    def finish(self, context: bpy.types.Context) -> str:
        model = self.job.model
        return rpt_("{name} runs on {device}: basis {basis}, {styles} styles").format(
            name=model["name"], device=model["device"], basis=model["basis"], styles=len(model["styles"])
        )
