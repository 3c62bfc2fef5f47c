# SPDX-License-Identifier: GPL-3.0-or-later
"""The error that a user reads."""


class UserError(Exception):
    """Something the user can put right; the text says what happened and what to do."""
