"""Hours of work in minutes, on a model of the smallest size: `make test-soak`.

EMONET_SOAK names another number of pictures and frames, EMONET_SOAK_RESULTS a JSON file for what
was measured.
"""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.benchmarks.environment import describe_environment
from emonet_deploy.runtime.backends.registry import load_session

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]

COUNT = int(os.environ.get("EMONET_SOAK", "20000"))
KILLS, SESSIONS, THREADS = max(10, COUNT // 200), max(100, COUNT // 20), 8
FLAT = 20.0  # MB by which memory may grow after the first quarter of a run.
EMONET = [sys.executable, "-c", "from emonet_deploy.cli import main; main()"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model, many pictures (of 50 contents), a table of them and a clip of as many frames."""
    place = tmp_path_factory.mktemp("soak")
    write_tiny(place / "m.onnx")
    rng = np.random.default_rng(0)
    (place / "pictures").mkdir()
    for number in range(50):
        small = rng.integers(0, 255, (8, 8, 3), np.uint8)
        cv2.imwrite(str(place / f"{number}.jpg"), cv2.resize(small, (160, 120)))
    rows = []
    for number in range(COUNT):
        name = f"pictures/{number:06}.jpg"
        os.link(place / f"{number % 50}.jpg", place / name)
        rows.append((name, number % 8, 0.1, -0.1))
    with open(place / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "expression", "valence", "arousal"), *rows])
    clip = cv2.VideoWriter(
        str(place / "v.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 64), True
    )
    for number in range(COUNT):
        clip.write(np.full((64, 64, 3), number % 200, np.uint8))
    clip.release()
    return place


@pytest.fixture(scope="module")
def results():
    """What was measured, written at the end."""
    found = {"count": COUNT, "environment": describe_environment()}
    yield found
    if path := os.environ.get("EMONET_SOAK_RESULTS"):
        Path(path).write_text(json.dumps(found, indent=2) + "\n")


def memory(pid):
    """Resident memory of a process in MB; None when it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None


def watched(place, *arguments):
    """Run a command; returns its exit code, seconds, and its memory all along, in MB."""
    begun, sizes = time.monotonic(), []
    process = subprocess.Popen(
        [*EMONET, *map(str, arguments)], cwd=place, env=ENVIRONMENT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None:
        sizes.append(memory(process.pid))
        time.sleep(0.05)
    seconds = time.monotonic() - begun
    said = process.communicate()[1]
    return process.returncode, seconds, [size for size in sizes if size is not None], said


MANY = ("--model", "m.onnx", "--detector", "none")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("pictures", ("predict", "pictures", *MANY, "--csv", "p.csv", "--jsonl", "p.jsonl")),
        ("frames", ("predict", "v.mp4", *MANY, "--csv", "f.csv", "--save", "copy.mp4")),
        ("eval", ("eval", "m.onnx", "--data", "t.csv", "--predictions", "e.csv")),
    ],
)
def test_memory_stays_as_it_is_and_every_row_is_there(place, results, name, arguments):
    code, seconds, sizes, said = watched(place, *arguments)
    assert code == 0, said
    with open(place / f"{name[0]}.csv", newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == COUNT + 1
    early = max(sizes[: len(sizes) // 4])
    growth = max(sizes) - early
    results[name] = {
        "seconds": round(seconds, 1), "peak_mb": round(max(sizes), 1),
        "growth_after_a_quarter_mb": round(growth, 1),
    }  # fmt: skip
    if COUNT >= 5000:  # else the first quarter is the start of the process
        assert growth < FLAT, results[name]


def test_kills_at_any_moment_leave_whole_files_or_none(place, results):
    chance = random.Random(0)
    outputs = {"k.csv": "old\n", "k.json": "[]\n"}
    for name, text in outputs.items():
        (place / name).write_text(text)
    few = [f"pictures/{number:06}.jpg" for number in range(min(COUNT, 400))]
    predict = ["predict", *few, *MANY, "--csv", "k.csv", "--json", "k.json", "--force"]
    judge = ["eval", "m.onnx", "--data", "t.csv", "--limit", "400", "--predictions", "k2.csv"]
    _, seconds, *_ = watched(place, *judge[:-1], "k3.csv")  # kills come all along such a run
    finished = 0
    for number in range(KILLS):
        process = subprocess.Popen(
            [*EMONET, *(judge if number % 4 == 3 else predict)], cwd=place, env=ENVIRONMENT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(chance.uniform(0, 1.1 * seconds))
        process.send_signal(signal.SIGTERM if number % 3 == 0 else signal.SIGKILL)
        finished += process.wait() == 0
        rows = (place / "k.csv").read_text()
        assert rows == "old\n" or len(rows.splitlines()) <= 401
        assert rows.endswith("\n")
        json.loads((place / "k.json").read_text())
    results["kills"] = {"number": KILLS, "of_runs_that_had_ended": finished}
    for command in (predict, judge):
        code, _, _, said = watched(place, *command)
        assert code == 0, said
    assert len((place / "k.csv").read_text().splitlines()) == 401
    assert len((place / "k2.csv").read_text().splitlines()) == 401
    assert [path.name for path in place.glob(".emonet-*")] == []  # swept by the last runs


def test_sessions_come_and_go_and_leave_no_memory(place, results):
    images = np.zeros((1, 3, 256, 256), np.float32)
    sizes = []
    for _ in range(SESSIONS):
        with load_session(place / "m.onnx", device="cpu", threads=1) as session:
            session.run(images)
        sizes.append(memory(os.getpid()))
    growth = max(sizes) - max(sizes[: SESSIONS // 4])
    results["sessions"] = {"number": SESSIONS, "growth_after_a_quarter_mb": round(growth, 1)}
    assert growth < FLAT


def test_threads_share_a_session_and_get_what_one_gets(place, results):
    rng = np.random.default_rng(0)
    batches = [rng.random((n, 3, 256, 256), np.float32) for n in (1, 2, 3, 5) for _ in range(4)]
    with load_session(place / "m.onnx", device="cpu", threads=1) as session:
        alone = [session.run(batch) for batch in batches]
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(max(1, COUNT // 1000)):
                for ours, theirs in zip(alone, pool.map(session.run, batches), strict=True):
                    for name, values in ours.items():
                        np.testing.assert_array_equal(values, theirs[name])
    results["threads"] = {"number": THREADS, "batches": len(batches) * max(1, COUNT // 1000)}
