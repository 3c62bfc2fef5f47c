# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for other programs, and motion from them."""

from ..common.feature import feature
from . import operators, panel

register, unregister = feature(operators, panel)
