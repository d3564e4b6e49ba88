from itertools import groupby, pairwise

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


class Ticking(Clock):
    """Calls that take a second each, and are remembered."""

    def __init__(self, names):
        super().__init__()
        self.order = []
        self.calls = {name: (lambda name=name: self.call(name)) for name in names}

    def call(self, name):
        self.order.append(name)
        self.now += 1.0


@pytest.mark.parametrize(
    ("seconds", "rounds", "expected"), [(0.0, 3, 3), (3.0, 3, 3), (3.5, 3, 4), (7.0, 1, 7)]
)
def test_there_are_so_many_rounds_and_as_many_as_the_time_asks_for(seconds, rounds, expected):
    clock, told = Ticking("ab"), []
    timings = time_in_turns(
        clock.calls, 0.0, seconds, clock, lambda: told.append(clock.now), rounds=rounds
    )
    assert timings["a"].samples == timings["b"].samples == (1000.0,) * expected
    assert told == [4.0 + 2 * i for i in range(1, expected + 1)]  # after each round


def test_unless_told_otherwise_there_are_a_few_rounds_and_half_a_second_of_warm_up():
    clock = Ticking("a")
    timings = time_in_turns(clock.calls, seconds=0.0, clock=clock)
    assert len(timings["a"].samples) == 5
    assert len(clock.order) == 2 + 5  # half a second is over with the first call


@pytest.mark.parametrize(("warmup", "calls"), [(0.0, 2), (2.0, 2), (2.5, 3), (5.0, 5)])
def test_the_warm_up_is_at_least_two_calls(warmup, calls):
    clock = Ticking("a")
    time_in_turns(clock.calls, warmup, 0.0, clock, rounds=1)
    assert len(clock.order) == calls + 1


def test_before_each_call_it_sleeps_as_long_as_told(monkeypatch):
    slept = []
    monkeypatch.setattr("emonet_deploy.benchmarks.speed.latency.time.sleep", slept.append)
    time_in_turns(Ticking("ab").calls, 0.0, 0.0, lambda: 0.0, pause=0.25, rounds=2)
    assert slept == [0.25] * 4
    slept.clear()
    time_in_turns(Ticking("a").calls, 0.0, 0.0, lambda: 0.0, rounds=1)
    assert slept == [0.0]


@pytest.mark.parametrize(
    ("seconds", "samples", "found"),
    [(0.0, 20, 20), (0.0, 50, 50), (0.0, 51, 100), (50.0, 50, 50), (50.5, 50, 100), (3.0, 2, 4)],
)
def test_bursts_go_on_until_there_are_enough_calls_and_time(seconds, samples, found):
    clock = Ticking("ab")
    timings = time_in_bursts(clock.calls, 0.0, seconds, clock, samples)
    assert timings["a"].samples == timings["b"].samples == (1000.0,) * found


def test_bursts_go_there_and_back_and_a_tenth_of_the_warm_up_goes_before_each():
    clock = Ticking("ab")
    time_in_bursts(clock.calls, 30.0, 0.0, clock, samples=101)
    runs = [(name, len(list(group))) for name, group in groupby(clock.order)]
    # 30 calls to warm each up; 3 and then 50 in each turn, of which two follow one another.
    assert runs == [("a", 30), ("b", 30), ("a", 53), ("b", 106), ("a", 106), ("b", 53)]
