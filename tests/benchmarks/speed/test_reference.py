import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.benchmarks.speed.reference import RememberingSession, choose_layout
from emonet_deploy.runtime.backends.pytorch import TorchSession


class Laid(TorchSession):
    """PyTorch's session without a network: each layout takes its times."""

    def __init__(self, clock, **times):
        self.layout, self._clock = "contiguous", clock
        self._times = {"contiguous": times["contiguous"], "channels last": times["last"]}
        self.shapes = []

    def lay_out(self, layout):
        self.layout = layout

    def run(self, images, outputs=None):
        self.shapes.append(images.shape)
        self._clock.now += self._times[self.layout].pop(0)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("contiguous", "last", "chosen"),
    [
        ([2, 2, 2], [1, 1, 1], "channels last"),
        ([1, 1, 1], [2, 2, 2], "contiguous"),
        ([9, 9, 1], [2, 2, 2], "contiguous"),  # the best call of each counts
        ([2, 2, 2], [9, 1, 9], "channels last"),
        ([2, 2, 2], [2, 2, 2], "contiguous"),
    ],
)
def test_the_layout_with_the_fastest_call_is_used(contiguous, last, chosen):
    clock = Clock()
    session = Laid(clock, contiguous=contiguous, last=last)
    assert choose_layout(session, clock) == session.layout == chosen
    assert set(session.shapes) == {(1, 3, 256, 256)}


def test_another_backend_is_left_as_it_is():
    session = FakeSession()
    assert choose_layout(session) == "fake"
    assert session.batches == []


def test_the_same_images_are_run_once_until_they_are_forgotten():
    session = FakeSession()
    remembering = RememberingSession(session)
    one, two = (np.full((n, 3, 256, 256), n / 10, np.float32) for n in (1, 2))
    first = remembering.run(one)
    assert remembering.run(two)["valence"].shape == (2,)
    again = remembering.run(one)
    assert session.batches == [1, 2]
    for name, values in session.run(one).items():
        assert np.array_equal(first[name], values)
        assert np.array_equal(again[name], values)
    remembering.forget()
    remembering.run(one)
    assert session.batches == [1, 2, 1, 1]
