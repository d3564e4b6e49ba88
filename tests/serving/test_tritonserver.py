"""The repository that ships, in the real tritonserver; `make test-triton`."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from helpers.served import wait_for
from helpers.tiny_model import write_tiny
from helpers.tritonserver import VENV, python, slow_down, tritonserver
from skimage import data

from emonet_deploy.emonet_ref.checkpoint import load_checkpoint
from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.errors import BackendError
from emonet_deploy.export.onnx import export_onnx
from emonet_deploy.runtime import Predictor, load_detector, load_session
from emonet_deploy.runtime.doctor import examine_servers
from emonet_deploy.runtime.pipeline.found_faces import read_found
from emonet_deploy.serving.find_and_answer import answer, find
from emonet_deploy.serving.repository import RepositoryOptions, write_repository

pytestmark = pytest.mark.triton

PROBE = Path(__file__).parents[2] / "docs" / "deploy" / "probe.py"


@pytest.fixture(scope="module")
def model(tmp_path_factory, standin8):
    """The stand-in with processing inside."""
    path = tmp_path_factory.mktemp("model") / "emonet_8.fp32.image.onnx"
    export_onnx(
        load_checkpoint(standin8), path, "standin", sha256_file(standin8), interface="image"
    )
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory, model):
    """One server with all models of these tests."""
    folder = tmp_path_factory.mktemp("triton")
    models = folder / "models"
    write_repository(model, models, RepositoryOptions(device="cpu", max_batch=8, faces=True))
    (swapped,) = write_repository(model, models, RepositoryOptions("swapped", "cpu"))
    swap_valence_and_arousal(swapped / "1" / "model.onnx")
    (other,) = write_repository(model, models, RepositoryOptions("other", "cpu"))
    write_tiny(other / "1" / "model.onnx", interface="image")
    tiny = write_tiny(folder / "tiny.onnx", interface="image")
    options = RepositoryOptions("tiny", "cpu", max_batch=1, queue=4)
    slow_down(*write_repository(tiny, models, options), 1.0)
    with tritonserver(folder, models) as running:
        yield running


def swap_valence_and_arousal(path):
    """Give each of the two outputs the name of the other."""
    loaded = onnx.load(path)
    other = {"valence": "arousal", "arousal": "valence"}
    for node in loaded.graph.node:
        node.input[:] = [other.get(name, name) for name in node.input]
        node.output[:] = [other.get(name, name) for name in node.output]
    onnx.save(loaded, path)


@pytest.fixture(scope="module")
def crops():
    portrait = data.astronaut()
    return np.stack([cv2.resize(portrait[i : 250 + i, 100:350], (256, 256)) for i in range(19)])


def emonet(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "emonet_deploy.cli", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_served_model_answers_as_its_file_does(server, model, crops):
    with load_session(model, device="cpu") as here, load_session(server.url("emonet")) as there:
        assert there.info == here.info
        assert (there.provider, there.max_batch) == ("onnxruntime", 8)
        expected, found = here.run(crops), there.run(crops)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=2e-5, rtol=1e-5, err_msg=name)


def test_requests_at_once_get_their_own_answers(server, model, crops):
    parts = [crops[i : i + n] for i, n in ((0, 1), (1, 2), (3, 3), (6, 4), (10, 5))]
    with load_session(model, device="cpu") as here, load_session(server.url("emonet")) as there:
        with ThreadPoolExecutor(len(parts)) as pool:
            found = list(pool.map(there.run, parts))
        for part, outputs in zip(parts, found, strict=True):
            expected = here.run(part)["valence"]
            np.testing.assert_allclose(outputs["valence"], expected, atol=2e-5)


def test_parity_passes_on_what_was_exported_and_fails_on_what_was_not(server):
    for name, code, says in (
        ("emonet", 0, "pass\tmax_error_valence"),
        ("swapped", 3, "FAIL\tmax_error_valence"),
        ("other", 3, "FAIL\tmax_error_probabilities"),
    ):
        done = emonet("parity", server.url(name), "--n", 8)
        assert done.returncode == code, done.stderr
        assert says in done.stdout


def test_the_same_over_grpc(server, crops, tmp_path):
    np.save(tmp_path / "crops.npy", crops)
    python(
        """
        import sys, numpy
        from emonet_deploy.runtime.backends.registry import load_session
        with load_session(sys.argv[1]) as session:
            assert session.info.interface == "image" and session.max_batch == 8
            numpy.savez(sys.argv[3], **session.run(numpy.load(sys.argv[2])))
        """.replace("\n        ", "\n"),
        server.url("emonet", "grpc"), tmp_path / "crops.npy", tmp_path / "found.npz",
    )  # fmt: skip
    with load_session(server.url("emonet")) as session:
        for name, values in session.run(crops).items():
            found = np.load(tmp_path / "found.npz")[name]
            np.testing.assert_allclose(found, values, atol=2e-5, err_msg=name)


def test_tritons_own_client_sees_the_names_of_the_classes(server, crops, tmp_path):
    np.save(tmp_path / "crop.npy", crops[:1])
    said = python(
        """
        import sys, numpy
        from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
        image = InferInput("image", [1, 256, 256, 3], "UINT8")
        image.set_data_from_numpy(numpy.load(sys.argv[2]))
        best = InferRequestedOutput("probabilities", class_count=1)
        client = InferenceServerClient(sys.argv[1])
        (row,) = client.infer("emonet", [image], outputs=[best]).as_numpy("probabilities")
        print(row[0].decode().split(":")[-1])
        """.replace("\n        ", "\n"),
        f"127.0.0.1:{server.http}", tmp_path / "crop.npy",
    )  # fmt: skip
    with load_session(server.url("emonet")) as session:
        assert said.strip() == Predictor(session).predict_crops([crops[0]])[0].expression


def post_picture(server, body, model="emonet_faces"):
    """As `curl --data-binary` does with the raw binary request."""
    request = urllib.request.Request(
        server.url(model) + "/infer", body, {"Inference-Header-Content-Length": "0"}
    )
    with urllib.request.urlopen(request) as response:
        start = int(response.headers["Inference-Header-Content-Length"])
        return json.loads(response.read()[start + 4 :])  # a string is its length, then its bytes


def flat(answer):
    """All numbers of an answer, in order."""
    if isinstance(answer, dict):
        return [number for value in answer.values() for number in flat(value)]
    if isinstance(answer, list | tuple):
        return [number for value in answer for number in flat(value)]
    return [] if isinstance(answer, str) else [answer]


def test_whole_pictures_are_answered_as_by_emonet_serve(server, model):
    portrait = data.astronaut()
    body = cv2.imencode(".png", np.hstack([portrait, portrait[:, ::-1]])[..., ::-1])[1].tobytes()
    found = find(body, load_detector())
    with load_session(model, device="cpu") as session:
        expected = answer(found, *read_found([found], Predictor(session)))
    said = post_picture(server, body)
    assert len(said["faces"]) == 2
    # Another build of NumPy, other threads: the last written digit may differ.
    assert flat(said) == pytest.approx(flat(asdict(expected)), abs=0.0101)
    for face, other in zip(said["faces"], expected.faces, strict=True):
        assert face["expression"] == other.expression
        assert face["valence"] == pytest.approx(other.valence, abs=1e-5)


def test_a_damaged_picture_is_refused_with_a_reason(server):
    with pytest.raises(urllib.error.HTTPError) as caught:
        post_picture(server, b"no picture")
    assert caught.value.code == 400
    assert "is not a JPEG" in caught.value.read().decode()


def test_a_full_queue_refuses_and_keeps_what_it_took(server, crops):
    def ask(_):
        try:
            session.run(crops[:1])
        except BackendError as error:
            return str(error)
        return ""

    with load_session(server.url("tiny")) as session, ThreadPoolExecutor(16) as pool:
        said = list(pool.map(ask, range(16)))
    refused = [text for text in said if text]
    assert refused
    assert all("503" in text and "maximum queue size" in text for text in refused)
    assert len(said) - len(refused) >= 5  # one that ran and four that waited


def test_a_wrong_shape_is_refused_before_the_model_sees_it(server, crops):
    with load_session(server.url("tiny")) as session:
        with pytest.raises(BackendError, match="answered 400"):
            session._run(crops[:1, :128])
        assert len(session.run(crops[:1])["valence"]) == 1


def test_what_is_in_flight_is_answered_before_the_end(tmp_path, crops):
    models = tmp_path / "models"
    tiny = write_tiny(tmp_path / "tiny.onnx", interface="image")
    slow_down(*write_repository(tiny, models, RepositoryOptions(device="cpu", max_batch=1)), 3.0)
    with tritonserver(tmp_path, models) as server:
        with load_session(server.url("emonet")) as session, ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(session.run, crops[i : i + 1]) for i in range(4)]
            wait_for(lambda: server.pending("emonet") >= 3)
            server.process.send_signal(signal.SIGTERM)
            assert all(len(answer.result()["valence"]) == 1 for answer in answers)
        # It waits for connections, too, which the session closes.
        assert server.process.wait(60) == 0


def test_a_server_that_has_ended_is_one_line(tmp_path, crops):
    tiny = write_tiny(tmp_path / "tiny.onnx", interface="image")
    write_repository(tiny, tmp_path / "models", RepositoryOptions(device="cpu"))
    with tritonserver(tmp_path, tmp_path / "models") as server:
        session = load_session(server.url("emonet"))
    with session, pytest.raises(BackendError, match="is the server running there"):
        session.run(crops[:1])


@pytest.mark.parametrize("name", ["emonet", "emonet_faces"])
def test_the_probe_tells_whether_it_infers(server, name):
    done = subprocess.run([sys.executable, PROBE, server.url(name)], check=False)
    assert done.returncode == 0


def test_the_probe_sees_a_dead_process_where_readiness_does_not(tmp_path):
    tiny = write_tiny(tmp_path / "tiny.onnx", interface="image")
    write_repository(tiny, tmp_path / "models", RepositoryOptions(device="cpu"))
    with tritonserver(tmp_path, tmp_path / "models") as server:
        (pid,) = server.stand_in_pids()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not server.stand_in_pids())
        with urllib.request.urlopen(server.url("emonet") + "/ready") as ready:
            assert ready.status == 200
        done = subprocess.run([sys.executable, PROBE, server.url("emonet")], check=False)
        assert done.returncode == 1


def test_doctor_tells_its_version(tmp_path, monkeypatch):
    (packages,) = VENV.glob("lib/python3.*/site-packages")
    binary = packages / "pytriton" / "tritonserver" / "bin"
    monkeypatch.setenv("PATH", f"{binary}:{os.environ['PATH']}")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(packages / "nvidia_pytriton.libs"))
    (_, triton) = examine_servers()
    assert triton.has == ("tritonserver 2.51.0",)
