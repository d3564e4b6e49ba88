"""What `emonet serve` asks of the server; the server has tests of its own."""

from types import SimpleNamespace

import pytest
from helpers.option_limits import check_limits
from typer.testing import CliRunner

from emonet_deploy.cli import app


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Type the command; return how it ended, and what the server was given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "OFF")
    state = {"processors": 8, "wait": 7, "checkpoint": "standin", "ends": True}

    def serve(*options):
        given = []

        def run(settings, server, starting, ready):
            given.append((settings, server))
            starting()
            ready()
            return state["ends"]

        trial = SimpleNamespace(
            wait=state["wait"], info=SimpleNamespace(checkpoint=state["checkpoint"])
        )
        monkeypatch.setattr("emonet_deploy.serving.server.serve", run)
        monkeypatch.setattr("emonet_deploy.serving.server.try_settings", lambda settings: trial)
        monkeypatch.setattr(
            "emonet_deploy.runtime.hardware.cpu.usable_processors", lambda: state["processors"]
        )
        return CliRunner().invoke(app, ["serve", "--model", "m.onnx", *options]), given

    serve.state = state
    return serve


def test_it_listens_to_this_machine_alone_unless_told_otherwise(serve):
    done, ((settings, server),) = serve()
    assert done.exit_code == 0, done.output
    assert (server.host, server.port) == ("127.0.0.1", 8000)
    assert (server.queue, server.timeout, server.max_bytes) == (64, 30.0, 33_554_432)
    assert settings.access_log
    assert "serving m.onnx at http://127.0.0.1:8000, 2 readers of 4 threads" in done.stderr
    assert "ready: POST pictures to http://127.0.0.1:8000/v1/faces" in done.stderr


@pytest.mark.parametrize(
    ("processors", "options", "threads", "finders"),
    [
        (8, [], 4, 4),
        (9, [], 4, 4),
        (2, [], 1, 2),
        (1, [], 1, 2),
        (64, ["--readers", "4"], 16, 32),
        (8, ["--threads", "3", "--finders", "5"], 3, 5),
        (2, ["--readers", "8"], 1, 2),
    ],
)
def test_readers_share_the_processors_and_half_of_them_find(
    serve, processors, options, threads, finders
):
    serve.state["processors"] = processors
    _, ((settings, server),) = serve(*options)
    assert (settings.threads, server.finders) == (threads, finders)


def test_a_batch_has_a_face_for_each_thread_at_least(serve):
    assert serve()[1][0][0].batch == 8
    serve.state["processors"] = 64
    assert serve()[1][0][0].batch == 32
    assert serve("--batch", "40")[1][0][0].batch == 40


def test_a_face_waits_as_long_as_the_trial_says_or_the_user(serve):
    assert serve()[1][0][1].wait == 7
    assert serve("--wait", "1")[1][0][1].wait == 1


def test_one_reader_and_untrained_weights_are_noted(serve):
    done, _ = serve("--readers", "1")
    assert "with one reader" in done.stderr
    assert "untrained" in done.stderr
    serve.state["checkpoint"] = "original"
    done, _ = serve()
    assert "with one reader" not in done.stderr
    assert "untrained" not in done.stderr


def test_a_server_that_ends_by_itself_is_exit_code_1(serve):
    serve.state["ends"] = False
    done, _ = serve()
    assert done.exit_code == 1
    assert "ended by itself" in done.stderr


@pytest.mark.parametrize(
    ("option", "taken", "refused"),
    [
        ("--port", ["1", "65535"], ["0", "65536"]),
        ("--queue", ["1"], ["0"]),
        ("--timeout", ["0.1"], ["0.09"]),
        ("--max-bytes", ["1"], ["0"]),
        ("--readers", ["1", "256"], ["0", "257"]),
        ("--finders", ["1", "256"], ["0", "257"]),
        ("--batch", ["1", "4096"], ["0", "4097"]),
        ("--wait", ["1"], ["0"]),
        ("--threads", ["1", "1024"], ["0", "1025"]),
    ],
)
def test_numbers_are_taken_up_to_their_limits(serve, option, taken, refused):
    check_limits(serve, option, taken, refused)
