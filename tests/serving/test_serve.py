"""``emonet serve`` as users start it, on the golden model."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from helpers.served import served, wait_for
from helpers.tiny_model import write_tiny
from skimage import data

from emonet_deploy.runtime.metadata import ModelInfo
from emonet_deploy.serving.server import Trial

pytest.importorskip("mosec")


def picture(image, suffix=".png"):
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files with two faces, one face, none, and a ready crop."""
    folder = tmp_path_factory.mktemp("pictures")
    portrait = data.astronaut()
    images = {
        "two.jpg": np.hstack([portrait, portrait[:, ::-1]]),
        "one.png": portrait[:400, 100:500],
        "none.bmp": np.full((120, 200, 3), 90, np.uint8),
        "crop.png": cv2.resize(portrait[30:230, 130:330], (256, 256)),
    }
    for name, image in images.items():
        (folder / name).write_bytes(picture(image, name[name.index(".") :]))
    return [folder / name for name in images]


@pytest.fixture(scope="module")
def server(tmp_path_factory, onnx8):
    with served(
        tmp_path_factory.mktemp("server"), onnx8, "--max-bytes", 2**20, "--timeout", 200
    ) as running:
        yield running


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.onnx")


@pytest.fixture(scope="module")
def crop():
    return picture(cv2.resize(data.astronaut()[30:230, 130:330], (200, 180)))


def form(body):
    """A picture as browsers and `curl -F` send it."""
    head = b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
    return b"--x\r\n" + head + b"Content-Type: image/jpeg\r\n\r\n" + body + b"\r\n--x--\r\n"


def predicted(folder, files, *options):
    """What `emonet predict` writes about files: a list of faces of each."""
    command = ["predict", *files, "--json", folder / "rows.json", "--landmarks", "--force"]
    subprocess.run(
        [sys.executable, "-m", "emonet_deploy.cli", *map(str, (*command, *options))],
        check=True, capture_output=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    faces = {str(file): [] for file in files}
    for row in json.loads((folder / "rows.json").read_text()):
        if row["face"] is not None:
            places = ("file", "frame", "time", "face")
            faces[row["file"]].append({key: row[key] for key in row if key not in places})
    return [faces[str(file)] for file in files]


def test_answers_equal_those_of_predict_to_the_written_digits(server, pictures, onnx8, tmp_path):
    answers = [server.post("/v1/faces", file.read_bytes()) for file in pictures]
    assert [status for status, _ in answers] == [200] * 4
    said = [json.loads(text) for _, text in answers]
    assert [len(answer["faces"]) for answer in said] == [2, 1, 0, 1]
    assert [answer["faces"] for answer in said] == predicted(tmp_path, pictures, "--model", onnx8)
    assert (said[0]["width"], said[0]["height"]) == (1024, 512)


def test_a_line_says_when_it_answers(server):
    wait_for(lambda: "ready: " in server.stderr.read_text())
    said = server.stderr.read_text().splitlines()
    lines = [line for line in said if line.startswith("ready: ")]
    assert lines == [f"ready: POST pictures to http://127.0.0.1:{server.port}/v1/faces"]
    before = said[: said.index(lines[0])]
    assert any(line.startswith("Read ") for line in before)  # a worker has its model


def test_a_ready_crop_is_not_searched(server, pictures, onnx8, tmp_path):
    portrait = pictures[1]  # a picture in which `/v1/faces` finds a smaller face
    status, text = server.post("/v1/crop", portrait.read_bytes())
    assert status == 200
    expected = predicted(tmp_path, [portrait], "--model", onnx8, "--detector", "none")
    assert json.loads(text)["faces"] == expected[0]
    assert json.loads(text)["faces"][0]["box"] == [0, 0, 400, 400]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"not a picture", 422, "convert it to one of these; send the bytes"),
        (form(picture(data.astronaut())), 422, "is a form; send the bytes of a picture file as"),
        # What `curl -d` makes of a file: without ends of lines and zeros.
        (picture(data.astronaut()).translate(None, b"\r\n\0"), 422, "curl --data-binary @FILE"),
        (picture(data.astronaut())[:20_000], 422, "damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0\1\0\0" * 2, 422, "4,294,967,296"),
        (bytes(2**20 + 1), 413, "too large"),
    ],
    ids=["text", "form", "curl -d", "cut short", "a bomb", "too large"],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_a_reason(server, body, status, says):
    answer = server.post("/v1/faces", body)
    assert answer[0] == status
    assert says in answer[1].decode().replace("65536 x 65536", "4,294,967,296")


def test_a_bad_picture_does_not_spoil_those_beside_it(server, crop):
    bodies = [b"poison" if i % 4 == 0 else crop for i in range(16)]
    statuses = server.post_all("/v1/crop", bodies)
    assert statuses == [422 if body == b"poison" else 200 for body in bodies]


def test_the_description_names_the_types_of_the_answers(server):
    described = json.loads(server.request("GET", "/openapi/metadata.json")[2])
    for route in ("/v1/faces", "/v1/crop"):
        content = described["paths"][route]["post"]["responses"]["200"]["content"]
        assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/Answer"}
    face = described["components"]["schemas"]["Face"]["properties"]
    assert face["valence"] == {"type": "number"}
    assert face["probabilities"] == {"type": "object", "additionalProperties": {"type": "number"}}


def test_each_request_is_logged_on_a_line(server, crop):
    server.post("/v1/crop", crop)
    server.post("/v1/faces", b"not a picture")
    good, bad = map(json.loads, server.stdout.read_text().splitlines()[-2:])
    assert good["route"], good["status"] == ("/v1/crop", 200)
    assert (good["faces"], good["bytes"]) == (1, len(crop))
    assert (bad["route"], bad["status"]) == ("/v1/faces", 422)
    assert "not a JPEG" in bad["error"]


@pytest.mark.parametrize(("face_ms", "wait"), [(2.0, 5), (130.0, 13)])
def test_a_face_waits_a_tenth_of_its_own_time_for_others(face_ms, wait):
    assert Trial(ModelInfo(8, "standin", "fp32"), face_ms).wait == wait


def test_pictures_that_wait_share_a_batch(tmp_path, tiny, crop):
    # A batch waits long: how fast pictures are decoded, on a busy machine, must not matter.
    options = ("--timeout", 120, "--wait", 2000)
    with served(tmp_path, tiny, *options) as server, ThreadPoolExecutor(24) as pool:
        with server.halted():
            answers = [pool.submit(server.post, "/v1/crop", crop) for _ in range(24)]
            wait_for(lambda: server.arrived() >= 24)
        assert [answer.result()[0] for answer in answers] == [200] * 24
        read, runs = server.batches()
        assert read == 24
        assert runs <= 5  # 24 / 8, and what either reader had taken before it stood still


def test_a_burst_gets_answers_or_429_and_nothing_else(tmp_path, tiny, crop):
    options = ("--queue", 4, "--timeout", 120)
    with served(tmp_path, tiny, *options) as server, ThreadPoolExecutor(64) as pool:
        with server.halted():
            answers = [pool.submit(server.post, "/v1/crop", crop) for _ in range(64)]
            wait_for(lambda: server.arrived() >= 64)
        assert {answer.result()[0] for answer in answers} == {200, 429}
        assert server.post("/v1/crop", crop)[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_what_is_in_flight_is_answered_before_the_end(tmp_path, tiny, crop, number):
    # A batch waits long: how fast pictures are decoded, on a busy machine, must not matter.
    options = ("--timeout", 120, "--wait", 2000)
    with served(tmp_path, tiny, *options) as server, ThreadPoolExecutor(24) as pool:
        with server.halted():
            answers = [pool.submit(server.post, "/v1/crop", crop) for _ in range(24)]
            wait_for(lambda: server.arrived() >= 24)
            server.send(number)
            wait_for(server.is_ending)
        assert [answer.result()[0] for answer in answers] == [200] * 24
        assert server.process.wait(60) == 0


def test_a_killed_reader_loses_its_own_batch_alone_and_is_replaced(tmp_path, tiny, crop):
    options = ("--batch", 2, "--threads", 1, "--timeout", 5, "--no-access-log")
    with served(tmp_path, tiny, *options) as server, ThreadPoolExecutor(8) as pool:
        with server.halted() as (first, second):
            answers = [pool.submit(server.post, "/v1/crop", crop) for _ in range(8)]
            wait_for(lambda: server.batches()[1] == 2)  # either reader has one
            os.kill(second, signal.SIGCONT)
            os.kill(first, signal.SIGKILL)
        statuses = [answer.result()[0] for answer in answers]
        assert set(statuses) <= {200, 408}
        assert statuses.count(408) <= 2  # a batch
        wait_for(lambda: len(server.worker_pids("Read")) == 3)
        assert server.post_all("/v1/crop", [crop] * 8) == [200] * 8
        assert server.stdout.read_text() == ""


@pytest.mark.parametrize("stage", ["Find", "Take"])
def test_a_killed_worker_of_the_first_stage_is_replaced(tmp_path, tiny, stage, crop):
    with served(tmp_path, tiny) as server:
        (first, *_) = wait_for(lambda: server.worker_pids(stage))
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len(server.worker_pids(stage)) == 3)
        assert server.post("/v1/faces", crop)[0] == server.post("/v1/crop", crop)[0] == 200


def test_a_server_that_ends_by_itself_has_failed(tmp_path, tiny):
    with served(tmp_path, tiny, "--readers", 1) as server:
        (reader,) = wait_for(lambda: server.worker_pids("Read"))
        os.kill(reader, signal.SIGKILL)
        assert server.process.wait(60) == 1
        assert "the server ended by itself" in server.stderr.read_text()


def test_what_is_wrong_is_said_before_the_server_starts(server, tmp_path, tiny):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    for options, code, says in (
        ((broken,), 1, "damaged or not an ONNX"),
        ((tiny, "--port", server.port), 1, f"127.0.0.1:{server.port} is in use"),
        ((tiny, "--detector", "nobody"), 2, "'nobody' is not one of"),
        ((tiny, "--crop", "square"), 2, "'square' is not one of"),
    ):
        command = [
            sys.executable,
            "-m",
            "emonet_deploy.cli",
            "serve",
            "--model",
            *map(str, options),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code
        line, *hint = [line for line in done.stderr.splitlines() if not line.startswith("note")]
        assert line.startswith("error: ")
        assert says in line
        assert all(line.startswith("hint: ") for line in hint)
