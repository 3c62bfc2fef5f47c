# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of takes, and Adjust Take."""

from ..common.feature import feature
from . import operators, panel, properties

register, unregister = feature(properties, operators, panel)
