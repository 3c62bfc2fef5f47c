# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user sees: a package a feature, each with its operators, properties and panel.

A feature imports `common` and what lies below `ui`, never another feature. `FEATURES` is the order in which they are
registered, and so, beside `bl_order`, the order of the panels.
"""

from . import capture, character, common, directing, exchange, generate, setup, styles, takes

FEATURES = (common, setup, generate, styles, capture, takes, directing, exchange, character)
