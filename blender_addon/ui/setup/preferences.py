# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: the backend and how it is installed; the model and what else the user brings."""

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ...install import environment as backend_setup
from ...install import sources
from ...install.preferences import addon_preferences, package_sources_chosen
from ...version import ADDON
from ..common import job_status
from ..common.wrapped_text import draw_text

SHOWN_LOG_LINES = 8
SOURCES = ("package_index", "wheel_folder", "wheels_only", "proxy")

# What a user may bring, under licences that are between the user and its makers.
FLAME_LICENCE = "Not part of this add-on; under the licence of the Max Planck Society that you agreed to"
CHECKPOINT_LICENCE = "Not part of this add-on; under the licence of the paper's authors"
HUBERT_LICENCE = "Not part of this add-on; by Meta, Apache License 2.0"
TRACKER_LICENCE = "Not part of this add-on; by Google, Apache License 2.0"


def _file(name: str, description: str) -> StringProperty:
    return StringProperty(name=name, description=description, subtype="FILE_PATH")


def _folder(name: str, description: str) -> StringProperty:
    return StringProperty(name=name, description=description, subtype="DIR_PATH")


class DiffPoseTalkPreferences(bpy.types.AddonPreferences):
    """Settings of this machine, shared by all files."""

    bl_idname = ADDON

    page: EnumProperty(
        name="Page",
        items=[
            ("BACKEND", "Backend", "What computes the motion, and how it is installed"),
            (
                "FILES",
                "Models and Licences",
                "What you can bring: FLAME, checkpoints, HuBERT, the face tracker",
            ),
        ],
    )

    backend_python: _file(
        "Backend Python",
        "Python interpreter, or folder of a virtual environment, that runs the backend. Empty: the one "
        "that Set Up Backend installed",
    )
    show_sources: BoolProperty(
        name="Installation Options",
        description="A Python of your own, PyTorch's build, package index, wheels, proxy; repairing and removing",
    )
    torch_build: EnumProperty(
        name="PyTorch Build",
        description="Which build of PyTorch is installed",
        items=[
            (
                "auto",
                "For This Machine",
                "By the graphics card: NVIDIA CUDA, AMD ROCm, Intel XPU, else the processor",
            ),
            ("cpu", "CPU", "The smallest; for the processor"),
            (
                "index",
                "As the Index Has It",
                "From the package index or the wheel folder, like the other packages",
            ),
        ],
    )
    package_index: StringProperty(
        name="Package Index",
        description="Address of a package index in place of the usual one. Empty: what pip and uv are set to, by "
        "environment variables (UV_DEFAULT_INDEX, PIP_INDEX_URL) too",
    )
    wheel_folder: _folder("Wheel Folder", "Folder of wheels that are taken before those of the index")
    wheels_only: BoolProperty(
        name="Only These",
        description="Install from the wheel folder alone, without any network",
    )
    proxy: StringProperty(
        name="Proxy",
        description="Address of a proxy, http://HOST:PORT. Empty: what the environment variables say (HTTPS_PROXY)",
    )
    uv_program: _file(
        "uv Program",
        "The program that installs packages. Empty: the system's uv, else one that is fetched by checksum",
    )
    device: EnumProperty(
        name="Device",
        description="Where motion is computed",
        items=[
            ("auto", "Automatic", "The GPU if there is one, else the processor"),
            ("cpu", "CPU", "The processor"),
            ("cuda", "CUDA", "An NVIDIA GPU"),
            ("mps", "Metal", "An Apple GPU"),
            ("xpu", "XPU", "An Intel GPU"),
        ],
    )
    model_directory: _folder(
        "Model Folder", "Folder of the model (config.json and model.safetensors). Empty: the bundled model"
    )

    flame_model: _file(
        "FLAME Model",
        "Your FLAME 2020 or 2023 model, for Add Head: the .pkl or .npz file that you downloaded from "
        "flame.is.tue.mpg.de under the licence that you agreed to there, or a head that one was converted into. "
        "The add-on does not bring it and does not pass it on; scenes and exports of a FLAME head contain it",
    )

    checkpoint: _file("Checkpoint", "Denoiser of the paper's release (.pt)")
    checkpoint_style_encoder: _file("Style Encoder", "Style encoder of the same release (.pt)")
    checkpoint_statistics: _file(
        "Statistics", "stats_train.npz of the same release; without it the motion would be far too strong"
    )
    hubert_folder: _folder(
        "HuBERT",
        "Folder of HuBERT base (config.json and weights), through which the paper's "
        "checkpoints hear speech. Empty: DIFFPOSETALK_HUBERT, or the Hugging Face cache",
    )

    style_library: _folder(
        "Style Library",
        "Folder of your own styles. Empty: the one that the command line uses too "
        "(DIFFPOSETALK_STYLES, or diffposetalk/styles among your user's data)",
    )
    tracker_model: _file(
        "Face Tracker",
        "MediaPipe's face_landmarker.task, for taking motion from video. Empty: the one that Fetch "
        "Face Tracker has put among your user's data",
    )

    first_steps: BoolProperty(
        name="Show First Steps",
        description="Show the way to a first animation instead of the controls, until one has been made",
        default=True,
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        preferences = addon_preferences()
        status = context.window_manager.diffposetalk_status
        width = context.region.width
        if status.running:  # nothing else can be pressed, and the window is small
            job_status.draw_status(layout, status, width)
            _draw_log(layout)
            return
        layout.row().prop(self, "page", expand=True)
        layout.use_property_split = True
        layout.use_property_decorate = False
        if preferences.page == "BACKEND":
            _draw_backend(self, layout, width)
        else:
            _draw_files(self, layout, width)
        job_status.draw_status(layout, status, width, preferences.page)
        _draw_log(layout)
        layout.operator("diffposetalk.copy_diagnostics", icon="COPYDOWN")


def _draw_log(layout: bpy.types.UILayout) -> None:
    """The end of what the tools said, while they install and after they failed."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    for line in job_status.setup_log[-SHOWN_LOG_LINES:]:
        column.label(text=line, translate=False)


def _draw_backend(owner: DiffPoseTalkPreferences, layout: bpy.types.UILayout, width: int) -> None:
    preferences = addon_preferences()
    environment = backend_setup.current_environment()
    box = layout.box()
    working = environment is not None and environment.python.is_file()
    offer = backend_setup.upgrade_offer()
    if preferences.backend_python:
        box.label(text="Your own Python runs the backend", icon="INFO")
    elif offer:
        draw_text(box, offer, width, "ERROR")
    elif environment is not None and working:
        facts = environment.facts
        size = sources.size_text(facts.get("bytes", 0))
        summary = f"{facts.get('version')}, PyTorch {facts.get('torch')}, {facts.get('device')}, {size}"
        draw_text(box, summary, width, "CHECKMARK")
    elif environment is not None:
        draw_text(box, backend_setup.setup_problem(), width, "ERROR")
    if not preferences.backend_python and (not working or offer):
        draw_text(box, str(sources.plan(package_sources_chosen())), width, "IMPORT")
        if not bpy.app.online_access and not preferences.wheels_only:
            box.label(text="Turn on Allow Online Access in Preferences, System", icon="INFO")
    row = box.row()
    row.scale_y = 1.4
    if offer:
        row.operator("diffposetalk.setup_backend", text="Upgrade Backend", icon="IMPORT")
    elif preferences.backend_python or working:
        row.operator("diffposetalk.check_backend", icon="CHECKMARK")
    elif environment is None:
        row.operator("diffposetalk.setup_backend", icon="IMPORT")
    else:
        row.operator("diffposetalk.setup_backend", text="Repair", icon="FILE_REFRESH").anew = True
    if working:
        row = box.row()
        row.operator("diffposetalk.install_tracking", icon="IMPORT")
        row.operator("diffposetalk.install_alignment", icon="IMPORT")
    fold = box.row()
    fold.use_property_split = False  # the triangle comes first
    fold.alignment = "LEFT"
    triangle = "TRIA_DOWN" if preferences.show_sources else "TRIA_RIGHT"
    fold.prop(owner, "show_sources", icon=triangle, emboss=False)
    if preferences.show_sources:
        for name in ("backend_python", "torch_build", *SOURCES, "uv_program"):
            box.prop(owner, name)
        if working:
            row = box.row()
            row.operator("diffposetalk.setup_backend", text="Repair", icon="FILE_REFRESH").anew = True
            row.operator("diffposetalk.remove_backend", icon="TRASH")
    layout.prop(owner, "device")
    layout.prop(owner, "first_steps")


def _draw_files(owner: DiffPoseTalkPreferences, layout: bpy.types.UILayout, width: int) -> None:
    """Each thing that the user may bring: chosen, converted, checked, and its licence."""
    groups = (
        ("FLAME", FLAME_LICENCE, ("flame_model",), ("diffposetalk.check_flame",)),
        (
            "Released Checkpoints",
            CHECKPOINT_LICENCE,
            ("checkpoint", "checkpoint_style_encoder", "checkpoint_statistics"),
            ("diffposetalk.convert_checkpoint",),
        ),
        ("HuBERT", HUBERT_LICENCE, ("hubert_folder",), ()),
        ("Face Tracker", TRACKER_LICENCE, ("tracker_model",), ("diffposetalk.fetch_tracker",)),
    )
    for title, licence, names, operators in groups:
        box = layout.box()
        box.label(text=title)
        for name in names:
            box.prop(owner, name)
        for operator in operators:
            box.operator(operator)
        draw_text(box, licence, width, "INFO")
    layout.prop(owner, "model_directory")
    layout.operator("diffposetalk.check_model", icon="CHECKMARK")
    layout.prop(owner, "style_library")
