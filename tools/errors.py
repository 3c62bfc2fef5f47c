# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong, in words for the person who builds."""


class BuildError(Exception):
    """What stops the build."""


class UnavailableError(Exception):
    """Why a part of the tests cannot run on this machine, and what to do about it."""
