"""What commands leave behind: no file that was not asked for, no word to anybody on the network.

Every command runs in a home that is new, with an own cache, and on a network that fails and keeps
account of who was asked for. In C, because libraries that report their use do it there.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer.main
from helpers import golden
from helpers.tiny_model import write_tiny

from emonet_deploy.cli import app

EMONET = [sys.executable, "-c", "from emonet_deploy.cli import main; main()"]
TESTS = Path(__file__).parents[1]
PORT = 18431

PREDICT = ("predict", "a.png", "--detector", "none", "--model")
# Each with what it may leave in the current folder, in the cache, and whom it may ask for.
RUNS = [
    (["doctor"], {}, set(), set()),
    ([*PREDICT, "m.onnx"], {}, set(), set()),
    ([*PREDICT, "m.onnx", "--engine", "openvino"], {}, set(), set()),
    ([*PREDICT, "w.pth"], {}, set(), set()),
    (["predict", "a.png", "--model", "m.onnx", "--csv", "r.csv", "--save", "s.png"],
     {"r.csv", "s.png"}, set(), set()),
    (["eval", "m.onnx", "--data", "t.csv", "--json", "r.json", "--report", "page",
      "--predictions", "p.csv"],
     {"r.json", "page", "page/index.html", "p.csv", "p.csv.json"}, set(), set()),
    (["export", "--checkpoint", "w.pth", "--out", "made"],
     {"made", "made/emonet_8.fp32.onnx"}, set(), set()),
    (["parity", "made/emonet_8.fp32.onnx", "--checkpoint", "w.pth", "--n", "16"],
     {}, set(), set()),
    (["bench", "made/emonet_8.fp32.onnx", "--checkpoint", "w.pth", "--seconds", "0.1", "--n", "2",
      "--json", "r.json"], {"r.json"}, set(), set()),
    (["tune", "--checkpoint", "w.pth", "--out", "made", "--engine", "onnx", "--for", "latency",
      "--seconds", "0.1"],
     {"made/emonet_8.tune.json", "made/emonet_8.fp32.cpu.onnx", "made/*.lock"}, set(), set()),
    (["build", "m.onnx", "--engine", "trt-rtx", "--sm", "89", "--out", "e.plan"],
     {"e.plan", "e.plan.json"}, set(), set()),
    (["prove"], {}, set(), set()),
    (["checkpoint", "verify", "w.pth"], {}, set(), set()),
    (["checkpoint", "standin"], {}, {"standin_8_seed0_r2.pth"}, set()),
    (["checkpoint", "fetch", "--nclass", "8"], {}, set(),
     {"look up raw.githubusercontent.com"}),
    (["dataset", "make", "drawn", "--n", "2", "--checkpoint", "w.pth"],
     {"drawn", "drawn/test_fullpath.pkl", "drawn/test", "drawn/test/*"}, set(), set()),
    (["dataset", "convert", "t.csv", "table.csv"], {"table.csv"}, set(), set()),
    (["triton", "i.onnx", "--device", "cpu"], {"models", "models/**"}, set(), set()),
    (["serve", "--model", "m.onnx", "--detector", "none", "--port", str(PORT)], {}, set(), set()),
]  # fmt: skip


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """What a loader puts before the C library."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("network") / "no_network.so"
    source = TESTS / "data" / "no_network.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the commands read, a new home and an empty cache, kept for all runs."""
    place = tmp_path_factory.mktemp("place")
    for name in ("work", "home", "cache", "tmp"):
        (place / name).mkdir()
    work = place / "work"
    write_tiny(work / "m.onnx")
    write_tiny(work / "i.onnx", interface="image")
    cv2.imwrite(str(work / "a.png"), np.full((256, 256, 3), 99, np.uint8))
    torch.save(golden.weights(8, 0), work / "w.pth")
    (work / "t.csv").write_text("path,expression,valence,arousal\na.png,1,0.5,0.5\n")
    return place


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def alone(network, place):
    """The environment of a command without a network, in a home of its own."""
    kept = ("PATH", "LANG", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "HOME": str(place / "home"), "EMONET_HOME": str(place / "cache"),
        "LD_PRELOAD": str(network), "TMPDIR": str(place / "tmp"),
        "ATTEMPTS": str(place / "attempts"), "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def wait_for_an_answer(process):
    while process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 1):
            return
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "new", "cached", "asked"), RUNS, ids=lambda x: str(x)[:40])
def test_a_command_leaves_what_it_was_asked_for_and_asks_for_nobody(
    network, place, arguments, new, cached, asked
):
    work, attempts = place / "work", place / "attempts"
    attempts.unlink(missing_ok=True)
    before = {name: files(place / name) for name in ("work", "cache")}
    process = subprocess.Popen(
        [*EMONET, *arguments], cwd=work, env=alone(network, place), text=True,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        if arguments[0] == "serve":
            wait_for_an_answer(process)
            process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=3000)  # a guard; the machine may be busy
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    no_gpu = arguments == ["prove"]
    assert process.returncode == (2 if no_gpu else 1 if asked else 0), said
    assert not any("Traceback" in text for text in said), said
    found = set(attempts.read_text().splitlines()) if attempts.exists() else set()
    assert found == asked
    assert files(place / "home") == set()
    # PyTorch's exporter makes a folder for what it may compile, and leaves it empty.
    assert {path for path in (place / "tmp").rglob("*") if not path.is_dir()} == set()
    made = files(work) - before["work"]
    assert {path for path in made if not any(Path(path).match(p) for p in _each(new))} == set()
    locks = {name for name in files(place / "cache") if name.endswith(".lock")}
    assert files(place / "cache") - before["cache"] - locks == cached


@pytest.mark.slow
def test_a_batch_needs_no_network_and_reports_to_nobody(network, place):
    (place / "attempts").unlink(missing_ok=True)
    model = ["--model", "m.onnx", "--device", "cpu", "--detector", "none"]
    for arguments in (["batch", "a.png", "--out", "many", *model], ["summarize", "many"]):
        done = subprocess.run(
            [*EMONET, *arguments], cwd=place / "work", env=alone(network, place),
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    # Ray asks the system by which address it would reach those, and a cloud's machine what it is.
    own = {"connect 8.8.8.8", "connect 2001:4860:4860::8888", "connect 169.254.169.254",
           "look up metadata.google.internal", f"look up {socket.gethostname()}"}  # fmt: skip
    assert set((place / "attempts").read_text().splitlines()) <= own
    # What its processes tell each other by: nobody else on the machine may send them work.
    assert files(place / "home") == {".ray", ".ray/auth_token"}
    shutil.rmtree(place / "home" / ".ray")
    shutil.rmtree(place / "work" / "many")


def _each(patterns):
    # `**` of `Path.match` is of Python 3.13.
    return [p.replace("**", "/".join("*" * n)) for p in patterns for n in range(1, 5)]


def test_the_network_of_these_tests_fails_and_keeps_account(network, tmp_path):
    code = "import socket; socket.create_connection(('192.0.2.1', 9), 1)"
    look = "import socket; socket.getaddrinfo('example.org', 80)"
    environment = os.environ | {"LD_PRELOAD": str(network), "ATTEMPTS": str(tmp_path / "a")}
    for each in (code, look):
        done = subprocess.run(
            [sys.executable, "-c", each], env=environment, capture_output=True, check=False
        )
        assert done.returncode == 1
    assert (tmp_path / "a").read_text() == "connect 192.0.2.1\nlook up example.org\n"


def test_every_command_is_among_the_runs():
    commands = typer.main.get_command(app)

    def names(command, before=()):
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            return {before}
        return {name for key, each in subcommands.items() for name in names(each, (*before, key))}

    run = {tuple(arguments) for arguments, *_ in RUNS}
    # Those of Ray have a test of their own.
    for name in names(commands) - {("batch",), ("summarize",)}:
        assert any(arguments[: len(name)] == name for arguments in run), name
