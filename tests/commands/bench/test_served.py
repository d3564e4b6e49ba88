import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.benchmarks.speed.serving_load import ServedRow
from emonet_deploy.commands.bench.served import bench_served, served_table
from emonet_deploy.errors import InputError


class Server(BaseHTTPRequestHandler):
    """Answers everything, and keeps what came."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((self.path, dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_GET(self):
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.came, server.daemon_threads = [], True
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def bench(server, route, connections=(1,), token=None):
    session, said = FakeSession(), []
    rows = bench_served(server.url + route, session, connections, 0.02, token, said.append)
    return rows, session, said


def test_crops_are_posted_as_pictures_beside_batches_of_eight(server):
    rows, session, said = bench(server, "/v1/crop", (1, 3))
    assert [row.connections for row in rows] == [1, 3]
    assert said == ["1 connections", "3 connections"]
    assert set(session.batches) == {8}
    assert {path for path, *_ in server.came} == {"/v1/crop"}
    picture = cv2.imdecode(np.frombuffer(server.came[0][2], np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (256, 256, 3)
    # Colours as a camera has them: skin is redder than blue.
    assert picture[100:150, 100:150, 2].mean() > picture[100:150, 100:150, 0].mean()
    assert "Authorization" not in server.came[0][1]


def test_faces_are_searched_in_pictures_that_are_no_ready_crops(server):
    bench(server, "/v1/faces/")
    path, headers, body = server.came[0]
    assert path == "/v1/faces/"
    assert headers["Content-Type"] == "application/octet-stream"
    assert cv2.imdecode(np.frombuffer(body, np.uint8), 1).shape == (320, 320, 3)


def test_a_served_model_gets_requests_of_its_protocol(server):
    bench(server, "/v2/models/emonet", token="word")
    path, headers, body = server.came[0]
    assert path == "/v2/models/emonet/infer"
    assert headers["Authorization"] == "Bearer word"
    length = int(headers["Inference-Header-Content-Length"])
    (tensor,) = json.loads(body[:length])["inputs"]
    assert tensor["name"] == "image"
    assert tensor["shape"] == [1, 256, 256, 3]
    assert len(body) - length == 256 * 256 * 3


@pytest.mark.parametrize("route", ["", "/", "/v1", "/v1/crops", "/v2/models/", "/v2/health"])
def test_another_route_is_refused(server, route):
    with pytest.raises(InputError, match="no route of `emonet serve`"):
        bench(server, route)
    assert server.came == []


def test_the_table_has_dashes_for_what_is_not_known():
    known = {
        "connections": 16, "requests": 100, "errors": 2, "throughput": 12.34, "p50_ms": 1.26,
        "p90_ms": 2.0, "p99_ms": 3.0, "batch": 4.44, "server_cpu_ms": 5.678, "server_mb": 300.4,
        "alone_throughput": 20.0, "alone_cpu_ms": 4.321, "throughput_ratio": 0.617,
        "cpu_ratio": 1.314,
    }  # fmt: skip
    from dataclasses import fields

    blank = {field.name: None for field in fields(ServedRow)}
    table = served_table([ServedRow(**blank | known), ServedRow(**blank | {"requests": 0})])
    first, second = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert list(first.values()) == [
        16, 100, 2, "12.3", "1.3", "2.0", "3.0", "4.4", "5.68", "300", "20.0", "4.32", "0.62",
        "1.31",
    ]  # fmt: skip
    assert first["server CPU ms"] == "5.68"
    assert first["CPU ratio"] == "1.31"
    assert set(list(second.values())[3:]) == {"-"}
