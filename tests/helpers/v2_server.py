"""A server of the inference protocol v2 that answers as a session does, or misbehaves to order."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from emonet_deploy.runtime.metadata import METADATA_KEY

TYPES = {"UINT8": np.uint8, "FP32": np.float32}


class V2Server(ThreadingHTTPServer):
    """Serves ``session`` as the model `emonet`.

    Each entry of ``script`` is what the next request gets instead of an answer: a number is that
    status, ``hang`` is silence, ``close`` a connection closed, bytes are a body. ``change`` may
    change the outputs.
    """

    daemon_threads = True

    def __init__(self, session, max_batch=8):
        super().__init__(("127.0.0.1", 0), Handler)
        self.session, self.max_batch = session, max_batch
        self.record = session.info.to_json()
        self.script = []
        self.requests = []
        self.change = lambda outputs: outputs
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v2/models/emonet"

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.misbehave() or self.path != "/v2/models/emonet/config":
            return self.answer(404, b'{"error":"Request for unknown model"}')
        parameters = {METADATA_KEY: {"string_value": self.server.record}}
        config = {"backend": "fake", "max_batch_size": self.server.max_batch}
        if self.server.record:
            config["parameters"] = parameters
        return self.answer(200, json.dumps(config).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(len(body))
        if self.misbehave():
            return None
        start = int(self.headers["Inference-Header-Content-Length"])
        (tensor,) = json.loads(body[:start])["inputs"]
        shape = tensor["shape"]
        images = np.frombuffer(body[start:], TYPES[tensor["datatype"]]).reshape(shape)
        assert len(images) <= self.server.max_batch
        described, parts = [], []
        for name, values in self.server.change(self.server.session.run(images)).items():
            values = np.ascontiguousarray(values.reshape(len(images), -1))  # N x 1 for a number
            described.append({
                "name": name, "datatype": "FP32", "shape": values.shape,
                "parameters": {"binary_data_size": values.nbytes},
            })  # fmt: skip
            parts.append(values.tobytes())
        head = json.dumps({"outputs": described}).encode()
        return self.answer(
            200, head + b"".join(parts), **{"Inference-Header-Content-Length": len(head)}
        )

    def misbehave(self):
        act = self.server.script.pop(0) if self.server.script else None
        if act == "hang":
            self.server.closing.wait(20)
        if act in ("hang", "close"):
            self.close_connection = True
        elif isinstance(act, int):
            self.answer(act, b'{"error":"Exceeds maximum queue size"}')
        elif act is not None:
            self.answer(200, act)
        return act is not None

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in ({"Content-Length": len(body)} | headers).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Tests speak for themselves."""


@contextmanager
def serving_v2(session, max_batch=8):
    with V2Server(session, max_batch) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
