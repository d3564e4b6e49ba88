import json
import sys

import numpy as np
import pytest
from helpers.fake_session import FakeSession
from helpers.gpu_world import World
from helpers.tiny_model import write_tiny

from emonet_deploy.benchmarks.metrics.output_error import Difference
from emonet_deploy.benchmarks.parity.compare import Parity
from emonet_deploy.benchmarks.speed import bench as module
from emonet_deploy.benchmarks.speed.bench import (
    Candidate,
    _images,
    _must_be_equal,
    _peaks,
    _require_same,
    _row,
    _Times,
    _timings,
    run_bench,
)
from emonet_deploy.benchmarks.speed.footprint import measure_footprint
from emonet_deploy.benchmarks.speed.latency import Timing, time_in_bursts
from emonet_deploy.benchmarks.speed.peak_compute import Probe
from emonet_deploy.benchmarks.speed.reference import RememberingSession, choose_layout
from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, crops, make_faces
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.tensorrt import cuda
from emonet_deploy.runtime.hardware.memory import keep_freed_memory


class Counting(RememberingSession):
    """Tells the sizes of the batches that reach a session."""

    backend = "onnx"

    def __init__(self, session):
        super().__init__(session)
        self.batches = []

    def run(self, images, outputs=None):
        self.batches.append(len(images))
        return self._session.run(images, outputs)


@pytest.fixture
def model(tmp_path):
    return write_tiny(tmp_path / "tiny.onnx")


CROPS = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1) + np.zeros((1, 256, 256, 3), np.uint8)


class Remote(FakeSession):
    backend = "http"

    def __init__(self, **options):
        super().__init__(**options)
        self.device = "remote"


class OnGpu(FakeSession):
    def __init__(self, **options):
        super().__init__(**options)
        self.device = "cuda"


def parity(max_abs=0.0, spread=1.0):
    difference = Difference(max_abs, 0.0, None, None, spread)
    return Parity(3, {"valence": difference}, 0.75, 0, 0.0, 0.5, 0.25, {})


def test_crops_are_repeated_to_fill_a_batch():
    session = FakeSession(interface="image")
    assert _images(session, CROPS, 2)[:, 0, 0, 0].tolist() == [0, 1]
    assert _images(session, CROPS, 7)[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_a_row_is_told_by_the_median_and_the_reference(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"x" * 2_500_000)
    monkeypatch.setattr(module, "measure_footprint", lambda *_: module.Footprint(100.0, 9.0))
    # 201 calls of 0 to 200 ms, so that each percentile is its own number.
    timing = Timing(tuple(map(float, range(201))))
    times = _Times(Timing((250.0,)), {"float32": 0.0}, {"float32": "lib"}, {1: timing}, {1: 1500})
    session = FakeSession(target="cpu")
    for candidate, has_file in ((Candidate(session, path), True), (Candidate(session), False)):
        row = _row(candidate, parity(), times, 1, 4, CROPS, 2, 1000, {"float32": 160.0})
        assert (row.n, row.batch, row.threads) == (201, 4, 2)
        assert (row.p50_ms, row.p90_ms, row.p95_ms, row.p99_ms) == (100, 180, 190, 198)
        assert row.throughput == 40
        assert row.speedup == 2.5
        assert (row.agreement, row.ccc_valence, row.ccc_arousal) == (0.75, 0.5, 0.25)
        # 4000 in 100 ms are 40 a millisecond, a quarter of the peak.
        assert row.peak_share == (0.25 if has_file else None)
        assert row.peak_library == ("lib" if has_file else None)
        assert (row.size_mb, row.target) == ((2.5, "cpu") if has_file else (None, None))
        assert row.peak_rss_mb == (100.0 if has_file else None)
        assert row.clock_mhz == 1500
        assert (row.kernels, row.megabytes, row.throughput_by_threads) == (None, None, None)


def test_what_runs_on_a_gpu_is_timed_apart_and_the_reference_once(tmp_path, monkeypatch):
    groups = []

    def timing(kind):
        def time_calls(calls, seconds, **options):
            groups.append((kind, list(calls), seconds))
            for call in calls.values():
                call()
            return {key: Timing((2.0, 4.0, 3.0)) for key in calls}

        return time_calls

    monkeypatch.setattr(module, "time_in_turns", timing("turns"))
    monkeypatch.setattr(module, "time_in_bursts", timing("bursts"))
    monkeypatch.setattr(module, "sm_clock", lambda: 1980)
    reference = FakeSession()
    candidates = [Candidate(reference), Candidate(OnGpu()), Candidate(FakeSession())]
    best = {"float32": Probe("lib", "float32", 600, lambda: None)}
    times = _timings(Candidate(reference), candidates, 2, CROPS, best, 1.5)
    assert groups == [("turns", ["reference", "float32", 2], 1.5), ("bursts", [1], 1.5)]
    assert set(times.rows) == {0, 1, 2}
    assert times.rows[0] is times.reference
    assert times.clocks == {1: 1980}
    assert times.peaks == {"float32": 300.0}  # of the best call
    assert times.libraries == {"float32": "lib"}
    assert reference.batches == [2]


@pytest.mark.parametrize(
    ("session", "has_file", "equal"),
    [
        (FakeSession(), False, True),
        (FakeSession(precision="int8"), False, False),
        (FakeSession(), True, False),
        (Remote(), False, False),
        (OnGpu(), False, True),
    ],
)
def test_peers_in_float32_must_compute_what_the_reference_does(tmp_path, session, has_file, equal):
    assert _must_be_equal(Candidate(session, tmp_path if has_file else None)) is equal


@pytest.mark.parametrize(
    ("max_abs", "spread", "same"),
    [(0.0, 0.0, True), (0.04, 2.0, True), (0.0401, 2.0, False), (float("nan"), 2.0, False)],
)
def test_a_peer_may_be_off_by_a_fiftieth_of_the_spread(max_abs, spread, same):
    peer = Candidate(FakeSession())
    if same:
        _require_same(peer, parity(max_abs, spread))
    else:
        with pytest.raises(BackendError, match="fake computes another valence: off by"):
            _require_same(peer, parity(max_abs, spread))


def test_only_files_on_the_cpu_raise_the_peak(tmp_path):
    times = _Times(Timing((1.0,)), {"float32": 10.0}, {}, {i: Timing((2.0,)) for i in range(4)}, {})
    file = tmp_path / "m.onnx"
    candidates = [
        Candidate(FakeSession()), Candidate(OnGpu(), file), Candidate(FakeSession(), file),
        Candidate(FakeSession(precision="int8"), file),
    ]  # fmt: skip
    found = _peaks(times, candidates, [1000, 1000, 8, 6], 3)
    assert found == {"float32": 12.0, "int8": 9.0}
    assert _peaks(times, candidates, [1000, 1000, 8, 6], 1) == {"float32": 10.0, "int8": 3.0}
    assert (candidates[0].name, candidates[2].name) == ("fake", "m.onnx")


def test_a_row_for_each_artifact_and_batch_with_speed_and_agreement(model):
    with load_session(model, device="cpu") as reference, load_session(model) as made:
        twin = model.with_name("twin.onnx")
        twin.write_bytes(model.read_bytes())
        counted = Counting(reference)
        found = run_bench(
            Candidate(counted, model),
            [Candidate(made, twin), Candidate(made, twin)],
            [1, 2],
            crops(make_faces(4, PARITY_SEED)),
            seconds=0.1,
        )
        first = next(found)  # as soon as it is known
        assert counted.batches.count(4) == 1  # agreement, once for both
        assert 2 not in counted.batches
        rows = [first, *(row for i, row in enumerate(found, 1) if i % 2 == 0)]
    assert [row.batch for row in rows] == [1, 2]
    for row in rows:
        assert row.n >= 5
        assert row.p50_ms <= row.p90_ms <= row.p99_ms
        assert row.throughput == pytest.approx(row.batch / row.p50_ms * 1e3)
        assert row.agreement == 1
        assert row.size_mb == pytest.approx(model.stat().st_size / 1e6)
        json.dumps(row.to_dict(), allow_nan=False)


def test_no_row_does_more_than_the_machine_can(model):
    with load_session(model, device="cpu") as session:
        (row,) = run_bench(
            Candidate(session, model),
            [Candidate(session, model)],
            [1],
            crops(make_faces(2, PARITY_SEED)),
            seconds=0.1,
        )
    assert 0 < row.peak_share <= 1
    assert row.peak_library


def test_a_row_above_every_product_is_the_peak_itself(model):
    """Whatever the products reached, no share of the peak is above the whole."""
    with load_session(model, device="cpu") as session:
        timing = Timing((1.0,))
        times = _Times(timing, {"float32": 10.0, "int8": 10.0}, {}, {0: timing}, {})
        peaks = _peaks(times, [Candidate(session, model)], [50], 1)
    assert peaks == {"float32": 50.0, "int8": 10.0}


def test_the_reference_keeps_what_it_frees_and_its_faster_layout(standin8):
    class Clock:
        now, slow = 0.0, 0

        def __call__(self):
            self.now += self.slow
            return self.now

    assert keep_freed_memory() == (sys.platform == "linux")
    clock = Clock()
    with load_session(standin8, device="cpu") as session:
        image = np.random.default_rng(0).random((1, 3, 256, 256), np.float32)
        before = session.run(image)
        assert choose_layout(session, clock) == "contiguous"  # as fast as the other
        session.lay_out("channels last")
        for name, values in session.run(image).items():
            np.testing.assert_allclose(values, before[name], rtol=1e-3, atol=1e-4)


def test_what_runs_on_a_gpu_has_turns_of_its_own_and_tells_more(tmp_path, monkeypatch):
    world = World("tensorrt-11.4", tmp_path, monkeypatch)
    path = world.build(interface="image")
    # A process of its own would have no pretended GPU.
    monkeypatch.setattr(module, "measure_footprint", lambda *_: module.Footprint(None, None))
    monkeypatch.setattr(module, "THREADED_SECONDS", 0.02)
    groups = []

    def bursts(calls, seconds):
        groups.append(sorted(calls))
        return time_in_bursts(calls, 0.0, 0.05, samples=20)

    monkeypatch.setattr(module, "time_in_bursts", bursts)
    monkeypatch.setattr(module, "sm_clock", lambda: 1980)
    model = world.folder / "m.onnx"
    with load_session(model, device="cpu") as reference, world.open(path) as session:
        on_cpu, on_gpu = run_bench(
            Candidate(reference, model),
            [Candidate(reference, model), Candidate(session, path)],
            [2],
            crops(make_faces(2, PARITY_SEED)),
            seconds=0.05,
        )
    cuda.open_gpu.cache_clear()
    assert groups == [[1]]
    assert (on_cpu.throughput_by_threads, on_cpu.clock_mhz, on_cpu.kernels) == (None, None, None)
    assert on_gpu.n >= 20
    assert set(on_gpu.throughput_by_threads) == {"1", "2", "4"}
    assert on_gpu.clock_mhz == 1980
    assert on_gpu.device is not None
    assert on_gpu.peak_share is None
    assert on_gpu.kernels == session.info.engine.options["traffic"]["kernels"]
    assert on_gpu.agreement == 1


def test_memory_at_batch_1_stays_below_600_mb(onnx8):
    footprint = measure_footprint(onnx8, "onnx", 1, 2)
    assert footprint.peak_rss_mb is not None
    assert 100 < footprint.peak_rss_mb < 600


def test_a_process_that_fails_is_reported_in_one_line(tmp_path):
    with pytest.raises(BackendError, match="no ONNX model") as caught:
        measure_footprint(tmp_path / "missing.onnx", "onnx", 1, None)
    assert "\n" not in str(caught.value)
