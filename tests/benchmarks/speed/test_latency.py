from itertools import pairwise

import pytest

from emonet_deploy.benchmarks.speed.latency import Timing, time_in_bursts, time_in_turns


class Clock:
    """A clock that only moves when a call says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_calls_are_timed_in_turns_and_the_warm_up_does_not_count():
    clock, order = Clock(), []

    def call(name, first, later):
        def run():
            order.append(name)
            clock.now += first if order.count(name) == 1 else later

        return run

    timings = time_in_turns(
        {"slow": call("slow", 9, 0.2), "fast": call("fast", 9, 0.1)}, 0.0, 1.0, clock
    )
    # Two calls of each to warm up; then there and back again.
    assert order[:4] == ["slow", "slow", "fast", "fast"]
    assert order[4:8] == ["slow", "fast", "fast", "slow"]
    assert timings["slow"].median == pytest.approx(200)
    assert timings["fast"].percentile(99) == pytest.approx(100)
    assert len(timings["slow"].samples) == len(timings["fast"].samples) == 7


def test_percentiles_are_those_of_the_samples():
    timing = Timing(tuple(float(i) for i in range(101)))
    assert [timing.percentile(q) for q in (50, 90, 99)] == [50, 90, 99]


def test_what_runs_on_a_gpu_is_timed_in_bursts_and_warmed_before_each():
    clock, order = Clock(), []

    def call(name, duration):
        def run():
            # As a GPU does: after another has run, the first calls are slow.
            slow = not order or order[-1] != name
            order.append(name)
            clock.now += duration * (5 if slow else 1)

        return run

    calls = {"slow": call("slow", 0.02), "fast": call("fast", 0.001)}
    timings = time_in_bursts(calls, warmup=1.0, seconds=1.0, clock=clock)
    for timing in timings.values():
        assert len(timing.samples) >= 500
    assert timings["fast"].percentile(99) == pytest.approx(1)
    assert timings["slow"].percentile(99) == pytest.approx(20)
    first = order.index("fast")
    assert set(order[:first]) == {"slow"}
    changes = sum(a != b for a, b in pairwise(order))
    assert changes < len(order) / 50
