"""A web server on this machine that misbehaves to order."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Serves ``content`` under every path, one entry of ``script`` a request, then well.

    ``well``: with Range support. ``whole``: ignores Range. ``cut``: half of the rest, then closes.
    ``stall``: half of the rest, then silence. ``chunked``: without a length. ``redirect``: to
    another path here. A number: that status. Bytes: those instead of the content.
    """

    daemon_threads = True

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.script: list[str | int | bytes] = []
        self.requests: list[tuple[str, str | None]] = []
        self.headers: list[Any] = []
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self):
        asked = self.headers["Range"]
        self.server.requests.append((self.path, asked))
        self.server.headers.append(self.headers)
        act = self.server.script.pop(0) if self.server.script else "well"
        content = act if isinstance(act, bytes) else self.server.content
        if isinstance(act, int):
            return self.answer(act, b"<html>sorry</html>")
        if act == "redirect":
            return self.answer(302, b"", Location="/elsewhere")
        start = 0
        if asked and act != "whole" and not isinstance(act, bytes):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content) > 0:
            return self.answer(416, b"")
        rest = content[start:]
        keep = len(rest) // 2 if act in ("cut", "stall") else len(rest)
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self.answer(
            206 if start else 200,
            rest[:keep],
            length=None if act == "chunked" else len(rest),
            **(headers if start else {}),
        )
        if act == "stall":
            self.server.closing.wait(20)
        return None

    def answer(self, status, body, length=-1, **headers):
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_):
        """Tests speak for themselves."""


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    with Server(content) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
