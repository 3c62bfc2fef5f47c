# SPDX-License-Identifier: GPL-3.0-or-later
"""Set Up Backend, the preferences, and the models that a user brings."""

from ..common.feature import feature
from . import model_operators, operators, preferences

register, unregister = feature(preferences, operators, model_operators)
