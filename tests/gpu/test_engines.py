"""What the tests on a pretended GPU assert, on a real one; `make test-gpu` runs them.

Where TensorRT is missing, PyTorch stands in for it on the GPU (`helpers/torch_tensorrt.py`): what
is tested is all but TensorRT. Skipped, and said so, where a GPU or what drives it is missing.
"""

import subprocess
import sys
import threading

import numpy as np
import pytest
from helpers.gpu_world import images
from helpers.tiny_model import write_tiny

from emonet_deploy.errors import ArtifactError, BackendError
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.export.tensorrt.fitting_engine import fitting_engine
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.runtime.backends.registry import BACKENDS, load_session
from emonet_deploy.runtime.backends.tensorrt.cuda import open_gpu
from emonet_deploy.runtime.backends.tensorrt.rtx_session import RtxSession
from emonet_deploy.runtime.backends.tensorrt.session import TensorRTSession
from emonet_deploy.runtime.metadata import read_info, sidecar_path, write_info
from emonet_deploy.runtime.requirements import TENSORRT

pytestmark = pytest.mark.gpu

SESSIONS = {"trt": TensorRTSession, "trt-rtx": RtxSession}
# Largest error, as a share of the largest value of that output; int8 rounds at other places than
# ONNX Runtime does.
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "int8": 5e-2}
RUNS_IN = {"fp32": "float", "fp16": "half", "int8": "int8"}


STAND_IN = "trt in PyTorch"


@pytest.fixture(params=[*SESSIONS, STAND_IN])
def kind(request, tmp_path, monkeypatch):
    kind = request.param
    if kind == STAND_IN:
        if not stand_in(monkeypatch):
            pytest.skip("not here: PyTorch with CUDA, or TensorRT itself is here")
        kind = "trt"
    found = [requirement.find() for requirement in BACKENDS[kind].run]
    missing = [need.name for need in found if not (need.version or need.optional)]
    if missing:
        pytest.skip(f"not here: {', '.join(missing)}")
    monkeypatch.setenv("EMONET_HOME", str(tmp_path / "home"))
    return kind


def stand_in(monkeypatch):
    """Let PyTorch stand in for TensorRT; False where it cannot, or need not."""
    torch = pytest.importorskip("torch")
    if TENSORRT.find().version or not torch.cuda.is_available():
        return False
    from helpers.torch_tensorrt import make_tensorrt

    monkeypatch.setitem(sys.modules, "tensorrt", make_tensorrt())
    return True


@pytest.fixture
def real(request, kind):
    """Skip what only TensorRT itself can show."""
    if STAND_IN in request.node.name:
        pytest.skip("not here: TensorRT")


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
def test_an_engine_computes_what_its_model_does(request, tiny, tmp_path, precision, interface):
    if STAND_IN in request.node.name and precision != "fp32":
        pytest.skip("not here: TensorRT")
    engine = tiny(precision, interface)
    assert set(engine.convolutions.values()) == {RUNS_IN[precision]}, engine.layers
    with (
        load_session(engine.path) as session,
        load_session(tmp_path / "m.onnx", device="cpu") as reference,
    ):
        for n in (1, 4, 2, 9):
            batch = images(n, interface, seed=n)
            assert_close(session.run(batch), reference.run(batch), TOLERANCE[precision])


def test_emonet_computes_what_its_model_does(real, kind, tmp_path, request):
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
        runs = [session.measure(images(4)) for _ in range(50)]
    last = runs[-10:]
    for part in ("copy_in", "compute", "copy_out"):
        times = [getattr(run, part) for run in last]
        assert min(times) > 0
        assert max(times) < 1e3


def test_a_batch_on_the_gpu_gives_what_it_gives_from_the_host(tiny):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("not here: PyTorch with CUDA")
    with load_session(tiny().path) as session:
        for n in (1, 3, 4, 3):
            batch = images(n, seed=n)
            results = session.run_on_device(torch.from_numpy(batch).cuda())
            got = {
                name: torch.as_tensor(v, device="cuda").cpu().numpy() for name, v in results.items()
            }
            assert_close(got, session.run(batch), 1e-6)


def test_a_graph_is_captured_while_pytorch_uses_the_legacy_stream(tiny):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("not here: PyTorch with CUDA")
    failures, done = [], threading.Event()

    def use_torch():
        ones = torch.ones(1 << 20, device="cuda")
        try:
            while not done.is_set():
                ones = ones * 2 / 2
                assert float(ones[0]) == 1
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=use_torch)
    thread.start()
    try:
        path = tiny().path
        for _ in range(10):
            with load_session(path, graph=True) as session:
                for n in (1, 2, 3, 4, 1, 2, 3, 4, 1):
                    session.run(images(n))
    finally:
        done.set()
        thread.join()
    assert failures == []


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_float32_on_cuda_is_not_tf32(backend, standin8, request):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("not here: PyTorch with CUDA")
    path = standin8 if backend == "torch" else request.getfixturevalue("onnx8")
    batch = images(2)
    try:
        session = load_session(path, backend, device="cuda")
    except BackendError as error:
        pytest.skip(f"not here: {error}")
    with session, load_session(path, backend, device="cpu") as reference:
        assert_close(session.run(batch), reference.run(batch), 1e-4)


def test_a_process_ends_in_peace_with_an_open_session(real, kind, tiny):
    code = "from emonet_deploy.benchmarks.gpu.stress import leave_open as run; "
    code += f"run({str(tiny().path)!r}, {kind!r}, 'auto')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


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
