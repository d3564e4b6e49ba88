"""Parts of the server that need no other process; the whole of it in `test_serve.py`."""

import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.metadata import ModelInfo
from emonet_deploy.serving import server
from emonet_deploy.serving.server import ServerOptions, Trial
from emonet_deploy.serving.worker_settings import Settings

OPTIONS = ServerOptions("127.0.0.1", 8123, 3, 4, 5, 64, 2.0005, 1_000_000)


@pytest.mark.parametrize(("face_ms", "wait"), [(0.1, 5), (49, 5), (54, 5), (56, 6), (1300, 130)])
def test_a_face_waits_a_tenth_of_its_time_and_five_milliseconds_at_least(face_ms, wait):
    assert Trial(ModelInfo(8, "standin"), face_ms).wait == wait


def test_mosec_is_told_in_its_own_units():
    given = dict(word.removeprefix("--").split("=") for word in server._arguments(OPTIONS))
    assert (given["address"], given["port"]) == ("127.0.0.1", "8123")
    assert (given["capacity"], given["max-request-size"]) == ("64", "1000000")
    assert given["timeout"] == "2001"  # milliseconds, and never less than was asked for


def test_one_face_is_timed_before_the_server_starts(tmp_path, monkeypatch):
    path = write_tiny(tmp_path / "m.onnx")
    readings = iter((10.0, 10.25))
    monkeypatch.setattr(server, "time", SimpleNamespace(perf_counter=lambda: next(readings)))
    trial = server._load_once(Settings(str(path), device="cpu", detector="none"))
    assert trial.info.nclass == 8
    assert trial.face_ms == 250
    with pytest.raises(ArtifactError):
        server._load_once(Settings(str(tmp_path / "absent.onnx"), detector="none"))


def test_it_is_said_once_when_somebody_listens():
    said, heard = [], threading.Event()

    def ready():
        said.append(1)
        heard.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        options = ServerOptions("127.0.0.1", listening.getsockname()[1], 1, 1, 5, 64, 30.0, 1)
        with server._when_open(options, ready):
            assert heard.wait(20)
    assert said == [1]


def test_which_signals_came_is_known_whoever_handles_them():
    # In a process of its own: what else lives in that of the tests has signals' stacks of its own.
    code = (
        "import signal\n"
        "from emonet_deploy.serving import server\n"
        "signal.signal(signal.SIGUSR1, lambda *_: None)\n"
        "with server._signals_seen() as seen:\n"
        "    print(seen())\n"
        "    signal.raise_signal(signal.SIGUSR1)\n"
        "    print(seen() == {signal.SIGUSR1}, seen())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "set()\nTrue set()\n"), done.stderr
