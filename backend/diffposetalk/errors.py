# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that are meant for people: a readable message and a machine-readable kind.

Everything that can go wrong because of what a user gave (a file, a setting, a model) raises a
`DiffPoseTalkError`. The command line prints its message as one line, the server sends message and kind to
Blender. Any other exception is a bug of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_MESSAGE = 1000  # characters


def one_line(text: str) -> str:
    """A message as one line: what a file or a caller is called cannot break the line, a terminal or a panel."""
    text = re.sub(
        r"\s+", " ", re.sub(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)
    )
    if len(text) > LONGEST_MESSAGE:
        text = f"{text[: LONGEST_MESSAGE // 2]} … {text[-LONGEST_MESSAGE // 2 :]}"
    return text.strip()


_OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc", "bad allocation"),
    "could not create a primitive",  # oneDNN, whose one reason for this here is memory
    *("ur_result_error_out_of_device_memory", "ur_result_error_out_of_resources"),  # Intel's GPUs
    "failed to map segment",  # of a library that is loaded
    "can't start new thread",
)


def memory_ran_out(error: BaseException) -> bool:
    """Whether an exception, of Python, the system or PyTorch, says that there is no memory left for what was asked."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | OSError | ImportError) and any(
        words in text for words in _OUT_OF_MEMORY
    )


class DiffPoseTalkError(Exception):
    """Something a user can understand and act on.

    message: one or two sentences saying what happened and what to do.
    kind: a short identifier such as ``audio_silent`` that programs may branch on; by default that of its class.
    """

    default_kind = "error"

    def __init_subclass__(cls, kind: str | None = None) -> None:
        cls.default_kind = kind or cls.default_kind

    def __init__(self, message: str, kind: str | None = None) -> None:
        self.message = one_line(message)
        super().__init__(self.message)
        self.kind = kind or self.default_kind


DAMAGED = (OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError)
"""What a file that is not there, damaged or of another kind makes its readers raise."""


@contextmanager
def refusing(refusal: DiffPoseTalkError, *kinds: type[Exception]) -> Iterator[None]:
    """Raise `refusal` instead of what the body raises of these kinds, by default of `DAMAGED`."""
    kinds = kinds or DAMAGED
    try:
        yield
    except kinds as error:
        raise refusal from error


class AudioError(DiffPoseTalkError, kind="audio_unreadable"):
    """The recording cannot be used; kinds begin with ``audio_``."""


class VideoError(DiffPoseTalkError, kind="video_unreadable"):
    """A video cannot be read, or no face can be tracked in it; kinds begin with ``video_`` or ``tracker_``."""


class ModelError(DiffPoseTalkError, kind="model_invalid"):
    """A model directory or head asset is missing, damaged or of the wrong sort."""


class MotionError(DiffPoseTalkError, kind="motion_invalid"):
    """A motion clip file cannot be read, or does not fit where it is used."""


class StyleError(DiffPoseTalkError, kind="style_invalid"):
    """A style preset, vector or reference motion cannot be used."""


class DataError(DiffPoseTalkError, kind="data_invalid"):
    """Training data cannot be used; kinds begin with ``data_``."""


class OutputError(DiffPoseTalkError, kind="output_unwritable"):
    """A result cannot be written where it was asked for."""


class DeviceError(DiffPoseTalkError, kind="device_unavailable"):
    """The requested compute device does not exist here, or ran out of memory."""


class ProtocolError(DiffPoseTalkError, kind="protocol_mismatch"):
    """Client and server do not speak the same protocol version."""


class Cancelled(DiffPoseTalkError, kind="cancelled"):  # noqa: N818 - a request of the user's, not an error
    """The user cancelled the call; raised by long calls at their next checkpoint."""

    def __init__(self, message: str = "Cancelled.", kind: str | None = None) -> None:
        super().__init__(message, kind)
