# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: head, audio, style, Generate; the first steps and the settings presets."""

from ..common.feature import feature
from . import first_steps, operators, panel, properties, settings_presets

register, unregister = feature(properties, operators, first_steps, settings_presets, panel)
