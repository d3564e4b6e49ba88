"""Runs on a real cluster of two nodes: workers, a node and the driver are killed; nothing is lost.

Whoever kills a driver leaves the cluster's processes behind: it lives in the test's own process.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.tiny_model import write_tiny

ray = pytest.importorskip("ray")

from emonet_deploy.batch.run import count_rows  # noqa: E402

pytestmark = pytest.mark.slow
FILES, DAMAGED = 240, 6

DRIVER = """
    import sys
    from emonet_deploy.batch.actor import Reading
    from emonet_deploy.batch import run
    from emonet_deploy.runtime.backends.registry import load_session

    address, out, model, *files = sys.argv[1:]
    with load_session(model, device="cpu") as session:
        info = session.info
    reading = Reading(model, "onnx", "cpu", detector="none")
    found = run.run_batch(files, out, reading, info, run.Cluster(address, 2, block=8))
    print(found.rows, found.unreadable)
"""


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
    for i in range(FILES):
        picture = cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (256, 256))
        cv2.imwrite(str(folder / "in" / f"{i:03}.png"), picture)
    for path in sorted((folder / "in").iterdir())[:: FILES // DAMAGED]:
        path.write_bytes(path.read_bytes()[:900])
    return folder


def start(cluster, out, files):
    names = [str(path) for path in sorted((files / "in").iterdir())]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER), cluster.address, str(out),
         str(files / "tiny.onnx"), *names],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def rows_of(out):
    folder = Path(out) / "rows"
    return sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.2)


def worker_pids():
    """Return the ids of this user's processes that hold a model for Ray Data."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::MapWorker" in (folder / "cmdline").read_bytes():
                pids.append(int(folder.name))
        except OSError:
            continue
    return pids


def check(process, out):
    """Nothing is missing, nothing there twice, and what was damaged is a row with a reason."""
    said, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-2000:]
    assert said.split() == [str(FILES), str(DAMAGED)]
    ids = Counter()
    for path in (Path(out) / "rows").glob("*.parquet"):
        ids.update(pq.read_table(path, columns=["id"]).column("id").to_pylist())
    assert ids == Counter(range(FILES))
    assert (Path(out) / "_SUCCESS").exists()
    found = count_rows(str(out))
    assert (found.faces, found.unreadable) == (FILES - DAMAGED, DAMAGED)


def test_killed_workers_lose_nothing(cluster, files, tmp_path):
    before = set(worker_pids())
    process = start(cluster, tmp_path / "out", files)
    wait_for(lambda: set(worker_pids()) - before, process)
    os.kill((set(worker_pids()) - before).pop(), signal.SIGKILL)
    wait_for(lambda: rows_of(tmp_path / "out") > 0, process)
    for pid in set(worker_pids()) - before:
        os.kill(pid, signal.SIGKILL)
    check(process, tmp_path / "out")


def test_a_lost_node_loses_nothing(cluster, files, tmp_path):
    process = start(cluster, tmp_path / "out", files)
    wait_for(lambda: rows_of(tmp_path / "out") > 0, process)
    cluster.remove_node(cluster.second, allow_graceful=False)
    cluster.add_node(num_cpus=2)
    check(process, tmp_path / "out")


def test_a_driver_killed_five_times_goes_on_where_it_was(cluster, files, tmp_path):
    out = tmp_path / "out"
    for kind in ("list", "rows", "rows", "list", "rows"):
        process, before = start(cluster, out, files), rows_of(out)
        if kind == "list":
            wait_for((out / "_run.json").exists, process)
        else:
            wait_for(lambda before=before: rows_of(out) > before, process)
        process.kill()
        process.communicate()
    assert 0 < rows_of(out) < FILES, "nothing was left to go on with"
    check(start(cluster, out, files), out)
