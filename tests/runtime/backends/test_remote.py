"""Served models as sessions; with the real tritonserver in `tests/serving/test_tritonserver.py`."""

import json

import numpy as np
import pytest
from helpers.fake_session import FakeSession
from helpers.v2_server import serving_v2

from emonet_deploy.errors import ArtifactError, BackendError, InputError
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.remote import RemoteSession


@pytest.fixture(params=["image", "tensor"])
def session(request):
    return FakeSession(interface=request.param)


@pytest.fixture
def server():
    with serving_v2(FakeSession(interface="image")) as running:
        yield running


def images(session, n):
    (tensor,) = session.info.inputs
    rng = np.random.default_rng(n)
    if tensor.dtype == "uint8":
        return rng.integers(0, 256, (n, *tensor.shape[1:]), np.uint8)
    return rng.random((n, *tensor.shape[1:]), np.float32)


def test_a_served_model_answers_as_it_does_at_home(session):
    batch = images(session, 19)
    with serving_v2(session) as server, load_session(server.url) as remote:
        assert remote.info == session.info
        assert (remote.backend, remote.device, remote.max_batch) == ("v2", "remote", 8)
        found, expected = remote.run(batch), session.run(batch)
    assert session.batches[:3] == [8, 8, 3]
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("act", [503, 429, "close"])
def test_a_server_that_has_too_much_to_do_or_hangs_up_is_asked_again(server, act):
    with RemoteSession(server.url) as remote:
        server.script = [act, act]
        assert len(remote.run(images(remote, 2))["valence"]) == 2
    assert len(server.requests) == 3


def test_it_is_not_asked_for_ever(server):
    with RemoteSession(server.url) as remote:
        server.script = [503] * 9
        with pytest.raises(BackendError, match=r"answered 503: .*Exceeds maximum queue size"):
            remote.run(images(remote, 1))
    assert len(server.requests) == 4


def test_an_error_that_is_no_matter_of_time_is_said_at_once(server):
    with RemoteSession(server.url) as remote:
        server.script = [400] * 9
        with pytest.raises(BackendError, match="answered 400"):
            remote.run(images(remote, 1))
    assert len(server.requests) == 1


def test_silence_ends(server):
    with RemoteSession(server.url, timeout=0.3) as remote:
        server.script = ["hang"]
        with pytest.raises(BackendError, match=r"not answered within 0\.3 s"):
            remote.run(images(remote, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda outputs: {name: values[:, :7] if name == "probabilities" else values
                         for name, values in outputs.items()},
        lambda outputs: {name: values for name, values in outputs.items() if name != "landmarks"},
    ],
    ids=["another number of classes", "no landmarks"],
)  # fmt: skip
def test_answers_of_another_model_are_refused(server, change):
    server.change = change
    with (
        RemoteSession(server.url) as remote,
        pytest.raises(BackendError, match=r"not answer with the \w+ of its record"),
    ):
        remote.run(images(remote, 2))


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{}", b"[1, 2]"])
def test_another_kind_of_server_is_recognised(server, body):
    with RemoteSession(server.url) as remote:
        server.script = [body]
        with pytest.raises(BackendError, match="does not speak the inference protocol v2"):
            remote.run(images(remote, 1))


def test_a_model_without_a_record_is_refused(server):
    server.record = ""
    with pytest.raises(ArtifactError, match="has no record of this toolkit"):
        load_session(server.url)


@pytest.mark.parametrize(
    ("config", "provider", "most"),
    [
        ({"backend": "onnxruntime", "platform": "x", "max_batch_size": 16}, "onnxruntime", 16),
        ({"backend": "", "platform": "tensorrt_plan", "max_batch_size": 1}, "tensorrt_plan", 1),
        ({"platform": "onnxruntime_onnx", "max_batch_size": 0}, "onnxruntime_onnx", None),
        ({}, "unknown", None),
    ],
)
def test_what_runs_a_model_is_what_its_server_says(server, config, provider, most):
    parameters = {"emonet_deploy": {"string_value": server.record}}
    server.script = [json.dumps(config | {"parameters": parameters}).encode()]
    with RemoteSession(server.url) as remote:
        assert (remote.provider, remote.max_batch) == (provider, most)


def test_a_version_of_a_model_may_be_named(server):
    server.script = [json.dumps({"parameters": {}}).encode()]
    with pytest.raises(ArtifactError, match="has no record"):
        load_session(f"{server.url}/versions/2")
    with pytest.raises(BackendError, match="emonet/versions/3 answered 404"):
        load_session(f"{server.url}/versions/3")


def test_a_model_that_is_not_there_is_named(server):
    with pytest.raises(BackendError, match="other answered 404"):
        load_session(server.url.replace("/emonet", "/other"))


def test_no_server_is_one_line():
    with pytest.raises(BackendError, match="is the server running there") as caught:
        load_session("http://127.0.0.1:9/v2/models/emonet")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8000/v2/models",
        "http://127.0.0.1:8000/v2/models/emonet/infer",
        "http://127.0.0.1:8000/v2/models/emonet/versions",
        "http://127.0.0.1:port/v2/models/emonet",
        "http:///v2/models/emonet",
        "http://127.0.0.1:0/v2/models/emonet",
        "ftp://127.0.0.1/v2/models/emonet",
        "http://127.0.0.1:8000/v3/models/emonet",
        "http://127.0.0.1:8000/v2/models/emonet/versions/2/infer",
    ],
)
def test_an_address_of_no_model_is_refused(url):
    with pytest.raises(InputError, match="is no served model"):
        load_session(url)


def test_where_it_runs_is_the_servers_choice(server):
    with pytest.raises(BackendError, match="drop --device"):
        load_session(server.url, device="cuda")


def test_only_the_protocol_runs_an_address(server):
    with pytest.raises(InputError, match="run by the backend v2, not by onnx"):
        load_session(server.url, "onnx")
