import threading
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.fake_session import FakeSession
from helpers.tiny_model import write_tiny

from emonet_deploy.benchmarks.speed import throughput
from emonet_deploy.benchmarks.speed.throughput import (
    Way,
    _alone,
    _zeros,
    images_per_second,
    in_processes,
    processing_share,
    throughput_by_threads,
    ways,
)
from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.backends.registry import load_session


def test_each_way_uses_every_core_once():
    assert {way.workers * way.threads for way in ways(4)} == {4}
    assert ways(1) == [Way(1, 1, 1)]
    assert {way.processes for way in ways(2)} == {False, True}


class Meeting:
    """A session whose runs end only when as many are under way as there are workers."""

    def __init__(self, workers):
        self.barrier = threading.Barrier(workers, timeout=10)

    def run(self, images):
        self.barrier.wait()


def test_runs_are_under_way_at_once():
    # Each worker runs at least once; were they in turn, the barrier would break.
    assert images_per_second(Meeting(3), np.zeros((2, 1)), 3, 0.0) > 0


def test_images_are_counted_not_runs():
    now = iter([0.0, 0.5, 1.5, 2.0])

    class Session:
        def run(self, images):
            pass

    # Two runs of four images within two seconds.
    speed = images_per_second(Session(), np.zeros((4, 1)), 1, 1.0, lambda: next(now))
    assert speed == pytest.approx(4)


def test_a_session_gives_the_same_from_several_threads(onnx8):
    images = np.random.default_rng(0).random((1, 3, 256, 256), np.float32)
    results = []
    with load_session(onnx8, device="cpu", threads=1) as session:
        expected = session.run(images)
        threads = [
            threading.Thread(target=lambda: results.append(session.run(images))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 3
    for result in results:
        np.testing.assert_array_equal(result["expression"], expected["expression"])


def test_processes_run_at_once_and_a_broken_model_is_the_error_it_is(tmp_path):
    path = write_tiny(tmp_path / "m.onnx")
    # The barrier lets none begin before both are there.
    assert in_processes(path, Way(2, 1, 1, True), 0.0) > 0
    path.write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="not an ONNX"):
        in_processes(path, Way(2, 1, 1, True), 0.0)


@pytest.mark.parametrize("interface", ["tensor", "image"])
def test_what_is_around_a_run_is_a_share_of_it(tmp_path, interface):
    with load_session(write_tiny(tmp_path / "m.onnx", interface=interface)) as session:
        assert processing_share(session, 2) > 0


@pytest.mark.parametrize("cores", [2, 3, 8])
def test_the_ways_are_one_run_with_all_cores_or_one_with_each(cores):
    assert list(map(str, ways(cores))) == [
        f"1 runs at once x {cores} threads, batch 1",
        f"1 runs at once x {cores} threads, batch {4 * cores}",
        f"{cores} runs at once x 1 threads, batch 1",
        f"{cores} processes x 1 threads, batch 1",
    ]


@pytest.mark.parametrize(("seconds", "runs"), [(0.0, 1), (1.0, 1), (2.0, 2), (2.5, 3)])
def test_no_run_is_begun_when_the_time_is_over_but_one_there_always_is(seconds, runs):
    now, session = [100.0], FakeSession()

    def clock():
        return now[0]

    def run(images):
        now[0] += 1.0
        session.batches.append(len(images))

    speed = images_per_second(SimpleNamespace(run=run), np.zeros((4, 1)), 1, seconds, clock)
    assert session.batches == [4] * runs
    assert speed == pytest.approx(4)


def test_speed_is_told_by_how_many_threads_run_a_session():
    together = []

    class Session:
        def run(self, images):
            together.append(len(images))

    found = throughput_by_threads(Session(), np.zeros((1, 1)), 0.0)
    assert list(found) == ["1", "2", "4"]
    assert len(together) == 1 + 2 + 4


def test_what_is_around_a_run_is_what_the_clock_says(monkeypatch):
    """Preparing takes 2 seconds, the run 10, and reading its results 3."""
    steps = iter([0, 2, 12, 15] * 3)
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: next(steps)))
    assert processing_share(FakeSession(), 3) == pytest.approx(0.5)
    assert next(steps, None) is None


def test_the_typical_round_counts(monkeypatch):
    taken = [(1, 1, 10), (2, 3, 10), (50, 50, 10), (2, 3, 20), (2, 3, 5)]
    steps = iter(
        at for before, after, run in taken for at in (0, before, before + run, before + run + after)
    )
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: next(steps)))
    assert processing_share(FakeSession(), 5) == pytest.approx(0.5)


@pytest.mark.parametrize("interface", ["tensor", "image"])
def test_black_images_are_as_a_session_takes_them(interface):
    session = FakeSession(interface=interface)
    images = _zeros(session, 5)
    assert not images.any()
    session.run(images)
    assert session.batches == [5]


def test_a_process_of_its_own_is_one_worker_that_waits_for_the_others(tmp_path):
    path, waited = write_tiny(tmp_path / "m.onnx"), []
    ready = SimpleNamespace(wait=lambda: waited.append("wait"), abort=lambda: waited.append("no"))
    assert _alone(str(path), Way(2, 1, 1, True), 0.0, ready) > 0
    assert waited == ["wait"]
    path.write_bytes(b"no model")
    with pytest.raises(ArtifactError):
        _alone(str(path), Way(2, 1, 1, True), 0.0, ready)
    assert waited == ["wait", "no"]


def test_the_command_tells_the_fastest_way_first(monkeypatch, tmp_path, capsys):
    speeds = {"1 runs at once x 2 threads, batch 1": 10.0, "2 processes x 1 threads, batch 1": 30.0}
    calls = count()

    def measured(path, way, seconds):
        next(calls)
        return speeds.get(str(way), 20.0)

    monkeypatch.setattr(throughput, "_measured", measured)
    monkeypatch.setattr(throughput, "in_processes", measured)
    throughput._main(write_tiny(tmp_path / "m.onnx"), 2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["30.00", "20.00", "20.00", "10.00"]
    assert lines[0].endswith("2 processes x 1 threads, batch 1")
    assert next(calls) == 4 * 3
    assert lines[4].startswith("before and after each run: ")
