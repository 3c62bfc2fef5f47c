# SPDX-License-Identifier: GPL-3.0-or-later
"""What the methods of the protocol share: the loaded model, the registry they enter, progress and output files."""

from __future__ import annotations

import contextlib
import functools
import time
import types
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, OutputError, ProtocolError
from .jsonrpc import Call, Connection, Method

if TYPE_CHECKING:
    from ..networks.model import DiffPoseTalk

PROGRESS_SECONDS = 0.05  # between two progress notifications of one stage

METHODS: dict[str, Method] = {}
"""By their names in the protocol: `function(backend, call, *, ...)`, as `method` enters them."""


def method(
    *, long: bool = False, aside: bool = False, before_handshake: bool = False
) -> Callable[[Callable[..., Any]], Any]:
    """Enter a function as the method of its name.

    Args:
        long: it runs beside others, one after the other, and can be cancelled.
        aside: it may take a while, but does not wait for long ones.
        before_handshake: it may be called before `initialize`.
    """

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def checked(backend: Backend, call: Call, **params: Any) -> Any:
            if not (backend.greeted or before_handshake):
                raise ProtocolError("Call initialize first.", "not_initialized")
            return function(backend, call, **params)

        METHODS[function.__name__] = Method(checked, long, aside)
        return function

    return enter


class Backend:
    """The state of the process: who is there, and the one thing that methods share, the loaded model."""

    def __init__(self) -> None:
        self.greeted = False
        self.model: DiffPoseTalk | None = None
        self.folder: Path | None = None  # of the model
        self.draft: DiffPoseTalk | None = None
        self.connection: Connection | None = None

    def methods(self) -> dict[str, Method]:
        """All methods, to be called with a call and its parameters."""
        return {
            name: Method(types.MethodType(known.function, self), known.long, known.aside)
            for name, known in METHODS.items()
        }

    def loaded_model(self, quality: str = "final") -> DiffPoseTalk:
        """The model, or its draft, which is loaded when it is first wanted. Raises ModelError."""
        if self.model is None or self.folder is None:
            raise ModelError("No model is loaded. Call load_model first.", "model_not_loaded")
        if quality == "final":
            return self.model
        from ..generation.draft import load_draft

        if self.draft is None:
            self.draft = load_draft(self.folder, self.model)
        return self.draft


class Progress:
    """Passes progress on to the client, not more often than a person can see."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.stage = ""
        self.next_time = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage == self.stage and done < total and now < self.next_time:
            return
        self.stage, self.next_time = stage, now + PROGRESS_SECONDS
        self.call.notify("progress", stage=stage, done=done, total=total)


@contextlib.contextmanager
def output_files(folder: str) -> Iterator[Any]:
    """A function that names new files in `folder`; those named are removed again if the body fails."""
    directory = Path(folder)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"The folder “{folder}” for the results cannot be made: {error}.") from error
    token = uuid.uuid4().hex[:8]
    named: list[Path] = []

    def new_file(name: str) -> Path:
        named.append(directory / f"{token}-{name}")
        return named[-1]

    try:
        yield new_file
    except BaseException:
        for path in named:
            path.unlink(missing_ok=True)
        raise
