"""`TensorRTSession` on a pretended GPU: see `fake_pycuda` and `fake_tensorrt`."""

import json
import sys
import threading

import pytest
from helpers.gpu_world import assert_same, images, load_error
from helpers.tiny_model import write_tiny

from emonet_deploy.errors import (
    ArtifactError,
    BackendError,
    EmonetError,
    InputError,
    MissingDependencyError,
)
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.tensorrt import cuda
from emonet_deploy.runtime.hardware import gpu as devices
from emonet_deploy.runtime.hardware.gpu import CudaDevice
from emonet_deploy.runtime.metadata import sidecar_path

T4 = CudaDevice("NVIDIA T4", "7.5", "13.0")


@pytest.mark.parametrize("interface", ["tensor", "image"])
def test_an_engine_computes_what_its_model_does(world, interface):
    path = world.build(interface=interface)
    with load_session(path) as session, load_session(world.folder / "m.onnx") as reference:
        assert (session.backend, session.device) == (world.kind, "cuda")
        assert (session.provider, session.max_batch) == (world.trt.__name__, 4)
        for n in (1, 4, 2, 9):  # growing, shrinking, and split over the largest
            batch = images(n, interface, seed=n)
            assert_same(session.run(batch), reference.run(batch))
    world.assert_clean()


def test_a_batch_below_the_smallest_is_filled_up(world):
    path = world.build(min_batch=3)
    with world.open(path) as session, load_session(world.folder / "m.onnx") as reference:
        for n in (1, 4, 5):  # 5 is split into 4 and 1
            assert_same(session.run(images(n)), reference.run(images(n)))


def test_results_stay_what_they_were(world_11):
    with world_11.open(world_11.build()) as session:
        first = session.run(images(2, seed=1))
        kept = {name: values.copy() for name, values in first.items()}
        session.run(images(2, seed=2))
    assert_same(first, kept)


def test_images_need_not_be_contiguous(world_11):
    with world_11.open(world_11.build()) as session:
        mirrored = images(2)[..., ::-1]
        assert_same(session.run(mirrored), session.run(mirrored.copy()))


def test_threads_may_share_a_session(world_11):
    with world_11.open(world_11.build()) as session:
        want = {seed: session.run(images(2, seed=seed)) for seed in range(4)}
        got = {}

        def work(seed):
            got[seed] = [session.run(images(2, seed=seed)) for _ in range(5)]
            got[seed, "stack"] = list(world_11.gpu.stack)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, results in want.items():
        assert got[seed, "stack"] == []  # a context left there would abort the process
        for result in got[seed]:
            assert_same(result, results)
    world_11.assert_clean()


def test_everything_is_released_in_order(world):
    with world.open(world.build()) as session:
        session.run(images(1))
        world.gpu.start()
    log = world.gpu.log
    order = ["Stream.synchronize", "~IExecutionContext", "~ICudaEngine", "~Runtime"]
    order += ["DeviceAllocation.free", "~Stream", "Context.pop"]
    places = [len(log) - log[::-1].index(step) for step in order]  # the last of each
    assert places == sorted(places)
    world.assert_clean()


def test_a_session_may_be_closed_in_another_thread_and_twice(world_11):
    session = world_11.open(world_11.build())
    thread = threading.Thread(target=session.close)
    thread.start()
    thread.join()
    session.close()
    world_11.assert_clean()
    with pytest.raises(BackendError, match="closed"):
        session.run(images(1))


def test_a_session_nobody_closes_is_released(world):
    session = world.open(world.build())
    session.run(images(1))
    del session
    world.assert_clean()


def test_two_sessions_share_the_primary_context(world_11):
    path = world_11.build()
    with world_11.open(path) as one, world_11.open(path) as two:
        assert_same(one.run(images(2)), two.run(images(2)))
    assert world_11.gpu.log.count("Device.retain_primary_context") == 1
    world_11.assert_clean()


def failure_of(action):
    """Return the message of the toolkit's error that an action raises, if it does."""
    try:
        action()
    except EmonetError as error:
        return str(error)
    return None


def test_whichever_call_fails_is_one_line_and_leaks_nothing(world):
    """Fail each call of a session's life in turn; afterwards the GPU works as before."""
    path = world.build(max_batch=2)

    def life():
        # From the opening of the GPU on, over two batch sizes, to call all there is.
        with world.open(path) as session:
            return session.run(images(1)), session.run(images(2)), session.measure(images(1))

    def fresh(fail_at=None):
        cuda.open_gpu.cache_clear()
        world.gpu.start(fail_at)

    life()  # leaves the kernels that TensorRT-RTX reads when it starts
    fresh()
    want = life()
    calls = list(world.gpu.calls)
    failed = set()
    for k, name in enumerate(calls):
        fresh(fail_at=k)
        message = failure_of(life)
        world.gpu.fail_at = None
        if message is not None:
            failed.add(name)
            assert "\n" not in message, name
        world.assert_clean()
    # A kernel cache that cannot be read or written costs time and nothing else.
    assert set(calls) - failed <= {"IRuntimeCache.deserialize", "IRuntimeCache.serialize"}
    for got, expected in zip(life()[:2], want[:2], strict=True):
        assert_same(got, expected)


def test_a_failed_run_leaves_the_session_usable(world):
    with world.open(world.build()) as session:
        want = session.run(images(2))
        for k in range(6):
            world.gpu.start(fail_at=k)
            message = failure_of(lambda: session.run(images(3, seed=1)))
            world.gpu.fail_at = None
            assert "injected" in message or "more than a batch size" in message
            assert_same(session.run(images(2)), want)


def test_device_times_cover_the_parts_of_a_run(world_11):
    with world_11.open(world_11.build()) as session:
        want = session.run(images(2))
        times = session.measure(images(2, seed=1))
        assert_same(session.run(images(2)), want)
        with pytest.raises(InputError, match="4 images at once"):
            session.measure(images(5))
    # The fake's clock ticks once for each piece of work: one copy, one run, four copies; each
    # mark is a piece as well.
    assert (times.copy_in, times.compute, times.copy_out) == (2, 2, 5)
    with pytest.raises(BackendError, match="closed"):
        session.measure(images(1))
    world_11.assert_clean()


# What is compared before TensorRT sees the engine


def test_another_gpu_is_refused_with_the_command_that_rebuilds(world_11):
    path = world_11.build(max_batch=6)
    world_11.card(T4)
    message = load_error(world_11, path)
    assert "built on NVIDIA L4 8.9, here is NVIDIA T4 7.5" in message
    command = f"emonet build {world_11.folder / 'm.onnx'} --engine trt --min-batch 1"
    sizes = "--opt-batch 6 --max-batch 6 --optimize throughput"
    assert f"{command} {sizes} --out {path}" in message


def test_another_version_is_refused(world):
    path = world.build()
    built, world.trt.__version__ = world.trt.__version__, "99.0"
    assert f"built with {world.trt.__name__} {built}, here is 99.0" in load_error(world, path)


def test_a_changed_model_is_refused(world):
    path = world.build()
    write_tiny(world.folder / "m.onnx", seed=1)
    assert "m.onnx has changed since" in load_error(world, path)


def test_an_engine_runs_without_its_model(world):
    path = world.build()
    (world.folder / "m.onnx").unlink()
    with load_session(path) as session:
        session.run(images(1))


def test_everything_that_differs_is_named_at_once(world_11):
    path = world_11.build()
    write_tiny(world_11.folder / "m.onnx", seed=1)
    world_11.trt.__version__ = "99.0"
    world_11.card(T4)
    message = load_error(world_11, path)
    for part in ("here is 99.0", "here is NVIDIA T4", "has changed since", "emonet build"):
        assert part in message


@pytest.mark.parametrize(
    ("sm", "card", "rebuild"),
    [
        ((), "8.0", None),
        ((), "12.1", None),
        ((), "7.5", "--sm 75 "),
        ((89,), "8.9", None),
        ((86, 120), "8.9", "--sm 86,120,89 "),
    ],
)
def test_rtx_engines_run_on_what_they_were_built_for(world_rtx, sm, card, rebuild):
    model = write_tiny(world_rtx.folder / "m.onnx")
    path = build_engine(model, kind="trt-rtx", options=BuildOptions(max_batch=2, sm=sm)).path
    world_rtx.card(CudaDevice("some GPU", card, "13.0"))
    if rebuild is None:
        load_session(path).close()
    else:
        message = load_error(world_rtx, path)
        assert "built for compute capability" in message
        assert rebuild in message


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty", "swapped"])
def test_damaged_engines_are_refused(world, damage):
    path = world.build()
    content = path.read_bytes()
    other = write_tiny(world.folder / "other.onnx", seed=5)
    match damage:
        case "truncated":
            path.write_bytes(content[:-100])
        case "foreign":
            path.write_bytes(b"ELF" + content)
        case "empty":
            path.write_bytes(b"")
        case "swapped":
            options = BuildOptions(max_batch=4)
            path.write_bytes(
                build_engine(other, kind=world.kind, options=options).path.read_bytes()
            )
    message = load_error(world, path)
    assert "is damaged or is not the one its record was written for" in message


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: "",
        lambda record: "{",
        lambda record: "[]",
        lambda record: json.dumps({**record, "engine": None}),
        lambda record: json.dumps({**record, "engine": {**record["engine"], "max_batch": "4"}}),
        lambda record: json.dumps({**record, "engine": {**record["engine"], "max_batch": 0}}),
        lambda record: json.dumps({**record, "engine": {**record["engine"], "options": [1]}}),
        lambda record: json.dumps({**record, "engine": {**record["engine"], "package": "os"}}),
        lambda record: json.dumps(
            {**record, "engine": {**record["engine"], "compute_capability": [8]}}
        ),
        lambda record: json.dumps({**record, "nclass": 5}),
        lambda record: json.dumps({**record, "interface": "image"}),
        lambda record: json.dumps({**record, "inputs": []}),
        lambda record: json.dumps({**record, "surprise": 1}),
    ],
)
def test_damaged_records_are_refused(world_11, damage):
    path = world_11.build()
    record = json.loads(sidecar_path(path).read_text())
    sidecar_path(path).write_text(damage(record))
    message = load_error(world_11, path)
    assert "damaged" in message
    assert "again" in message


def test_an_engine_without_its_record_is_refused(world_11):
    path = world_11.build()
    sidecar_path(path).unlink()
    assert "emonet build" in load_error(world_11, path)


def test_an_engine_that_is_not_what_its_record_says_is_refused(world_11):
    """The hash fits, as if someone had written the record anew, but the batches do not."""
    path = world_11.build()
    record = json.loads(sidecar_path(path).read_text())
    record["engine"]["max_batch"] = 64
    sidecar_path(path).write_text(json.dumps(record))
    with pytest.raises(ArtifactError, match=r"\[1, 4, 4\].*emonet build"):
        load_session(path)
    world_11.assert_clean()


def test_rtx_says_why_it_refuses_an_engine(world_rtx):
    path = world_rtx.build()
    load_session(path).close()
    world_rtx.gpu.start()
    load_session(path).close()
    world_rtx.gpu.start(fail_at=world_rtx.gpu.calls.index("Runtime.get_engine_validity"))
    with pytest.raises(ArtifactError, match="old cuda driver, malformed engine"):
        load_session(path)


def test_rtx_keeps_its_kernels_from_one_session_to_the_next(world_rtx):
    path = world_rtx.build()
    world_rtx.open(path).close()
    (kept,) = (world_rtx.folder / "home" / "rtx-kernels").iterdir()
    assert kept.read_bytes() == b"kernels "
    world_rtx.open(path).close()
    assert kept.read_bytes() == b"kernels kernels "


def test_rtx_keeps_them_before_the_session_ends_and_for_each_gpu(world_rtx):
    """A killed server need not compile again, and two cards in one machine keep their own."""
    path = world_rtx.build()
    folder = world_rtx.folder / "home" / "rtx-kernels"
    with world_rtx.open(path) as session:
        session.run(images(1))
        assert [file.read_bytes() for file in folder.iterdir()] == [b"kernels "]
    world_rtx.card(CudaDevice("NVIDIA A10", "8.6", "13.0"))
    world_rtx.open(path).close()
    assert len(list(folder.iterdir())) == 2


def test_rtx_starts_afresh_from_kernels_it_does_not_take(world_rtx):
    path = world_rtx.build()
    world_rtx.open(path).close()
    (kept,) = (world_rtx.folder / "home" / "rtx-kernels").iterdir()
    kept.write_bytes(b"of another GPU")
    with world_rtx.open(path) as session:
        session.run(images(1))


# What is missing


def test_the_cpu_is_refused(world):
    with pytest.raises(InputError, match="ONNX"):
        load_session(world.build(), device="cpu")


def test_without_a_gpu_the_way_out_is_told(world):
    path = world.build()
    world.card(None)
    message = load_error(world, path, BackendError)
    assert "NVIDIA GPU is missing" in message
    assert "--engine onnx" in message


def test_all_that_is_missing_is_named_at_once(world_11, monkeypatch):
    path = world_11.build()
    world_11.card(None)
    for name in ("tensorrt", "pycuda", "pycuda.driver", "cuda.bindings", "cuda.bindings.driver"):
        monkeypatch.setitem(sys.modules, name, None)
    message = load_error(world_11, path, MissingDependencyError)
    for part in (
        "tensorrt-cu13>=10.13,<12'",
        "NVIDIA GPU",
        "pycuda or cuda-bindings",
        "--engine onnx",
    ):
        assert part in message
    assert message.count("pip install 'cuda-bindings>=13'") == 1  # alone it is optional, too


# The driver itself


class FakeLibrary:
    """libcuda with one L4, or failing at the call named."""

    def __init__(self, failing=""):
        self._failing = failing

    def __getattr__(self, name):
        def call(*arguments):
            for argument, value in zip(arguments, self._values(name), strict=False):
                target = getattr(argument, "_obj", argument)
                if value is not None:
                    target.value = value
            return 999 if name == self._failing else 0

        return call

    def _values(self, name):
        return {
            "cuDeviceGetCount": [1],
            "cuDeviceGet": [0],
            "cuDeviceGetName": [b"NVIDIA L4"],
            "cuDriverGetVersion": [13010],
        }.get(name, [])


class AttributeLibrary(FakeLibrary):
    def cuDeviceGetAttribute(self, target, attribute, device):  # noqa: N802
        target._obj.value = {75: 8, 76: 9}[attribute]
        return 0


@pytest.fixture
def driver(monkeypatch):
    def install(library):
        for function in (devices._driver, devices.cuda_device_count, devices.cuda_device):
            function.cache_clear()
        monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: library)

    yield install
    for function in (devices._driver, devices.cuda_device_count, devices.cuda_device):
        function.cache_clear()


def test_the_device_is_asked_of_the_driver(driver):
    driver(AttributeLibrary())
    assert devices.cuda_device_count() == 1
    assert devices.cuda_device() == CudaDevice("NVIDIA L4", "8.9", "13.1")


@pytest.mark.parametrize("call", ["cuInit", "cuDeviceGetCount", "cuDeviceGetName"])
def test_a_driver_that_fails_is_no_device(driver, call):
    driver(AttributeLibrary(failing=call))
    assert devices.cuda_device() is None
