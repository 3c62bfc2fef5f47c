# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON-RPC 2.0 over a pair of byte streams, one message a line (https://www.jsonrpc.org/specification).

Nothing here knows what the methods do. Requests are read on the calling thread, where quick methods are
answered at once; methods marked long run one at a time, in order, on a worker thread, and those marked aside, too, on
another. So a call can be cancelled, and others answered, while one is running. Batches are not accepted: a line is
one message.
"""

from __future__ import annotations

import inspect
import json
import logging
import queue
import threading
import time
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

from ..config import fits
from ..errors import DiffPoseTalkError, one_line

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
REQUEST_CANCELLED = -32800  # as the Language Server Protocol numbers it

MAX_LINE_BYTES = 1 << 20  # paths and settings travel here, arrays do not

log = logging.getLogger(__name__)

RequestId = str | int | None


class RpcError(Exception):
    """An error reply: a code, a message for people and a kind for programs."""

    def __init__(self, code: int, message: str, kind: str) -> None:
        self.message = one_line(message)
        super().__init__(self.message)
        self.code = code
        self.kind = kind


_unparsed = partial(RpcError, PARSE_ERROR, kind="parse_error")
_invalid = partial(RpcError, INVALID_REQUEST, kind="invalid_request")
_unfit = partial(RpcError, INVALID_PARAMS, kind="invalid_params")
CANCELLED = RpcError(REQUEST_CANCELLED, "Cancelled.", "cancelled")


@dataclass
class Call:
    """One request being answered; what a method needs to know of it."""

    id: RequestId
    wants_reply: bool
    send: Callable[[dict[str, Any]], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: bool = False

    def notify(self, method: str, **params: Any) -> None:
        """Tell the client about this call while it runs; the call's id goes along."""
        self.send({"jsonrpc": "2.0", "method": method, "params": {"id": self.id, **params}})


@dataclass(frozen=True)
class Method:
    """A method: `function(call, *, ...)`, whose keyword parameters and their types are the params object."""

    function: Callable[..., Any]
    long: bool = False
    aside: bool = False
    """It may take a while, but does not wait for long ones."""


_Waiting = queue.SimpleQueue[tuple[Call, Method, dict[str, Any]] | None]


def read_lines(stream: BinaryIO, limit: int = MAX_LINE_BYTES) -> Iterator[bytes | None]:
    """Lines of a stream without their ends; None for a line longer than `limit` bytes, which is skipped."""
    while line := stream.readline(limit + 1):
        if len(line) <= limit or line.endswith(b"\n"):
            yield line.rstrip(b"\r\n")
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(limit + 1)
        yield None


def parse_message(line: bytes | None) -> dict[str, Any]:
    """A request as a dictionary whose `method` and `id` have the right types. Raises RpcError."""
    if line is None:
        raise _unparsed(f"The message is longer than {MAX_LINE_BYTES} bytes.")
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise _unparsed("The message is not valid UTF-8.") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _unparsed(f"The message is not valid JSON: {reason}.") from None
    if isinstance(message, list):
        raise _invalid("Batches are not accepted: send one request a line.")
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise _invalid('The message is not a JSON-RPC 2.0 object ("jsonrpc": "2.0").')
    return message


def bind_params(function: Callable[..., Any], params: Any) -> dict[str, Any]:
    """A params object as a method's keyword arguments.

    The fields of a parameter whose type has `from_params` are parameters of their own, which it is made from.

    Raises:
        RpcError: naming what is wrong. DiffPoseTalkError: a value that `from_params` refuses.
    """
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise _unfit("The params must be an object, by name.")
    left, bound = dict(params), {}
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if hasattr(hints[name], "from_params"):
            own = typing.get_type_hints(hints[name])
            values = {field: left.pop(field) for field in own if field in left}
            for field, value in values.items():
                _check_type(field, value, own[field])
            bound[name] = hints[name].from_params(values)
        elif name in left:
            bound[name] = left.pop(name)
            _check_type(name, bound[name], hints[name])
        elif parameter.default is inspect.Parameter.empty:
            raise _unfit(f"The parameter “{name}” is missing.")
    for name in left:
        raise _unfit(f"There is no parameter “{name}”.")
    return bound


def _check_type(name: str, value: Any, hint: Any) -> None:
    if not fits(value, hint):
        wanted = str(getattr(hint, "__name__", hint))
        raise _unfit(f"The parameter “{name}” must be of type {wanted}.")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


class Connection:
    """Answers the requests of one client until its stream ends or `close` is called.

    methods: by name. explain: turns any exception of a method into the error to send. `lost` is set when
    nobody reads the answers any more.
    """

    def __init__(
        self,
        reader: BinaryIO,
        writer: BinaryIO,
        methods: dict[str, Method],
        explain: Callable[[Exception], RpcError],
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.methods = methods
        self.explain = explain
        self.closing = False
        self.lost = threading.Event()
        self._write_lock = threading.Lock()
        self._calls_lock = threading.Lock()
        self._calls: dict[RequestId, Call] = {}
        self._waiting: dict[bool, _Waiting] = {aside: queue.SimpleQueue() for aside in (False, True)}
        self._workers = [
            threading.Thread(target=self._work, args=(waiting,), name="calls", daemon=True)
            for waiting in self._waiting.values()
        ]

    def serve(self) -> None:
        """Read and answer until the client's stream ends or a method asks to close."""
        for worker in self._workers:
            worker.start()
        for line in read_lines(self.reader):
            if line == b"":
                continue
            self._receive(line)
            if self.closing:
                return

    def close(self) -> None:
        """Read no further request once the present one is answered."""
        self.closing = True

    def stop(self, seconds: float) -> None:
        """Cancel all calls and give the running one this long to tidy up."""
        self._cancel_all()
        for waiting in self._waiting.values():
            waiting.put(None)
        deadline = time.monotonic() + seconds
        for worker in self._workers:
            if worker.is_alive():
                worker.join(max(0.0, deadline - time.monotonic()))

    def cancel(self, request_id: RequestId) -> bool:
        """Cancel a call; one that still waits is answered at once. Returns whether there was such a call."""
        with self._calls_lock:
            call = self._calls.get(request_id)
            if call is None:
                return False
            call.cancelled.set()
            if call.started:
                return True
            del self._calls[request_id]
        self._send(self._refusal(request_id, CANCELLED))
        return True

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"
        with self._write_lock:
            try:
                self.writer.write(data)
                self.writer.flush()
            except (OSError, ValueError):  # nobody listens any more: let the running call end
                self.lost.set()
        if self.lost.is_set():
            self._cancel_all()

    def _cancel_all(self) -> None:
        with self._calls_lock:
            for call in self._calls.values():
                call.cancelled.set()

    def _receive(self, line: bytes | None) -> None:
        request_id: RequestId = None
        wants_reply = True
        try:
            message = parse_message(line)
            wants_reply = "id" in message
            given_id = message.get("id")
            if isinstance(given_id, bool) or not isinstance(given_id, str | int | None):
                raise _invalid("The id must be a string or an integer.")
            request_id = given_id
            name = message.get("method")
            if not isinstance(name, str):
                raise _invalid("The request names no method.")
            method = self.methods.get(name)
            if method is None:
                raise RpcError(METHOD_NOT_FOUND, f"There is no method “{name}”.", "method_not_found")
            params = bind_params(method.function, message.get("params"))
            call = Call(request_id, wants_reply, self._send)
            if method.long or method.aside:
                with self._calls_lock:
                    if call.id in self._calls:
                        raise _invalid("A call with this id is still running.")
                    self._calls[call.id] = call
                self._waiting[method.aside].put((call, method, params))
                return
        except Exception as error:  # a message that was not foreseen does not end the process
            if wants_reply or not isinstance(error, RpcError | DiffPoseTalkError):
                self._send(self._refusal(request_id, error))
            return
        self._send_reply(call, self._run(call, method, params))

    def _work(self, waiting: _Waiting) -> None:
        while (item := waiting.get()) is not None:
            call, method, params = item
            with self._calls_lock:
                if self._calls.get(call.id) is not call:  # cancelled while it waited, and answered
                    continue
                call.started = True
            reply = self._run(call, method, params)
            with self._calls_lock:
                del self._calls[call.id]
            self._send_reply(call, reply)

    def _run(self, call: Call, method: Method, params: dict[str, Any]) -> dict[str, Any]:
        try:
            if call.cancelled.is_set():
                raise CANCELLED
            return {"jsonrpc": "2.0", "id": call.id, "result": method.function(call, **params)}
        except Exception as error:
            return self._refusal(call.id, error)

    def _send_reply(self, call: Call, reply: dict[str, Any]) -> None:
        if call.wants_reply:
            self._send(reply)

    def _refusal(self, request_id: RequestId, error: Exception) -> dict[str, Any]:
        rpc_error = error if isinstance(error, RpcError) else self.explain(error)
        member = {"code": rpc_error.code, "message": rpc_error.message, "data": {"kind": rpc_error.kind}}
        return {"jsonrpc": "2.0", "id": request_id, "error": member}
