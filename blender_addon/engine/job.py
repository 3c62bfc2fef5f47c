# SPDX-License-Identifier: GPL-3.0-or-later
"""A course of backend calls that is polled; it knows nothing of windows or operators.

Jobs have the backend one after another, in the order in which they are first polled: so each finds the model that it
loaded, and one that hangs, is cancelled or kills the backend takes no other job along.
"""

import tempfile
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..client import BackendClient, BackendError, Call
from ..data.errors import UserError
from . import session

DEVICE_LOST = "device_lost"  # as the backend calls it
CANCEL_SECONDS = 5.0  # after which a backend that does not give a call up is killed
SILENCE_SECONDS = (
    300.0  # after which a backend that says nothing during a call is killed; it tells of every step
)
POLL_SECONDS = 0.05

Steps = Generator[None, None, None]

_line: list["BackendJob"] = []  # the job that has the backend, and those that wait for it


class BackendJob:
    """Work under way that waits for the backend now and then.

    state: "running", "done", "failed" or "cancelled".
    progress: 0 to 1.
    text: what is going on, for people.
    failure: why it failed or that it was cancelled; its text says what to do.
    """

    def __init__(self, text: str) -> None:
        self.state = "running"
        self.progress = 0.0
        self.text = text
        self.failure: Exception | None = None
        self._client: BackendClient | None = None
        self._call: Call | None = None
        self._cancelled_at: float | None = None
        self._steps = self._in_turn()

    def _in_turn(self) -> Steps:
        """Wait until the jobs before have ended, then go to work."""
        _line.append(self)
        while _line[0] is not self:
            self.text = rpt_("Waiting for another job")
            _line[0].poll()  # perhaps nobody else does
            yield
        self._client = None  # the one of before may have been stopped meanwhile
        yield from self._run()

    def _run(self) -> Steps:
        """The job's course; it yields wherever it waits. Raises UserError or BackendError."""
        raise NotImplementedError

    def _tidy_up(self) -> None:
        """Called once when the job has ended in any way."""

    @property
    def cancelling(self) -> bool:
        """Whether it was told to give up."""
        return self._cancelled_at is not None

    def poll(self) -> str:
        """Go on as far as possible without waiting, and return the state."""
        if self.state != "running":
            return self.state
        try:
            if self._client is not None:
                self._client.poll()
                if self._cancelled_at is not None and time.monotonic() - self._cancelled_at > CANCEL_SECONDS:
                    self._client.kill()
            if self.cancelling and self._call is None:
                raise BackendError("Cancelled.", "cancelled")
            next(self._steps)
        except StopIteration:
            self._end("done")
        except BackendError as error:
            if error.kind == "cancelled" or self.cancelling:
                self._end("cancelled", BackendError("Cancelled. Nothing was changed.", "cancelled"))
            else:
                if error.kind == DEVICE_LOST and self._client is not None:
                    self._client.kill()  # a process never gets a lost device back
                self._end("failed", error)
        except UserError as error:
            self._end("failed", error)
        except OSError as error:
            place = f" “{error.filename}”" if error.filename else ""
            reason = error.strerror or str(error)
            self._end("failed", UserError(f"A file{place} cannot be used: {reason}. Nothing was changed."))
        except Exception:
            traceback.print_exc()
            self._end("failed", UserError("An internal error occurred; see the system console."))
        except BaseException:
            self._end("failed", UserError("It was interrupted."))
            raise
        return self.state

    def wait(self, timeout: float | None = None) -> str:
        """Poll until the job has ended, or for `timeout` seconds, and return the state."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while self.poll() == "running" and (deadline is None or time.monotonic() < deadline):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self.cancel()
            raise
        return self.state

    def cancel(self) -> None:
        """Give up; the scene stays as it is. The job is over when `poll` says so, within seconds."""
        if self.state != "running" or self.cancelling:
            return
        self._cancelled_at = time.monotonic()
        self.text = rpt_("Cancelling")
        if self._call is not None:
            self._call.cancel()

    def _end(self, state: str, failure: Exception | None = None) -> None:
        self.state, self.failure = state, failure
        self.text = {"done": rpt_("Done"), "failed": rpt_("Failed"), "cancelled": rpt_("Cancelled")}[state]
        if state == "done":
            self.progress = 1.0
        if self in _line:
            _line.remove(self)
        self._steps.close()
        self._tidy_up()

    def _backend(self) -> BackendClient:
        """The backend, started when it does not run. Raises UserError or BackendError."""
        if self._client is None:
            self._client = session.client()
        return self._client

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
        client = self._backend()
        yield from self._wait_for(client.greeting)
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
