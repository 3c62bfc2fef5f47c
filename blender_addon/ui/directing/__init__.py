# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges made again, layers, dialogue, lip-sync check."""

from ..common.feature import feature
from . import operators, panel, properties

register, unregister = feature(properties, operators, panel)
