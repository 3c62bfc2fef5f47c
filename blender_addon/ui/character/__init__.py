# SPDX-License-Identifier: GPL-3.0-or-later
"""Characters with other keys and bones: how the motion is mapped to them."""

from ..common.feature import feature
from . import operators, panel, properties

register, unregister = feature(properties, operators, panel)
