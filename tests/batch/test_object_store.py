"""`emonet batch` from and to an object store: moto's server speaks S3 on this machine."""

import json
import os
import subprocess
import sys
import time

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.batch.files.filesystems import filesystem_of
from emonet_deploy.cli import app

pytest.importorskip("ray")
moto = pytest.importorskip("moto.server")
pytestmark = pytest.mark.slow

PICTURES = 80


@pytest.fixture
def lake(monkeypatch):
    """A function that names an address in a bucket, as `s3://lake/...`."""
    server = moto.ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "me"), ("AWS_SECRET_ACCESS_KEY", "mine"),
        ("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_EC2_METADATA_DISABLED", "true"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    query = f"endpoint_override={host}:{port}&scheme=http&allow_bucket_creation=true"
    system, _ = filesystem_of(f"s3://lake?{query}")
    system.create_dir("lake")
    yield lambda path: f"s3://lake/{path}?{query}"
    server.stop()


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(2)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for i in range(PICTURES):
        picture = cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (128, 128))
        cv2.imwrite(str(tmp_path / "in" / ("deep" if i % 2 else "") / f"{i:02}.png"), picture)
    damaged = tmp_path / "in" / "04.png"
    damaged.write_bytes(damaged.read_bytes()[:700])
    write_tiny(tmp_path / "m.onnx", seed=3)
    return tmp_path / "in"


def start(model, *more):
    command = [sys.executable, "-m", "emonet_deploy.cli", "batch", *more, "--model", str(model)]
    return subprocess.Popen(
        [*command, "--device", "cpu", "--detector", "none", "--block", "8"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip


def test_a_killed_run_over_a_lake_goes_on_and_says_what_predict_says(lake, pictures):
    model, root = pictures.parent / "m.onnx", str(pictures)
    system, _ = filesystem_of(lake(""))
    for path in pictures.rglob("*.png"):
        with system.open_output_stream(f"lake/in/{path.relative_to(pictures)}") as stream:
            stream.write(path.read_bytes())
    named = (lake("in"), lake("in/gone.png"), "--out", lake("faces"))
    process = start(model, *named)
    committed = "lake/faces/_checkpoint"
    end = time.monotonic() + 200
    while not any(
        info.path.endswith(".parquet") and ".pending" not in info.path
        for info in system.get_file_info(selector(committed))
    ):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)
    process.kill()
    process.communicate()

    said, told = start(model, *named).communicate(timeout=300)
    files = PICTURES + 1
    assert said.startswith(f"{files} of {files} files, {PICTURES - 1} faces, in s3://lake/faces"), (
        told
    )
    assert f"error: 2 of {files} files could not be read" in told
    assert system.get_file_info("lake/faces/_SUCCESS").is_file
    rows = pq.read_table("lake/faces/rows", filesystem=system).to_pylist()
    assert sorted(row["id"] for row in rows) == list(range(files))
    reasons = {row["file"]: row["error"] for row in rows if row["error"]}
    assert "damaged" in reasons[lake("in/04.png")]
    assert set(reasons) == {lake("in/04.png"), lake("in/gone.png")}

    json_file = pictures.parent / "said.json"
    CliRunner().invoke(
        app,
        ["predict", root, "--model", str(model), "--device", "cpu", "--detector", "none",
         "--json", str(json_file)],
    )  # fmt: skip
    predicted = {face["file"]: face["valence"] for face in json.loads(json_file.read_text())}
    mine = {row["file"]: row["faces"][0]["valence"] for row in rows if row["faces"]}
    assert mine == {lake(f"in{name.removeprefix(root)}"): v for name, v in predicted.items()}

    found = CliRunner().invoke(app, ["summarize", lake("faces"), "--by", "folder"])
    assert found.exit_code == 0, found.stderr
    assert len(found.stdout.splitlines()) == 3


def selector(path):
    from pyarrow import fs

    return fs.FileSelector(path, allow_not_found=True)
