# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion and styles from video."""

from ..common.feature import feature
from . import operators, panel, properties

register, unregister = feature(properties, operators, panel)
