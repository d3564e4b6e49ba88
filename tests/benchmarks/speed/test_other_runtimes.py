import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import onnxruntime as ort
import pytest
import torch
from helpers.fake_session import FakeSession
from typer.testing import CliRunner

from emonet_deploy import cli
from emonet_deploy.benchmarks.speed.bench import Candidate, run_bench
from emonet_deploy.benchmarks.speed.other_runtimes import (
    PEERS,
    PeerSession,
    convert_peers,
    open_peers,
    quantized,
    require_peers,
)
from emonet_deploy.benchmarks.speed.peers.pytorch import _without_norms
from emonet_deploy.benchmarks.speed.peers.source import Source, convert
from emonet_deploy.emonet_ref.checkpoint import load_checkpoint
from emonet_deploy.emonet_ref.constants import TENSOR_OUTPUTS
from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, crops, make_faces
from emonet_deploy.errors import BackendError, InputError, MissingDependencyError
from emonet_deploy.runtime.backends.registry import load_session


@pytest.fixture(scope="module")
def faces():
    return crops(make_faces(2, PARITY_SEED))


@pytest.fixture
def reference(onnx8):
    with load_session(onnx8, device="cpu", threads=2) as session:
        yield session


def as_peer(reference, path, change=lambda name, values: values, precision="fp32"):
    """ONNX Runtime as a peer: one image at a time, outputs in odd shapes."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images):
        assert images.shape == (1, 3, 256, 256)
        outputs = session.run(list(TENSOR_OUTPUTS), {"image": images})
        return [
            change(name, out).reshape(-1) for name, out in zip(TENSOR_OUTPUTS, outputs, strict=True)
        ]

    return PeerSession("numpy", run, reference, precision=precision)


def test_images_go_through_a_peer_one_by_one():
    given = []

    def run(images):
        given.append(images)
        number = np.float32(len(given))
        heads = np.arange(8, dtype=np.float32) + number, np.float32([[0.25]]), np.float32([-0.25])
        return [np.full(68 * 64 * 64, number), *heads]

    reference = FakeSession(precision="fp16")
    peer = PeerSession("my peer", run, reference, "numpy", "int8")
    images = np.random.default_rng(0).random((3, 3, 256, 256), np.float32)
    found = peer.run(images)
    assert [image.shape for image in given] == [(1, 3, 256, 256)] * 3
    assert np.array_equal(np.concatenate(given), images)
    assert found["heatmap"].shape == (3, 68, 64, 64)
    assert found["heatmap"][:, 5, 6, 7].tolist() == [1, 2, 3]
    assert found["expression"][2].tolist() == list(range(3, 11))
    assert found["valence"].tolist() == [0.25] * 3
    assert found["arousal"].tolist() == [-0.25] * 3
    assert peer.provider == f"my peer {np.__version__}"
    assert (peer.device, peer.info.precision, peer.info.nclass) == ("cpu", "int8", 8)


def test_those_in_int8_are_the_ones_that_are_calibrated():
    names = list(PEERS)
    assert quantized(names) == [name for name in names if name.endswith(("int8", "nncf"))]
    assert quantized(["openvino"]) == []


def test_peers_are_required_by_name_and_by_package(monkeypatch):
    require_peers([])
    require_peers(["torch.compile"])  # PyTorch is here
    with pytest.raises(InputError, match=r"no peer is called 'x'; choose torch\.compile, "):
        require_peers(["torch.compile", "x"])
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(MissingDependencyError, match="to compare with ncnn-bf16"):
        require_peers(["torch.compile", "ncnn-bf16"])


def test_faces_for_calibration_come_one_by_one(tmp_path):
    faces = np.arange(3, dtype=np.float32)[:, None, None, None] + np.zeros((1, 3, 4, 4), np.float32)
    found = list(Source(None, tmp_path, faces, tmp_path).faces())
    assert [face.shape for face in found] == [(1, 3, 4, 4)] * 3
    assert np.array_equal(np.concatenate(found), faces)
    assert list(Source(None, tmp_path, faces[:0], tmp_path).faces()) == []


def test_a_batchnorm_is_the_scale_and_shift_that_it_is():
    norm = torch.nn.BatchNorm2d(4).eval()
    with torch.no_grad():
        for number, tensor in enumerate((norm.weight, norm.bias, norm.running_mean)):
            tensor.copy_(torch.linspace(-1, 2, 4) + number)
        norm.running_var.copy_(torch.tensor([0.5, 1.0, 2.0, 4.0]))
        images = torch.rand(2, 4, 5, 6)
        model = torch.nn.Sequential(norm, torch.nn.ReLU())
        made = _without_norms(model)
        torch.testing.assert_close(made(images), model(images))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in made.modules())
    assert model[0] is norm


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


def test_a_peer_in_int8_is_timed_and_its_row_says_how_far_off_it_is(reference, onnx8, faces):
    rough = as_peer(
        reference, onnx8, lambda name, out: -out if name == "valence" else out, precision="int8"
    )
    (row,) = run_bench(Candidate(reference, onnx8), [Candidate(rough)], [1], faces, seconds=0.05)
    assert row.precision == "int8"
    assert row.ccc_valence < 0 < row.ccc_arousal
    assert (row.agreement, row.peak_share) == (1, None)


def test_an_unknown_peer_is_one_line(onnx8, standin8):
    model = load_checkpoint(standin8)
    with (
        pytest.raises(InputError, match="no peer is called 'caffe'"),
        convert_peers(["caffe"], model, onnx8),
    ):
        pass


def test_a_converter_that_fails_is_one_line():
    with pytest.raises(BackendError, match=r"^converting the model failed: ValueError: no such op"):
        convert(sys.executable, "-c", "raise ValueError('no such op')")


def bench(*options):
    return CliRunner().invoke(cli.app, ["bench", *map(str, options)]).stderr


def pretend_installed(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules[name].__spec__ = ModuleSpec(name, None)


def test_peers_are_looked_for_before_anything_is_made(monkeypatch, tmp_path):
    pretend_installed(monkeypatch, "ncnn")
    monkeypatch.setitem(sys.modules, "pnnx", None)  # as if it were not installed
    given = ("--checkpoint", "no.pth", "--out", tmp_path)
    error = bench(*given, "--threads", "1", "--peers", "ncnn")
    assert error.startswith("error: pnnx is not installed and is needed to compare with ncnn\n")
    assert "--peers needs --threads" in bench(*given, "--peers", "torch.compile")


def test_no_peer_quantises_trained_weights_on_drawn_faces(monkeypatch, tmp_path, standin8):
    pretend_installed(monkeypatch, "torchao")
    weights, out = tmp_path / "trained.pth", tmp_path / "artifacts"
    torch.save(load_checkpoint(standin8).state_dict(), weights)  # without the stand-in's stamp
    given = ("--checkpoint", weights, "--out", out, "--threads", "1")
    error = bench(*given, "--peers", "torch.compile,torch.compile-int8")
    assert "error: torch.compile-int8: calibrated on drawn faces" in error
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_each_peer_computes_the_reference_in_its_precision(name, standin8, tmp_path, faces):
    from emonet_deploy.benchmarks.parity.compare import compare
    from emonet_deploy.emonet_ref.synthetic.faces import CALIBRATION_SEED
    from emonet_deploy.export.onnx import export_onnx
    from emonet_deploy.runtime.precision_specs import Gates

    for package in PEERS[name].packages:
        pytest.importorskip(package)
    model = load_checkpoint(standin8)
    plain = export_onnx(model, tmp_path / "plain.onnx", "standin").path
    seen = crops(make_faces(4, CALIBRATION_SEED))
    with (
        load_session(standin8, device="cpu", threads=2) as reference,
        convert_peers([name], model, plain, seen) as converted,
    ):
        (peer,) = open_peers(converted, reference, 2)
        result = compare(reference, peer, faces, Gates(max_error=2e-2, agreement=1.0))
    assert peer.info.precision == PEERS[name].precision
    heatmap = result.outputs["heatmap"]
    if peer.info.precision == "fp32":
        assert result.passed, result.gates
    else:  # rounded, and still the same picture
        assert not result.passed
        assert heatmap.cosine > 0.5
