import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import onnxruntime as ort
import pytest
from typer.testing import CliRunner

from emonet_deploy import cli
from emonet_deploy.benchmarks.speed.bench import Candidate, run_bench
from emonet_deploy.benchmarks.speed.other_runtimes import (
    PEERS,
    PeerSession,
    open_peers,
)
from emonet_deploy.emonet_ref.checkpoint import load_checkpoint
from emonet_deploy.emonet_ref.constants import TENSOR_OUTPUTS
from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, crops, make_faces
from emonet_deploy.errors import BackendError, InputError
from emonet_deploy.runtime.backends.registry import load_session


@pytest.fixture(scope="module")
def faces():
    return crops(make_faces(2, PARITY_SEED))


@pytest.fixture
def reference(onnx8):
    with load_session(onnx8, device="cpu", threads=2) as session:
        yield session


def as_peer(reference, path, change=lambda name, values: values):
    """ONNX Runtime as a peer: one image at a time, outputs in odd shapes."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images):
        assert images.shape == (1, 3, 256, 256)
        outputs = session.run(list(TENSOR_OUTPUTS), {"image": images})
        return [
            change(name, out).reshape(-1) for name, out in zip(TENSOR_OUTPUTS, outputs, strict=True)
        ]

    return PeerSession("numpy", run, reference)


def test_a_peer_takes_batches_and_gives_the_contracts_shapes(reference, onnx8):
    images = np.random.default_rng(0).random((2, 3, 256, 256), np.float32)
    expected, got = reference.run(images), as_peer(reference, onnx8).run(images)
    for name, values in expected.items():
        assert got[name].shape == values.shape
        np.testing.assert_allclose(got[name], values, atol=1e-4)


def test_a_peer_gets_a_row_without_file_or_memory(reference, onnx8, faces):
    peer = Candidate(as_peer(reference, onnx8))
    (row,) = run_bench(Candidate(reference, onnx8), [peer], [1], faces, 2, seconds=0.05)
    assert row.backend == "peer"
    assert row.provider == f"numpy {np.__version__}"
    assert (row.size_mb, row.peak_rss_mb, row.target) == (None, None, None)
    assert row.agreement == 1


def test_a_peer_that_computes_something_else_is_not_timed(reference, onnx8, faces):
    wrong = as_peer(reference, onnx8, lambda name, out: out * (1.1 if name == "valence" else 1))
    with pytest.raises(BackendError, match=r"numpy .* computes another valence"):
        list(run_bench(Candidate(reference, onnx8), [Candidate(wrong)], [1], faces, seconds=0.05))


def test_an_unknown_peer_is_one_line(reference, onnx8, standin8):
    model = load_checkpoint(standin8)
    with (
        pytest.raises(InputError, match="no peer is called 'caffe'"),
        open_peers(["caffe"], model, onnx8, reference, 2),
    ):
        pass


def test_peers_are_looked_for_before_anything_is_made(monkeypatch, tmp_path):
    def refusal(*options):
        arguments = ["bench", "--checkpoint", "no.pth", "--out", str(tmp_path), *options]
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == 1
        return result.stderr

    monkeypatch.setitem(sys.modules, "ncnn", ModuleType("ncnn"))
    sys.modules["ncnn"].__spec__ = ModuleSpec("ncnn", None)
    monkeypatch.setitem(sys.modules, "pnnx", None)  # as if it were not installed
    told = refusal("--threads", "1", "--peers", "ncnn")
    assert "pnnx is not installed and is needed to compare with ncnn" in told
    assert "--peers needs --threads" in refusal("--peers", "torch.compile")


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_each_peer_computes_the_same(name, standin8, tmp_path, faces):
    from emonet_deploy.benchmarks.parity.compare import compare
    from emonet_deploy.export.onnx import export_onnx
    from emonet_deploy.runtime.precision_specs import Gates

    if name != "torch.compile":
        pytest.importorskip({"openvino": "openvino", "mnn": "MNN", "ncnn": "pnnx"}[name])
    model = load_checkpoint(standin8)
    plain = export_onnx(model, tmp_path / "plain.onnx", "standin").path
    with (
        load_session(standin8, device="cpu", threads=2) as reference,
        open_peers([name], model, plain, reference, 2) as (peer,),
    ):
        result = compare(reference, peer, faces, Gates(max_error=2e-2, agreement=1.0))
    assert result.passed, result.gates
