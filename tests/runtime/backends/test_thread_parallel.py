"""How a batch is shared out among threads, on a session that notes what runs where."""

import threading

import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.backends.thread_parallel import DataParallelSession, share_out

PLAIN = FakeSession()


class Noting(DataParallelSession[str]):
    """Its models are words: `together`, and `alone` when it was opened again."""

    backend = "onnx"

    def __init__(self, threads, again="alone"):
        super().__init__(PLAIN.info, "together", threads, provider="fake")
        self.opened, self.runs, self.again = [], [], again

    def _open_for_each(self, threads):
        self.opened.append(threads)
        return self.again

    def _outputs(self, model, images):
        self.runs.append((model, len(images)))
        return PLAIN._run(images)


def images(n):
    return np.random.default_rng(n).random((n, 3, 256, 256), np.float32)


@pytest.mark.parametrize(
    ("threads", "n", "alone", "together"),
    [(3, 1, 0, 1), (3, 2, 0, 2), (3, 3, 3, 0), (3, 5, 3, 2), (2, 4, 4, 0), (1, 3, 0, 3)],
)
def test_as_many_images_as_there_are_threads_run_on_a_thread_each(threads, n, alone, together):
    session = Noting(threads)
    batch = images(n)
    for name, values in session.run(batch).items():
        np.testing.assert_array_equal(values, PLAIN.run(batch)[name])
    assert sorted(session.runs) == [("alone", 1)] * alone + [("together", 1)] * together
    assert session.opened == ([threads] if alone else [])


def test_the_model_is_opened_again_once():
    session = Noting(2)
    session.run(images(2))
    session.run(images(4))
    assert session.opened == [2]
    unable = Noting(2, again=None)
    for _ in range(2):
        assert len(unable.run(images(2))["valence"]) == 2
    assert unable.opened == [2]  # what failed is not tried at each batch
    assert unable.runs == [("together", 1)] * 4


def test_nothing_runs_after_the_end():
    session = Noting(2)
    session.run(images(2))
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run(images(1))
    with pytest.raises(BackendError, match="closed while it ran"):
        session._run(images(1))


def test_jobs_come_back_in_their_order_and_the_rest_is_done_by_all():
    here = threading.current_thread()
    done = share_out(
        list(range(8)), 3,
        lambda job: (job, threading.current_thread() is here),
        lambda job: (job, threading.current_thread() is here),
    )  # fmt: skip
    assert done == [(job, job >= 6) for job in range(8)]
    assert share_out([], 3, abs, abs) == []
