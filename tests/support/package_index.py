# SPDX-License-Identifier: GPL-3.0-or-later
"""A package index (PEP 503) of the wheels in a folder, on this machine; a proxy that knows no other host, too."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


class PackageIndex:
    """Answers until it is closed.

    asked: what was asked for, as it stood in the request: a path, or a whole address where this is the proxy.
    held: name of a wheel of which no more than the first half is sent until `go_on` is set; `halfway` says that it is.
    """

    def __init__(self, wheels: Path, held: str = "") -> None:
        self.asked: list[str] = []
        self.halfway, self.go_on = threading.Event(), threading.Event()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                name = Path(urlsplit(self.path).path).name
                wheel = wheels / name
                if wheel.is_file():
                    self.answer(wheel.read_bytes(), held=name == held)
                    return
                found = [path for path in wheels.glob("*.whl") if path.name.split("-")[0] == name]
                links = [
                    f'<a href="/files/{w.name}#sha256={hashlib.sha256(w.read_bytes()).hexdigest()}">{w.name}</a>'
                    for w in found
                ]
                self.answer("\n".join(links).encode(), 200 if links else 404)

            def answer(self, body: bytes, status: int = 200, held: bool = False) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                half = len(body) // 2
                self.wfile.write(body[:half])
                self.wfile.flush()
                if held:
                    index.halfway.set()
                    index.go_on.wait()
                self.wfile.write(body[half:])

            def log_message(self, *_: object) -> None:
                """Nothing: the tests' output is theirs."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign] - a client that was killed
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def times(self, name: str) -> int:
        """How often a file was asked for."""
        return sum(urlsplit(path).path.endswith(f"/{name}") for path in self.asked)

    def close(self) -> None:
        """Answer nobody any more."""
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
