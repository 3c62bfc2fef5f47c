# SPDX-License-Identifier: GPL-3.0-or-later
"""A course of backend calls that is polled; it knows nothing of windows or operators.

Jobs have the backend one after another, in the order in which they are first polled: so each finds the model that it
loaded, and one that hangs, is cancelled or kills the backend takes no other job along.
"""

import atexit
import functools
import shutil
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..client import BackendClient, BackendError, Call
from ..data.errors import UserError
from ..install.course import Job, Steps
from . import session, sound_file

DEVICE_LOST = "device_lost"  # as the backend calls it
PROBE_SECONDS = 120.0  # for a recording's length and digest
CANCEL_SECONDS = 5.0  # after which a backend that does not give a call up is killed
SILENCE_SECONDS = 300.0  # after which a backend that says nothing during a call is killed
LOAD_SECONDS = 600.0  # the same while a model is loaded

_line: list["BackendJob"] = []  # the job that has the backend, and those that wait for it


class BackendJob(Job):
    """A job that waits for the backend now and then."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._client: BackendClient | None = None
        self._call: Call | None = None
        self._readable: dict[str, str] = {}  # by the recording's own path

    def _course(self) -> Steps:
        text = self.text
        _line.append(self)
        while _line[0] is not self:
            self.text = rpt_("Waiting for another job")
            _line[0].poll()  # perhaps nobody else does
            yield
        self.text = text
        self._client = None  # the one of before may have been stopped meanwhile
        yield from self._run()

    def _attend(self) -> None:
        if self._client is not None:
            self._client.poll()
            if self._cancelled_at is not None and time.monotonic() - self._cancelled_at > CANCEL_SECONDS:
                self._client.kill()
        if self._call is None:
            super()._attend()

    def cancel(self) -> None:
        before = self.cancelling
        super().cancel()
        if self.cancelling and not before and self._call is not None:
            self._call.cancel()

    def _end(self, state: str, failure: Exception | None = None) -> None:
        if isinstance(failure, BackendError) and failure.kind == DEVICE_LOST and self._client is not None:
            self._client.kill()  # a process never gets a lost device back
        if self in _line:
            _line.remove(self)
        super()._end(state, failure)
        if "_folder" in self.__dict__:
            shutil.rmtree(self._folder, ignore_errors=True)

    @functools.cached_property
    def _folder(self) -> Path:
        """A private folder for the job's files; it goes with the job. Raises UserError."""
        return private_folder()

    def _backend(self) -> BackendClient:
        """The backend, started when it does not run. Raises UserError or BackendError."""
        if self._client is None:
            self._client = session.client()
        return self._client

    def start_backend(self) -> Steps:
        """Start the backend where it does not run, and wait until it has answered. Raises UserError or BackendError."""
        greeting, text = self._backend().greeting, self.text
        if not greeting.done:
            self.text = rpt_("Starting the backend")
        yield from self._wait_for(greeting)
        self.text = text

    def ask(
        self, method: str, params: dict[str, Any], timeout: float | None = None, on_notice: Any = None
    ) -> Generator[None, None, dict[str, Any]]:
        """Greet the backend, call a method and wait; the generator's value is the answer.

        Args:
            timeout: seconds of silence after which the backend counts as hung and is killed; None is
                `SILENCE_SECONDS`.

        Raises:
            UserError: no backend is set up.
            BackendError: the call failed, or the job was cancelled.
        """
        yield from self.start_backend()
        client = self._backend()
        call = client.call(method, params, SILENCE_SECONDS if timeout is None else timeout, on_notice)
        yield from self._wait_for(call)
        return call.result

    def _wait_for(self, call: Call) -> Steps:
        """Wait for a call; afterwards its result can be taken without an error."""
        self._call = call
        if self.cancelling:
            call.cancel()
        while not call.done:
            yield
        self._call = None
        call.result  # noqa: B018 - raises the call's error
        if self.cancelling:
            raise BackendError("Cancelled.", "cancelled")

    def readable(self, path: str) -> Generator[None, None, str]:
        """A recording that the backend can read: itself, or what Blender decodes of it; the generator's value.

        Raises:
            UserError: no backend is set up.
            BackendError: it is no recording of speech.
        """
        if path not in self._readable:
            try:
                yield from self.ask("probe_audio", {"path": path}, PROBE_SECONDS)
                self._readable[path] = path
            except BackendError as error:
                decoded = None
                if error.kind == "audio_unreadable":
                    decoded = sound_file.decoded(path, self._folder / f"sound-{len(self._readable)}")
                if decoded is None:
                    raise
                self._readable[path] = decoded
        return self._readable[path]

    def load_model(
        self, folder: Path, device: str, *, anew: bool = False
    ) -> Generator[None, None, dict[str, Any]]:
        """Load a model where it is not loaded, or `anew`; the generator's value is what the backend says of it."""
        client, asked = self._backend(), {"model": str(folder), "device": device}
        if anew or client.loaded is None or client.loaded[0] != asked:
            client.loaded = None
            self.text = rpt_("Loading the model")
            model = yield from self.ask("load_model", asked, LOAD_SECONDS)
            client.loaded = asked, model
        return client.loaded[1]

    def show_progress(self, method: str, params: dict[str, Any], low: float = 0.0, high: float = 1.0) -> None:
        """Move the bar from `low` to `high` as the backend's notices say; for `ask`."""
        if method == "progress" and not self.cancelling:
            self.progress = low + (high - low) * min(1.0, params["done"] / max(1, params["total"]))


def register() -> None:
    """Give jobs up when another file is loaded: what they are for is gone then."""
    bpy.app.handlers.load_pre.append(_cancel_all)


def unregister() -> None:
    """Give up every job at once, and end the backend."""
    bpy.app.handlers.load_pre.remove(_cancel_all)
    session.stop()
    for job in list(_line):
        job.cancel()
        job.poll()


@bpy.app.handlers.persistent
def _cancel_all(*_: object) -> None:
    for job in list(_line):
        job.cancel()


_session_folder: Path | None = None


def session_folder() -> Path:
    """A private folder that lasts as long as Blender runs. Raises UserError."""
    global _session_folder
    if _session_folder is None or not _session_folder.is_dir():
        _session_folder = private_folder()
        atexit.register(shutil.rmtree, _session_folder, ignore_errors=True)
    return _session_folder


def private_folder() -> Path:
    """A new folder of a job's own, in Blender's temporary folder or, where that is gone, in the system's.

    Raises:
        UserError: it cannot be made.
    """
    reason = ""
    for place in (bpy.app.tempdir, None):
        try:
            return Path(tempfile.mkdtemp(prefix="diffposetalk-", dir=place or None))
        except OSError as error:
            reason = error.strerror or str(error)
    raise UserError(
        f"No temporary folder can be made: {reason}. Free some space, or choose another folder in Preferences, File "
        "Paths, Temporary Files."
    )
