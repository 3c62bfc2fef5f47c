# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges generated again, layers, dialogue, the lip check."""

from ..common.feature import feature
from . import operators, panel, properties

register, unregister = feature(properties, operators, panel)
