# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's settings for generation, as the panel shows them."""

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ...data import bundled
from ...data.generation_options import SAMPLERS
from ...jobs import style_list
from ...jobs.scene_settings import MAX_SEED
from ..common.reference import start_property, window_property

HEAD_SOURCES = [
    ("BUNDLED", "Bundled", "The head that comes with the add-on; it shows ARKit's expressions"),
    (
        "FLAME",
        "FLAME",
        "Your own FLAME model, which the add-on's preferences name; it shows FLAME's expressions",
    ),
]
_DEFAULTS = bundled.sampling_defaults()


class DiffPoseTalkSettings(bpy.types.PropertyGroup):
    """Settings for Generate."""

    head_source: EnumProperty(name="Head", description="Which head Add Head adds", items=HEAD_SOURCES)
    head_identity: StringProperty(
        name="Identity",
        description="Identity that Add Head gives the head: a file of up to 100 shape coefficients (.npy, or "
        ".npz with “shape”). Empty: the mean face",
        subtype="FILE_PATH",
    )
    convert_basis: BoolProperty(
        name="Convert to the Head's Basis",
        description="Convert motion that the head cannot show as it is, from FLAME's expressions to "
        "ARKit's or the other way round: each frame becomes the expression of this head that "
        "comes closest to the face the model means. What no expression of the head can show "
        "is lost; the result says how much, in millimetres",
    )
    audio_source: EnumProperty(
        name="Audio",
        description="Where the speech comes from",
        items=[
            ("FILE", "File", "A sound file", "FILE_SOUND", 0),
            (
                "STRIP",
                "Sound Strip",
                "The active sound strip of the sequencer, as it is trimmed and placed there",
                "SEQ_SEQUENCER",
                1,
            ),
        ],
    )
    audio_path: StringProperty(
        name="Audio File",
        description="Recording of speech: WAV, FLAC, OGG, MP3, M4A, or a film, whose sound is taken",
    )
    style: EnumProperty(name="Style", description="Speaking style", items=style_list.style_items)
    style_motion: StringProperty(
        name="Motion File",
        description="Motion whose style is taken, at least one second long: a motion clip (.npz) or a Live Link "
        "Face recording (.csv)",
        subtype="FILE_PATH",
    )
    style_window: window_property("reference")
    style_start_frame: start_property()
    style_second: EnumProperty(
        name="Mix With", description="Style that is mixed in", items=style_list.style_items
    )
    style_mix: FloatProperty(
        name="Mix",
        description="How much of the second style: 0 is the first alone, 1 the second",
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        precision=2,
    )
    seed: IntProperty(
        name="Seed",
        description="Random seed: the same seed gives the same motion again, another one a variation. It goes on by "
        "itself where the head has the same take already",
        min=0,
        max=MAX_SEED,
    )
    random_seed: BoolProperty(
        name="New Seed Each Time", description="Use another random seed at every Generate"
    )
    takes: IntProperty(
        name="Takes",
        description="How many variants to make. Each becomes an Action; the first is shown",
        min=1,
        max=16,
        default=1,
    )
    speech_guidance: FloatProperty(
        name="Speech Guidance",
        description="How strongly the motion follows the speech; higher articulates more",
        min=0.0,
        max=10.0,
        soft_max=3.0,
        default=_DEFAULTS.speech_guidance,
        step=5,
        precision=2,
    )
    style_guidance: FloatProperty(
        name="Style Guidance",
        description="How strongly the motion follows the style; higher exaggerates it",
        min=0.0,
        max=10.0,
        soft_max=5.0,
        default=_DEFAULTS.style_guidance,
        step=10,
        precision=2,
    )
    head_motion: BoolProperty(
        name="Head Motion", description="Generate head motion, and key it", default=True
    )
    head_strength: FloatProperty(
        name="Strength",
        description="How far the head turns: 1 is as generated, 2 twice as far",
        min=0.0,
        max=2.0,
        default=1.0,
        subtype="FACTOR",
    )
    head_bone: EnumProperty(
        name="Rotation Bone",
        description="Bone that turns with the head",
        items=[
            ("neck", "Neck", "The neck bends and the bust stays"),
            ("root", "Root", "The whole bust turns with the head, as in the paper"),
        ],
    )
    start_at: EnumProperty(
        name="Start",
        description="Frame where the speech begins",
        items=[
            ("CURRENT", "Current Frame", "Begin at the current frame"),
            ("FIXED", "Fixed Frame", "Begin at the frame below"),
        ],
        default="FIXED",
    )
    start_frame: IntProperty(name="Start Frame", description="Frame where the speech begins", default=1)
    place_sound: BoolProperty(
        name="Add Sound Strip",
        description="Put the recording into the sequencer, in sync with the keys",
        default=True,
    )
    quality: EnumProperty(
        name="Quality",
        description="Final quality, or a fast draft to choose takes by",
        items=[
            ("FINAL", "Final", "The model itself, with its guidance and steps as set under Advanced"),
            (
                "DRAFT",
                "Draft",
                "A smaller version of the model, several times as fast, to choose takes by. Its "
                "guidance and steps are built in. Not every model has one",
            ),
        ],
    )
    steps: IntProperty(
        name="Steps",
        description="Denoising steps for each window. More is slower and hardly better beyond the default",
        min=1,
        max=500,
        soft_max=100,
        default=_DEFAULTS.steps,
    )
    sampler: EnumProperty(
        name="Sampler",
        description="Method by which noise becomes motion, step by step",
        items=[(value, shown.name, shown.description, shown.number) for value, shown in SAMPLERS.items()],
        default=_DEFAULTS.sampler,
    )


PROPERTIES = ((bpy.types.Scene, "diffposetalk", bpy.props.PointerProperty(type=DiffPoseTalkSettings)),)
