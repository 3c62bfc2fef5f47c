# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scene's settings and the selection ask for, as the jobs take it."""

from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..data import bundled
from ..data.errors import UserError
from ..data.generation_options import GenerationOptions
from ..data.mapping import PARTS
from ..faces import targets
from ..install.preferences import addon_preferences, chosen_model_directory
from ..takes import audio_strip
from ..takes.audio_strip import AudioSpan
from . import style_list
from .generation import GenerationSettings

MAX_SEED = 2**31 - 1


def missing_for_generate(context: bpy.types.Context) -> str:
    """What is still to be chosen before Generate can begin, and how; empty where nothing is."""
    try:
        chosen = speakers(context)
        if not any(targets.could_speak(item) for item in chosen):
            return rpt_(targets.NOT_A_HEAD).format(name=chosen[0].name)
        speech_span(context)
    except UserError as error:
        return str(error)
    return ""


def speakers(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected meshes and armatures; the active object where none is selected.

    Raises:
        UserError: there is none, or what is selected cannot speak.
    """
    chosen = [item for item in context.selected_objects if item.type in ("MESH", "ARMATURE")]
    if not chosen and context.object is not None and context.object.mode != "OBJECT":
        chosen = [context.object]
    if not chosen and context.selected_objects:
        raise UserError(rpt_(targets.NOT_A_HEAD).format(name=context.selected_objects[0].name))
    if not chosen:
        raise UserError(rpt_(targets.NOBODY))
    return chosen


def speech_span(context: bpy.types.Context) -> AudioSpan:
    """The recording that the panel names, and where it begins.

    Raises:
        UserError: there is none.
    """
    settings = context.scene.diffposetalk
    if settings.audio_source == "STRIP":
        strip = audio_strip.active_sound_strip(context)
        if strip is None:
            text = rpt_("No sound strip is active in the sequencer. Select one, or choose an audio file.")
            raise UserError(text)
        return audio_strip.span_of_strip(strip, context.scene)
    path = audio_strip.check_audio_path(settings.audio_path)
    frame = context.scene.frame_current if settings.start_at == "CURRENT" else settings.start_frame
    return AudioSpan(path, 0.0, None, frame)


def generation_settings(scene: bpy.types.Scene) -> GenerationSettings:
    """The panel's settings as the job takes them.

    Raises:
        UserError: a style is missing, or not there any more; a draft is wanted of a model without one.
    """
    settings, workflow = scene.diffposetalk, scene.diffposetalk_workflow
    if settings.quality == "DRAFT" and not bundled.has_draft(chosen_model_directory()):
        raise UserError("The chosen model has no draft. Set Quality to Final.")

    def chosen(name: str) -> Any:
        """A setting; None, which is the model's own, until it has been changed."""
        return getattr(settings, name) if settings.is_property_set(name) else None

    options = GenerationOptions(
        seeds=tuple(min(settings.seed + take, MAX_SEED) for take in range(settings.takes)),
        style=style_list.panel_style(settings),
        head_pose=settings.head_motion,
        speech_guidance=chosen("speech_guidance"),
        style_guidance=chosen("style_guidance"),
        sampler=chosen("sampler"),
        steps=chosen("steps") if settings.sampler != "ddpm" else None,
        quality=settings.quality.lower(),
    )
    return GenerationSettings(
        options,
        head_strength=settings.head_strength,
        head_bone=settings.head_bone,
        model_directory=chosen_model_directory(),
        device=addon_preferences().device,
        convert_basis=settings.convert_basis,
        parts=chosen_parts(scene),
        stream=workflow.stream and not bpy.app.background,
    )


def chosen_parts(scene: bpy.types.Scene) -> frozenset[str]:
    """Which of `mapping.PARTS` are to be keyed."""
    settings = scene.diffposetalk_workflow
    return frozenset(part for part in PARTS if getattr(settings, f"key_{part.lower()}"))
