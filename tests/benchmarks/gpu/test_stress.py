"""Sessions under stress, on the processor."""

import threading

import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.benchmarks.gpu import stress as stressing
from emonet_deploy.benchmarks.gpu.stage import Record
from emonet_deploy.benchmarks.gpu.stress import exit_with_open_session, stress
from emonet_deploy.errors import BackendError


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "stress.json")


def small():
    return FakeSession(interface="image")


class Off(FakeSession):
    """Answers to the n-th run of a batch of three with values that are off."""

    def __init__(self, by, at=3):
        super().__init__(interface="image")
        self._by, self._at, self._seen = by, at, 0
        self._lock = threading.Lock()

    def _run(self, images):
        results = super()._run(images)
        with self._lock:
            self._seen += len(images) == 3
            if self._seen == self._at and len(images) == 3:
                results["landmarks"] = results["landmarks"] * np.float32(1 + self._by)
        return results


def test_every_thread_runs_every_batch_however_short_the_time(record):
    opened = []

    def load():
        opened.append(small())
        return opened[-1]

    stress(record, "onnx", load, 0.0, "cpu")
    threads, memory = record.rows
    assert threads == {"name": "onnx: threads", "runs": 4 * 6}
    assert memory == {"name": "onnx: memory", "lost_bytes": None}  # no GPU
    first = opened[0].batches
    assert first[:6] == [1, 3, 2, 5, 1, 8]
    assert sorted(first[6:]) == sorted(4 * [1, 3, 2, 5, 1, 8])
    with pytest.raises(BackendError, match="closed"):
        opened[0].run(np.zeros((1, 256, 256, 3), np.uint8))


@pytest.mark.parametrize(("by", "passes"), [(0.0005, True), (0.002, False), (np.nan, False)])
def test_a_thousandth_of_the_largest_value_may_differ(record, by, passes, monkeypatch):
    monkeypatch.setattr(
        "emonet_deploy.runtime.backends.session.check_results", lambda *_: None
    )  # which would find NaN first
    stress(record, "x", lambda: Off(by), 0.0, "cpu")
    assert ("failed" not in record.rows[0]) is passes
    if not passes:
        assert record.rows[0]["failed"] == "1 threads failed: landmarks is another one than alone"


@pytest.mark.parametrize(
    ("lost", "failed"),
    [(64, None), (65, "65 MiB of the device's memory are gone"), (-5, None)],
)
def test_memory_that_does_not_come_back_is_told_of(record, monkeypatch, lost, failed):
    free = iter([1000 << 20, (1000 - lost) << 20])
    monkeypatch.setattr(stressing, "_free_bytes", lambda device: next(free))
    stress(record, "x", small, 0.0, "cpu")
    assert record.rows[1]["lost_bytes"] == lost << 20
    assert record.rows[1].get("failed") == failed


def test_a_process_that_complains_as_it_ends_has_failed(record, monkeypatch):
    monkeypatch.setattr(stressing, "_LEAVING", "import sys; print('a\\nleak', file=sys.stderr)")
    exit_with_open_session(record, "x", "onnx", "cpu")
    assert record.rows[0]["failed"] == "it ended with 0 and said: leak"
    monkeypatch.setattr(stressing, "_LEAVING", "import sys; sys.exit(3)")
    exit_with_open_session(record, "x", "onnx", "cpu")
    assert record.rows[1]["failed"] == "it ended with 3 and said: nothing"
