"""`emonet batch` on a real cluster of two nodes: workers, a node and the command are killed.

Nothing is missing, nothing is there twice, and the rows are what `emonet predict` says of the same
files. Whoever kills a driver leaves the cluster's processes behind: it lives in the test's own
process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.cli import app

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

PICTURES, DAMAGED, FRAMES = 239, 6, 5
FILES = PICTURES + 2  # a clip, and one that is not there


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    cluster.second = cluster.add_node(num_cpus=2)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(5)
    write_tiny(folder / "tiny.onnx", seed=3)
    (folder / "in").mkdir()
    pictures = []
    for i in range(PICTURES):
        pictures.append(cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (256, 256)))
        cv2.imwrite(str(folder / "in" / f"{i:03}.png"), pictures[-1])
    for path in sorted((folder / "in").iterdir())[:: PICTURES // DAMAGED][:DAMAGED]:
        path.write_bytes(path.read_bytes()[:900])
    mjpg = cv2.VideoWriter.fourcc(*"MJPG")
    clip = cv2.VideoWriter(str(folder / "in" / "clip.avi"), mjpg, 5, (256, 256))
    for picture in pictures[-FRAMES:]:
        clip.write(picture)
    clip.release()
    return folder


def arguments(files, *more):
    return [
        str(files / "in"), str(files / "gone.png"), "--model", str(files / "tiny.onnx"),
        "--device", "cpu", "--detector", "none", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def predicted(files):
    """What `emonet predict` says of the same files."""
    said = files / "said.json"
    done = CliRunner().invoke(app, ["predict", *arguments(files, "--json", str(said))])
    assert done.exit_code == 1, done.stderr
    return sorted(json.loads(said.read_text()), key=place)


def place(face):
    return face["file"], face["frame"], face["face"]


def start(files, out, address, *more, **environment):
    options = arguments(files, "--out", str(out), "--workers", "2", "--block", "8")
    return subprocess.Popen(
        [sys.executable, "-m", "emonet_deploy.cli", "batch", *options, "--ray", address, *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip


def rows_of(out):
    """Return how many rows are there for good; files may be half written."""
    return sum(RunFolder.of(str(out)).committed().values())


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.1)


def worker_pids(cluster):
    """Return the ids of the processes of a cluster that hold a model for Ray Data."""
    nodes = [each.process.pid for node in cluster.list_all_nodes()
             for each in node.all_processes["raylet"]]  # fmt: skip
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in nodes and b"ray::MapWorker" in (folder / "cmdline").read_bytes():
                pids.append(int(folder.name))
        except OSError:
            continue
    return pids


def check(process, out, predicted):
    """Nothing is missing or there twice, what cannot be read has its reason, and all is said."""
    said, told = process.communicate(timeout=600)
    assert process.returncode == 1, told
    assert said == f"{FILES} of {FILES} files, {len(predicted)} faces, in {out}\n"
    assert f"error: {DAMAGED + 1} of {FILES} files could not be read" in told
    assert "Deprecat" not in told
    assert all(
        line.startswith(("note:", "unreadable:", "error:")) or "going on" in line
        for line in told.splitlines()
    ), told
    ids, faces, reasons = Counter(), [], []
    for row in pq.read_table(Path(out) / "rows").to_pylist():
        ids[row["id"]] += 1
        reasons += [row["error"]] * (row["error"] is not None)
        for face in row["faces"]:
            face["probabilities"] = dict(face["probabilities"])
            faces.append({"file": row["file"], **face})
    assert ids == Counter(range(FILES))
    assert sum("damaged" in reason for reason in reasons) == DAMAGED
    assert sum("does not exist" in reason for reason in reasons) == len(reasons) - DAMAGED == 1
    assert (Path(out) / "_SUCCESS").exists()
    assert sorted(faces, key=place) == predicted


def test_killed_workers_lose_nothing(cluster, files, predicted, tmp_path):
    process = start(files, tmp_path / "out", cluster.address)
    wait_for(lambda: worker_pids(cluster), process)
    os.kill(worker_pids(cluster).pop(), signal.SIGKILL)
    wait_for(lambda: rows_of(tmp_path / "out") > 0, process)
    for pid in worker_pids(cluster):
        os.kill(pid, signal.SIGKILL)
    check(process, tmp_path / "out", predicted)


def test_a_lost_node_loses_nothing(cluster, files, predicted, tmp_path):
    process = start(files, tmp_path / "out", cluster.address)
    wait_for(lambda: rows_of(tmp_path / "out") > 0, process)
    cluster.remove_node(cluster.second, allow_graceful=False)
    cluster.add_node(num_cpus=2)
    check(process, tmp_path / "out", predicted)


def test_a_command_killed_five_times_goes_on_where_it_was(cluster, files, predicted, tmp_path):
    out = tmp_path / "out"
    for kind in ("list", "rows", "rows", "list", "rows"):
        process, before = start(files, out, cluster.address), rows_of(out)
        if kind == "list":
            wait_for((out / "_run.json").exists, process)
        else:
            wait_for(lambda before=before: rows_of(out) > before, process)
        process.kill()
        process.communicate()
    assert 0 < rows_of(out) < FILES, "nothing was left to go on with"
    # As if it had died between the rows and their commitment.
    done = next(p for p in sorted((out / "_checkpoint").iterdir()) if ".pending." not in p.name)
    done.rename(done.with_name(f"{done.stem}.pending.parquet"))
    check(start(files, out, "auto", RAY_ADDRESS=cluster.address), out, predicted)


def test_a_command_that_is_told_to_end_goes_on_too(cluster, files, predicted, tmp_path):
    process = start(files, tmp_path / "out", cluster.address)
    wait_for(lambda: rows_of(tmp_path / "out") > 0, process)
    process.terminate()
    _, told = process.communicate(timeout=120)
    assert (process.returncode, told.splitlines()[-1]) == (
        130, "interrupted; what was complete is kept"
    )  # fmt: skip
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    # On another machine than before: this one.
    check(start(files, tmp_path / "out", "local"), tmp_path / "out", predicted)


def test_what_ray_would_wait_for_is_refused(cluster, files, tmp_path):
    for more in (("--gpus", "1"), ("--cpus", "3", "--workers", "1"), ("--workers", "4")):
        process = start(files, tmp_path / "out", cluster.address, *more)
        said, told = process.communicate(timeout=120)
        assert process.returncode == 1
        assert said == ""
        assert told.splitlines()[-2].startswith("error: there is room for ")


def test_a_cluster_that_is_not_there_is_told_in_one_line(files, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        waiting = start(files, tmp_path / "a", f"127.0.0.1:{port}")
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            absent = start(files, tmp_path / "b", f"127.0.0.1:{unused.getsockname()[1]}")
            _, told = absent.communicate(timeout=120)
        assert absent.returncode == 1
        assert told.splitlines()[-2].startswith("error: cannot reach Ray at 127.0.0.1:")
        _, told = waiting.communicate(timeout=240)
    assert waiting.returncode == 1
    assert told.splitlines()[-2].startswith("error: Ray does not answer after ")
