"""Load on the real server, and what is made of it."""

import json
import subprocess
import sys

import cv2
import pytest
from helpers.served import free_port, served
from helpers.tiny_model import write_tiny
from skimage import data

from emonet_deploy.benchmarks.speed.serving_load import Beside, Load, post_load, serve_row

pytest.importorskip("mosec")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.onnx", interface="image")


@pytest.fixture(scope="module")
def server(tmp_path_factory, model):
    with served(tmp_path_factory.mktemp("server"), model, "--timeout", 120) as running:
        yield running


def test_each_request_is_counted_once_as_an_answer_or_an_error(server):
    portrait = cv2.resize(data.astronaut()[30:230, 130:330], (256, 256))
    crop = cv2.imencode(".jpg", portrait[..., ::-1])[1].tobytes()
    before = server.stdout.read_text().count("\n")
    load = post_load(f"{server.url}/v1/crop", [crop, crop, b"no picture"], 4, 1.0)
    logged = server.stdout.read_text().count("\n") - before
    assert set(load.errors) == {422}
    assert len(load.latencies) + load.errors[422] == logged
    assert len(load.latencies) > 0
    assert 0 < load.cpu < 60
    assert 1 <= load.batch <= 4
    assert 100 < load.memory < 10_000


def test_no_server_is_no_answer():
    load = post_load(f"http://127.0.0.1:{free_port()}/v1/crop", [b"?"], 2, 0.1)
    assert set(load.errors) == {0}
    assert (load.latencies, load.cpu, load.batch, load.memory) == ((), None, None, None)


def test_ratios_are_medians_of_the_rounds():
    loads = [Load(2.0, (10.0,) * n, {503: 1}, cpu=cpu) for n, cpu in ((20, 2.1), (16, 1.7), (2, 3))]
    beside = Beside(tuple(loads), alone=(10.0, 10.0, 10.0), alone_cpu=(100.0, 50.0, 100.0))
    assert beside.throughput_ratio == pytest.approx(0.8)  # of 1.0, 0.8, 0.1
    assert beside.cpu_ratio == pytest.approx(2.0)  # of 100 / 100, 100 / 50, 1000 / 100
    row = serve_row("http://x/v1/crop", 16, beside)
    assert (row.requests, row.errors, row.p99_ms) == (38, 3, 10.0)


@pytest.mark.parametrize("route", ["/v1/crop", "/v1/faces"])
def test_the_command_prints_a_row_for_each_number_of_connections(server, model, tmp_path, route):
    done = subprocess.run(
        [
            sys.executable, "-m", "emonet_deploy.cli", "bench", str(model), "--serve",
            server.url + route, "--connections", "1,4", "--seconds", "0.3", "--json",
            str(tmp_path / "bench.json"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [row["connections"] for row in rows] == [1, 4]
    assert all(row["errors"] == 0 and row["requests"] > 0 for row in rows)
    assert all(row["cpu_ratio"] > 0 and row["throughput_ratio"] > 0 for row in rows)


def test_another_address_is_refused(server, model):
    done = subprocess.run(
        [sys.executable, "-m", "emonet_deploy.cli", "bench", str(model), "--serve", server.url],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "/v1/crop, /v1/faces or /v2/models/NAME" in done.stderr
