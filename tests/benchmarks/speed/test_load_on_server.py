"""Load on the real server."""

import json
import subprocess
import sys

import cv2
import pytest
from helpers.served import served
from helpers.tiny_model import write_tiny
from skimage import data

from emonet_deploy.benchmarks.speed.serving_load import post_load

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
