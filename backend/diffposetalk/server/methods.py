# SPDX-License-Identifier: GPL-3.0-or-later
"""All methods of the protocol, one function each in the modules by subject: importing them enters them."""

from . import files, generate, lips, session, styles, video
from .backend import METHODS, Backend

__all__ = ["METHODS", "Backend", "files", "generate", "lips", "session", "styles", "video"]
