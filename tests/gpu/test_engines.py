"""What the tests on a pretended GPU assert, on a real one; `make test-gpu` runs them.

Skipped, and said so, where a GPU, TensorRT or pycuda is missing.
"""

import threading

import numpy as np
import pytest
from helpers.gpu_world import images
from helpers.tiny_model import write_tiny

from emonet_deploy.errors import ArtifactError, BackendError
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.export.tensorrt.cached import fitting_engine
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.runtime.backends.registry import BACKENDS, load_session
from emonet_deploy.runtime.backends.tensorrt.cuda import open_gpu
from emonet_deploy.runtime.backends.tensorrt.rtx_session import RtxSession
from emonet_deploy.runtime.backends.tensorrt.session import TensorRTSession
from emonet_deploy.runtime.metadata import read_info, sidecar_path, write_info

pytestmark = pytest.mark.gpu

SESSIONS = {"trt": TensorRTSession, "trt-rtx": RtxSession}
# Largest error, as a share of the largest value of that output; int8 rounds at other places than
# ONNX Runtime does.
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "int8": 5e-2}
RUNS_IN = {"fp32": "float", "fp16": "half", "int8": "int8"}


@pytest.fixture(params=list(SESSIONS))
def kind(request, tmp_path, monkeypatch):
    found = [requirement.find() for requirement in BACKENDS[request.param].run]
    missing = [need.name for need in found if not (need.version or need.optional)]
    if missing:
        pytest.skip(f"not here: {', '.join(missing)}")
    monkeypatch.setenv("EMONET_HOME", str(tmp_path / "home"))
    return request.param


@pytest.fixture
def tiny(kind, tmp_path):
    def build(precision="fp32", interface="tensor", **options):
        model = write_tiny(tmp_path / "m.onnx", precision, interface)
        options = BuildOptions(**{"max_batch": 4, **options})
        return build_engine(model, kind=kind, options=options)

    return build


def assert_close(got, want, tolerance):
    assert list(got) == list(want)
    for name, values in want.items():
        assert got[name].shape == values.shape
        error = np.abs(got[name] - values).max() / np.abs(values).max()
        assert error <= tolerance, f"{name}: {error:.2e}"


@pytest.mark.parametrize("interface", ["tensor", "image"])
@pytest.mark.parametrize("precision", list(RUNS_IN))
def test_an_engine_computes_what_its_model_does(tiny, tmp_path, precision, interface):
    engine = tiny(precision, interface)
    assert set(engine.convolutions.values()) == {RUNS_IN[precision]}
    with (
        load_session(engine.path) as session,
        load_session(tmp_path / "m.onnx", device="cpu") as reference,
    ):
        for n in (1, 4, 2, 9):
            batch = images(n, interface, seed=n)
            assert_close(session.run(batch), reference.run(batch), TOLERANCE[precision])


def test_emonet_computes_what_its_model_does(kind, tmp_path, request):
    model = tmp_path / "emonet_8.fp32.onnx"
    model.write_bytes(request.getfixturevalue("onnx8").read_bytes())  # made only where it is run
    said = []
    path = fitting_engine(model, kind, said.append)
    assert fitting_engine(model, kind, said.append) == path
    assert len(said) == 1
    with load_session(path) as session, load_session(model, device="cpu") as reference:
        batch = images(3)
        assert_close(session.run(batch), reference.run(batch), TOLERANCE["fp32"])


def test_a_batch_below_the_smallest_is_filled_up(tiny):
    with load_session(tiny(min_batch=3).path) as session:
        batch = images(5)
        assert_close(session.run(batch[:1]), first(session.run(batch), 1), TOLERANCE["fp32"])


def test_results_stay_what_they_were(tiny):
    with load_session(tiny().path) as session:
        one = session.run(images(2, seed=1))
        kept = {name: values.copy() for name, values in one.items()}
        session.run(images(2, seed=2))
    assert_close(one, kept, 0)


def test_threads_may_share_a_session_and_another_may_close_it(tiny):
    session = load_session(tiny().path)
    want = {seed: session.run(images(2, seed=seed)) for seed in range(4)}
    got = {}

    def work(seed):
        got[seed] = [session.run(images(2, seed=seed)) for _ in range(20)]

    run_threads([threading.Thread(target=work, args=(seed,)) for seed in want])
    for seed, results in want.items():
        for result in got[seed]:
            assert_close(result, results, 1e-6)
    run_threads([threading.Thread(target=session.close)])
    with pytest.raises(BackendError, match="closed"):
        session.run(images(1))


def test_a_graph_computes_the_same(kind, tiny):
    path = tiny().path
    with SESSIONS[kind](path, graph=True) as session, load_session(path) as plain:
        for n in (2, 2, 2, 3, 3, 2, 2):
            assert_close(session.run(images(n, seed=n)), plain.run(images(n, seed=n)), 1e-6)


def test_device_times_are_times(tiny):
    with load_session(tiny().path) as session:
        times = session.measure(images(4))
    for milliseconds in (times.copy_in, times.compute, times.copy_out):
        assert 0 < milliseconds < 1e4


def test_sessions_leave_no_memory_behind(tiny):
    path = tiny().path
    load_session(path).close()  # what CUDA and TensorRT keep for the process
    gpu = open_gpu()

    def free():
        with gpu.current():
            return gpu.driver.mem_get_info()[0]

    before = free()
    for _ in range(5):
        with load_session(path) as session:
            session.run(images(4))
    assert before - free() < 16 << 20


def test_torch_and_engine_share_the_gpu(tiny):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("not here: PyTorch with CUDA")
    ones = torch.ones(8, device="cuda")
    with load_session(tiny().path) as session:
        session.run(images(1))
        assert float((ones * 2).sum()) == 16
        session.run(images(1))
    assert float(ones.sum()) == 8


def test_a_damaged_engine_is_one_line(tiny):
    """Also when the record was written for the damaged file, so that TensorRT gets to see it."""
    path = tiny().path
    info = read_info(path)
    path.write_bytes(b"foreign " + path.read_bytes())
    with pytest.raises(ArtifactError, match="damaged"):
        load_session(path)
    write_info(path, info)
    with pytest.raises(ArtifactError, match="emonet build") as caught:
        load_session(path)
    assert "\n" not in str(caught.value)


def test_a_record_of_another_gpu_is_refused(kind, tiny):
    if kind == "trt-rtx":
        pytest.skip("its engines are for many GPUs")
    path = tiny().path
    record = sidecar_path(path)
    record.write_text(record.read_text().replace('"gpu": "', '"gpu": "Another '))
    with pytest.raises(ArtifactError, match=r"built on Another .*emonet build"):
        load_session(path)


def first(results, n):
    return {name: values[:n] for name, values in results.items()}


def run_threads(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
