# SPDX-License-Identifier: GPL-3.0-or-later
"""A course of steps that is polled: what Set Up Backend and every job with the backend have in common."""

import time
import traceback
from collections.abc import Generator

from bpy.app.translations import pgettext_rpt as rpt_

from ..client import BackendError
from ..data.errors import UserError

POLL_SECONDS = 0.05

Steps = Generator[None, None, None]


class Job:
    """Work under way; it knows nothing of windows or operators.

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
        self._cancelled_at: float | None = None
        self._steps = self._course()

    def _course(self) -> Steps:
        """What stands around `_run`: a queue, a lock."""
        yield from self._run()

    def _run(self) -> Steps:
        """The job's work; it yields wherever it waits. Raises UserError or BackendError."""
        raise NotImplementedError

    def _attend(self) -> None:
        """Look after what runs beside Blender, before each step. Raises BackendError when the job is to give up."""
        if self.cancelling:
            raise BackendError("Cancelled.", "cancelled")

    def _tidy_up(self) -> None:
        """Called once when the job has ended in any way; `state` says in which."""

    def _file_error(self, error: OSError) -> UserError:
        place = f" “{error.filename}”" if error.filename else ""
        reason = error.strerror or str(error)
        return UserError(f"A file{place} cannot be used: {reason}. Nothing was changed.")

    @property
    def cancelling(self) -> bool:
        return self._cancelled_at is not None

    def poll(self) -> str:
        """Go on as far as possible without waiting, and return the state."""
        if self.state != "running":
            return self.state
        try:
            self._attend()
            next(self._steps)
        except StopIteration:
            self._end("done")
        except BackendError as error:
            if error.kind == "cancelled" or self.cancelling:
                self._end("cancelled", BackendError("Cancelled. Nothing was changed.", "cancelled"))
            else:
                self._end("failed", error)
        except UserError as error:
            self._end("failed", error)
        except OSError as error:
            self._end("failed", self._file_error(error))
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

    def complete(self) -> None:
        """Wait until the job is done. Raises what it failed with."""
        self.wait()
        if self.failure is not None:
            raise self.failure

    def cancel(self) -> None:
        """Give up; the scene stays as it is. The job is over when `poll` says so, within seconds."""
        if self.state == "running" and not self.cancelling:
            self._cancelled_at = time.monotonic()
            self.text = rpt_("Cancelling")

    def _end(self, state: str, failure: Exception | None = None) -> None:
        self.state, self.failure = state, failure
        self.text = {"done": rpt_("Done"), "failed": rpt_("Failed"), "cancelled": rpt_("Cancelled")}[state]
        if state == "done":
            self.progress = 1.0
        self._steps.close()
        self._tidy_up()
