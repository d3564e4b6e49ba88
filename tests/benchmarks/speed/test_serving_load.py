"""Load on a small web server of known answers, and what is made of it."""

import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import SimpleNamespace

import pytest
from helpers.served import free_port

from emonet_deploy.benchmarks.speed import serving_load
from emonet_deploy.benchmarks.speed.serving_load import (
    ROUNDS,
    Beside,
    Load,
    measure_beside,
    post_load,
    serve_row,
    server_memory,
)

BATCHES = 'emonet_batch_size_{}{{stage="Read_1",connection="x"}} {}\n'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        with server.lock:
            server.posts.append((self.path, body, self.headers.get("X-Test"), self.client_address))
        if body == b"hang up":
            self.close_connection = True
            return
        self.answer(503 if body == b"busy" else 422 if body == b"bad" else 200, b"")

    def do_GET(self):
        self.server.gets.append(self.path)
        text = self.server.told.pop(0) if self.server.told else None
        self.answer(404 if text is None else 200, (text or "").encode())

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """The tests look at what was received."""


@contextmanager
def serving(*told):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.posts, server.gets, server.told = [], [], list(told)
    server.lock = threading.Lock()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_answer_is_counted_by_its_status():
    with serving() as server:
        bodies = [b"good", b"bad", b"good", b"busy"]
        load = post_load(server.url + "/v1/crop", bodies, 1, 0.1, {"X-Test": "yes"})
        sent = [body for _, body, _, _ in server.posts]
        expected = [bodies[(1 + i) % 4] for i in range(len(sent))]
        assert sent == expected  # in turns
        assert {(path, header) for path, _, header, _ in server.posts} == {("/v1/crop", "yes")}
        assert len({address for *_, address in server.posts}) == 1  # one connection, kept open
        assert len(load.latencies) == sent.count(b"good")
        assert load.errors == {422: sent.count(b"bad"), 503: sent.count(b"busy")}
        assert load.seconds >= 0.1
        assert load.batch is None
        assert all(0 < ms < 1000 * load.seconds for ms in load.latencies)


def test_each_connection_begins_with_a_body_of_its_own():
    with serving() as server:
        post_load(server.url + "/x", [b"0", b"1", b"2"], 3, 0.05)
        first = {}
        for _, body, _, address in server.posts:
            first.setdefault(address, body)
    assert sorted(first.values()) == [b"0", b"1", b"2"]


def test_no_answer_is_counted_and_the_next_request_connects_anew():
    with serving() as server:
        load = post_load(server.url + "/x", [b"good", b"hang up"], 1, 0.1)
    assert load.errors[0] > 1
    assert abs(len(load.latencies) - load.errors[0]) <= 1


def test_no_server_is_no_answer():
    load = post_load(f"http://127.0.0.1:{free_port()}/v1/crop", [b"?"], 2, 0.1)
    assert set(load.errors) == {0}
    assert (load.latencies, load.cpu, load.batch, load.memory) == ((), None, None, None)


def mosec(requests, batches):
    other = 'emonet_batch_size_sum{stage="Model_2",connection="x"} 1000\n'
    return BATCHES.format("sum", requests) + other + BATCHES.format("count", batches)


def triton(requests, batches):
    return f'{{"model_stats":[{{"inference_count":{requests},"execution_count":{batches}}}]}}'


@pytest.mark.parametrize(
    ("route", "asked", "told", "batch"),
    [
        ("/v1/crop", "/metrics", [mosec(10, 5), mosec(40, 15)], 3.0),
        ("/v1/crop", "/metrics", [mosec(10, 5), mosec(10, 5)], None),
        ("/v1/crop", "/metrics", [mosec(10, 5), "other_metrics 1\n"], None),
        ("/v1/crop", "/metrics", ["", mosec(10, 5)], None),
        ("/v1/crop", "/metrics", ["emonet_up 1\n", mosec(4, 2)], 2.0),
        ("/v2/models/m/infer", "/v2/models/m/stats", [triton(10, 5), triton(45, 15)], 3.5),
        ("/v2/models/m/infer", "/v2/models/m/stats", ["{}", triton(45, 15)], None),
        ("/v2/models/m/infer", "/v2/models/m/stats",
         ['{"inference_count":1}', triton(45, 15)], None),
    ],
)  # fmt: skip
def test_the_mean_batch_is_of_what_was_run_meanwhile(route, asked, told, batch):
    with serving(*told) as server:
        load = post_load(server.url + route, [b"x"], 1, 0.0)
        assert server.gets == [asked] * 2
    assert load.batch == batch


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="Linux tells of its processes")
def test_the_server_here_is_found_by_its_port():
    with serving() as server:
        load = post_load(server.url + "/x", [b"x"], 2, 0.2)
        assert 0 < load.cpu < 10  # this process is the server, and all its children
        assert load.memory == pytest.approx(server_memory(server.url), rel=0.2)
        assert load.memory > 20
        assert server_memory(server.url.replace("127.0.0.1", "localhost")) > 20
        assert server_memory(f"http://example.invalid:{server.server_port}/x") is None
    assert server_memory(server.url) is None


@pytest.mark.parametrize(
    ("load", "throughput", "cpu"),
    [
        (Load(2.0, (10.0,) * 20, {503: 3, 0: 2}, cpu=5.0), 10.0, 200.0),
        (Load(0.5, (10.0,), cpu=0.25), 2.0, 250.0),
        (Load(4.0, (), cpu=0.25), 0.0, 250.0),
        (Load(4.0, (1.0,)), 0.25, None),
    ],
)
def test_throughput_is_of_good_answers_cpu_time_of_any(load, throughput, cpu):
    assert load.throughput == throughput
    assert load.cpu_per_request == cpu


def test_ratios_are_medians_of_the_rounds():
    loads = [Load(2.0, (10.0,) * n, {503: 1}, cpu=cpu) for n, cpu in ((20, 2.1), (16, 1.7), (2, 3))]
    beside = Beside(tuple(loads), alone=(10.0, 10.0, 10.0), alone_cpu=(100.0, 50.0, 100.0))
    assert beside.throughput_ratio == pytest.approx(0.8)  # of 1.0, 0.8, 0.1
    assert beside.cpu_ratio == pytest.approx(2.0)  # of 100 / 100, 100 / 50, 1000 / 100
    row = serve_row("http://x/v1/crop", 16, beside)
    assert (row.requests, row.errors, row.p99_ms) == (38, 3, 10.0)


def test_a_row_has_the_figures_of_all_rounds():
    # 101 latencies of 0 to 100 ms, so that each percentile is its own number.
    loads = (
        Load(1.0, tuple(map(float, range(51))), {0: 2, 422: 1}, 2.7, 3.0, 300.0),
        Load(2.0, tuple(map(float, range(51, 101))), {}, 5.0, 5.0, 500.0),
        Load(1.0, (), {0: 1}),
    )
    row = serve_row("http://x", 4, Beside(loads, (100.0, 50.0, 10.0), (20.0, 40.0, 10.0)))
    assert (row.url, row.connections, row.requests, row.errors) == ("http://x", 4, 101, 4)
    assert (row.p50_ms, row.p90_ms, row.p99_ms) == (50, 90, 99)
    assert row.throughput == 25  # of 51, 25 and 0
    assert (row.batch, row.server_mb) == (4, 500)
    assert row.server_cpu_ms == pytest.approx(75)  # of 2700 / 54 and 5000 / 50
    assert (row.alone_throughput, row.alone_cpu_ms) == (50, 20)
    assert row.throughput_ratio == 0.5
    assert row.cpu_ratio == pytest.approx(2.5)


def test_of_a_server_elsewhere_that_never_answers_little_is_known():
    row = serve_row("http://x", 1, Beside((Load(1.0, (), {0: 1}),), (10.0,), (10.0,)))
    assert (row.p50_ms, row.p90_ms, row.p99_ms, row.batch) == (None,) * 4
    assert (row.server_cpu_ms, row.server_mb, row.cpu_ratio) == (None,) * 3
    assert (row.throughput, row.throughput_ratio, row.errors) == (0, 0, 1)


def test_the_model_alone_is_run_between_loads(monkeypatch):
    """Each run takes two seconds on the clock, and half of one of the processor."""
    now, order = [0.0], []
    clocks = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0] / 4)
    monkeypatch.setattr(serving_load, "time", clocks)
    loads = (Load(float(i), ()) for i in count(1))

    def serve():
        order.append("serve")
        now[0] += 100
        return next(loads)

    def alone():
        order.append("alone")
        now[0] += 2
        return 8

    found = measure_beside(serve, alone, 5.0)
    # Three runs are the first to take five seconds.
    assert order == ["alone", *["serve", "alone", "alone", "alone"] * ROUNDS]
    assert [load.seconds for load in found.loads] == [1, 2, 3]
    assert found.alone == (4.0,) * 3
    assert found.alone_cpu == (62.5,) * 3
