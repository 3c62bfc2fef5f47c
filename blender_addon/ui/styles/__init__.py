# SPDX-License-Identifier: GPL-3.0-or-later
"""Styles from files and animation, mixtures, and the style library."""

from ..common.feature import feature
from . import library, operators, panel

register, unregister = feature(operators, library, panel)
