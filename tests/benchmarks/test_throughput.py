import threading

import numpy as np
import pytest

from emonet_deploy.benchmarks.throughput import Way, images_per_second, ways
from emonet_deploy.runtime.session import load_session


def test_each_way_uses_every_core_once():
    assert {way.workers * way.threads for way in ways(4)} == {4}
    assert ways(1, [1]) == [Way(1, 1, 1)]


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
