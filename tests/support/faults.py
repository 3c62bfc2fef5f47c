# SPDX-License-Identifier: GPL-3.0-or-later
"""The real backend with a fault. Usage, in the backend's Python: python faults.py FAULT FOLDER

FOLDER gets a file with the fault's name when it strikes, and is asked for one called “go on” by those that wait.
The fault “gate” is none: generation waits as `gate.Gate` says, and whenever it says so.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diffposetalk.server import jsonrpc, process
from diffposetalk.server.backend import Backend, method
from diffposetalk.server.methods import session

if TYPE_CHECKING:
    from diffposetalk.generation.course import Course
    from diffposetalk.generation.window import WindowSampler

FAULT, FOLDER = sys.argv[1], Path(sys.argv[2])
GARBAGE = {
    "text": b"Welcome to the library!\n",
    "half": b'{"jsonrpc": "2.0", "id": 3, "res',
    "long": b"x" * (1 << 24) + b"y" * 100,
}


def strike() -> bool:
    """Whether the fault strikes: the first time only."""
    if (FOLDER / FAULT).exists():
        return False
    (FOLDER / FAULT).touch()
    return True


def hold() -> None:
    """Wait until told to go on."""
    while not (FOLDER / "go on").exists():
        time.sleep(0.02)


def halt_while_writing() -> None:
    """A take is half on the disk when the process stands still."""
    from diffposetalk.files import whole_file

    replace = whole_file.os.replace

    class HoldingOs:
        """`os`, but for the moment when a finished file gets its name."""

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def replace(self, part: str, path: Path) -> None:
            if "take-" in Path(path).name and strike():
                hold()
            replace(part, path)

    real = whole_file.os
    whole_file.os = HoldingOs()  # type: ignore[assignment]


def after_steps(happen: Callable[[WindowSampler, Course, int], None]) -> None:
    """Let something happen after each step of a window, which is given its sampler, its first course and its number."""
    from diffposetalk.generation.window import WindowSampler

    on_step = WindowSampler._on_step

    def stepped(self: WindowSampler, courses: list[Course], done: int, total: int) -> None:
        on_step(self, courses, done, total)
        happen(self, courses[0], done)

    WindowSampler._on_step = stepped  # type: ignore[method-assign]


def at_the_second_step(happen: Callable[[], None]) -> None:
    """Let something happen in the midst of a window."""
    after_steps(lambda sampler, course, done: happen() if done == 2 and strike() else None)


@functools.cache  # once for a process, which may load several models
def wait_at_the_gate() -> None:
    """Let each step of a window wait while the gate is closed for it."""

    def wait(sampler: WindowSampler, course: Course, done: int) -> None:
        while (FOLDER / f"window {course.window}").exists():
            sampler.check()  # it may have been cancelled
            time.sleep(0.01)

    after_steps(wait)


def lose_the_device() -> None:
    """What PyTorch raises when a GPU has gone, in the words of CUDA."""
    import torch

    raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")


def say_garbage() -> None:
    """Something that is not the protocol, in the protocol's place."""
    connection.writer.write(GARBAGE[FAULT.removeprefix("garbage-")])
    connection.writer.flush()
    if FAULT == "garbage-half":
        connection.writer.close()


class Connection(jsonrpc.Connection):
    """The connection, for faults to speak into."""

    def __init__(self, *arguments: object) -> None:
        global connection
        super().__init__(*arguments)  # type: ignore[arg-type]
        connection = self


connection: Connection
process.Connection = Connection  # type: ignore[misc]
if FAULT == "slow-start":
    if strike():
        hold()
elif FAULT == "writing":
    halt_while_writing()
else:

    @method(long=True)
    def load_model(
        backend: Backend, call: jsonrpc.Call, *, model: str | None = None, device: str = "auto"
    ) -> object:
        """Load the model as ever, and put the fault in place; torch is there only now."""
        if FAULT == "loading" and strike():
            hold()
        told = session.load_model(backend, call, model=model, device=device)
        if FAULT == "lost-device":
            at_the_second_step(lose_the_device)
        elif FAULT == "gate":
            wait_at_the_gate()
        elif FAULT == "hanging":
            at_the_second_step(hold)
        elif FAULT.startswith("garbage-"):
            at_the_second_step(say_garbage)
        return told


process.serve()
