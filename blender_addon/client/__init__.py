# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's side of the backend process: start it, call it, hear from it. Imports nothing of Blender."""

from .client import PROTOCOL_VERSION, BackendClient, Call, backend_environment
from .errors import BackendError

__all__ = ["PROTOCOL_VERSION", "BackendClient", "BackendError", "Call", "backend_environment"]
