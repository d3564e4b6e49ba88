"""The stages of the server one after the other, in this process."""

import json
import sys
from dataclasses import FrozenInstanceError

import cv2
import numpy as np
import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.errors import BackendError
from emonet_deploy.serving.worker_settings import Settings

pytest.importorskip("mosec")
PNG = cv2.imencode(".png", np.full((80, 120, 3), 99, np.uint8))[1].tobytes()


@pytest.fixture
def workers(tmp_path, monkeypatch):
    """Make the workers of a server with some settings."""
    monkeypatch.setattr(sys, "argv", ["emonet"])  # which mosec reads when it is imported
    from emonet_deploy.serving import mosec_workers

    threads = cv2.getNumThreads()
    path = str(write_tiny(tmp_path / "m.onnx"))

    def make(*kinds, **options):
        settings = Settings(path, device="cpu", detector="none", batch=2, **options)
        for name, value in settings.environment().items():
            monkeypatch.setenv(name, value)
        return [getattr(mosec_workers, kind)() for kind in kinds]

    yield make
    cv2.setNumThreads(threads)


def logged(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(("first", "route"), [("Find", "/v1/faces"), ("Take", "/v1/crop")])
def test_a_picture_goes_from_stage_to_stage_and_is_logged(workers, capsys, first, route):
    taker, reader = workers(first, "Read")
    assert cv2.getNumThreads() == 1  # the other processors have workers of their own
    request = taker.forward(taker.deserialize(PNG))
    with pytest.raises(FrozenInstanceError):
        request.size = 0
    sent = taker.serialize_ipc(request)
    requests = [reader.deserialize_ipc(sent)] * 3
    answers = [json.loads(reader.serialize(answer)) for answer in reader.forward(requests)]
    assert [(a["width"], a["height"]) for a in answers] == [(120, 80)] * 3
    assert [face["box"] for a in answers for face in a["faces"]] == [[0, 0, 120, 80]] * 3
    lines = logged(capsys)
    assert len(lines) == 3
    for line in lines:
        assert (line["route"], line["status"], line["bytes"]) == (route, 200, len(PNG))
        assert (line["faces"], "error" in line) == (1, False)
        assert 0 <= line["ms"] < 3_600_000
        assert round(line["ms"], 1) == line["ms"]


def test_what_is_no_picture_is_refused_in_the_first_stage(workers, capsys):
    from mosec import ValidationError

    (finder,) = workers("Find")
    with pytest.raises(ValidationError, match="not a JPEG"):
        finder.forward(b"no picture")
    (line,) = logged(capsys)
    assert (line["status"], line["faces"], line["bytes"]) == (422, 0, 10)
    assert "not a JPEG" in line["error"]


def test_a_model_that_fails_is_told_in_the_log_and_not_to_the_client(workers, capsys, monkeypatch):
    from mosec import ServerError

    finder, reader = workers("Find", "Read")
    request = finder.forward(PNG)

    def fail(pictures):
        raise BackendError("the GPU is on fire")

    monkeypatch.setattr(reader, "_read", fail)
    with pytest.raises(ServerError, match="the server's log says why"):
        reader.forward([request, request])
    assert [(line["status"], line["error"]) for line in logged(capsys)] == [
        (500, "the GPU is on fire")
    ] * 2


def test_nothing_is_logged_where_that_was_asked_for(workers, capsys):
    from mosec import ValidationError

    finder, reader = workers("Find", "Read", access_log=False)
    reader.forward([finder.forward(PNG)])
    with pytest.raises(ValidationError):
        finder.forward(b"no picture")
    assert logged(capsys) == []
