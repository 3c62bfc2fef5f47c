# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong between Blender and the backend."""


class BackendError(Exception):
    """A call that failed, or a backend that is not there.

    message: says what happened and what to do.
    kind: for programs; the backend's own kinds, or one of `start` (the process cannot be started),
        `not_installed` (it starts, but has no backend), `version` (it is not the add-on's), `protocol` (what it
        says is not the protocol), `died`, `timeout`, `cancelled`.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
