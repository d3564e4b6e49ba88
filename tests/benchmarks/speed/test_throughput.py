import threading

import numpy as np
import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.benchmarks.speed.throughput import (
    Way,
    images_per_second,
    in_processes,
    processing_share,
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
