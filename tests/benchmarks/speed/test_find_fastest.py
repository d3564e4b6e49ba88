"""Who is dropped when, on recorded times: no clock and no model."""

from contextlib import contextmanager

import pytest

from emonet_deploy.benchmarks.speed.find_fastest import GROUP, find_fastest
from emonet_deploy.benchmarks.speed.latency import Timing
from emonet_deploy.errors import BackendError


class Recorded:
    """Gives recorded times, and remembers who was timed with whom and who is open."""

    def __init__(self, **times):
        self.times, self.turns, self.open, self.most = times, [], set(), 0
        self.asked = []

    @contextmanager
    def load(self, key):
        if self.times[key] is None:
            raise BackendError("it does not run here")
        self.open.add(key)
        self.most = max(self.most, len(self.open))
        yield lambda: key
        self.open.discard(key)

    def __call__(self, calls, warmup, seconds, *, pause, rounds):
        self.turns.append(list(calls))
        self.asked.append((warmup, seconds, rounds))
        assert pause > 0  # in which the threads of the call before go to sleep
        return {key: Timing((self.times[key],) * rounds) for key in calls}

    def find(self, images=lambda key: 1, **options):
        return find_fastest(list(self.times), self.load, images, time_calls=self, **options)


def test_what_is_far_behind_is_timed_once_and_released():
    recorded = Recorded(a=100.0, b=101.0, c=151.0, d=120.0)
    found = recorded.find()
    assert recorded.turns == [["a", "b", "c", "d"], ["a", "b", "d"], ["a", "b"]]
    assert {key for key, value in found.items() if value.final} == {"a", "b"}
    assert found["c"].timing.median == 151
    assert len(found["a"].timing.samples) > len(found["c"].timing.samples)
    assert not recorded.open


def test_candidates_enter_in_groups_with_the_fastest_so_far_among_them():
    recorded = Recorded(**{f"slow{i}": 400.0 + i for i in range(8)}, best=100.0)
    found = recorded.find()
    assert recorded.turns[1][0] == "slow0"
    assert recorded.turns[2] == ["slow0", "best"]
    assert [key for key, value in found.items() if value.final] == ["best"]
    assert set(found) == set(recorded.times)


def test_few_models_are_in_memory_at_once():
    recorded = Recorded(first=100.0, **{f"slow{i}": 400.0 for i in range(20)})
    recorded.find()
    assert recorded.most <= GROUP + 1


def test_the_fastest_is_found_wherever_it_stands():
    for place in range(9):
        times = {f"c{i}": 130.0 for i in range(9)} | {f"c{place}": 99.0}
        found = Recorded(**times).find()
        assert [key for key, value in found.items() if value.final] == [f"c{place}"]


def test_a_slow_moment_drops_nobody():
    """Of recorded times on a busy machine: a median of three is twice the other's, its best not."""

    class Busy(Recorded):
        def __call__(self, calls, warmup, seconds, *, pause, rounds):
            timings = super().__call__(calls, warmup, seconds, pause=pause, rounds=rounds)
            if len(self.turns) == 1:
                timings["b"] = Timing((110.0, 250.0, 260.0))
            return timings

    found = Busy(a=120.0, b=110.0).find()
    assert {key for key, value in found.items() if value.final} == {"a", "b"}


def test_who_cannot_run_is_left_out_and_told():
    said = []
    found = Recorded(a=None, b=100.0).find(say=said.append)
    assert list(found) == ["b"]
    assert said == ["left out: a: it does not run here"]
    assert Recorded(a=None).find() == {}


def test_images_are_compared_not_runs():
    found = Recorded(single=100.0, batch=320.0).find({"single": 1, "batch": 4}.get)
    assert [key for key, value in found.items() if value.final] == ["batch"]


def test_what_went_wrong_otherwise_closes_everything():
    recorded = Recorded(a=100.0, b=100.0)

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recorded.find(advance=fail)
    assert not recorded.open


def test_those_left_are_timed_longer_twice():
    recorded = Recorded(**{f"c{i}": 100.0 for i in range(5)})
    found = recorded.find(seconds=6.0)
    first, again, middle, last = recorded.asked
    assert [asked[:2] for asked in recorded.asked] == [(0, 0), (0, 0), (0, 2), (0, 6)]
    assert first[2] == again[2] < middle[2] < last[2] == 3 * middle[2]
    assert all(len(value.timing.samples) == last[2] for value in found.values())


@pytest.mark.parametrize("n", [0, 1, 4, 5, 8, 9])
def test_it_is_told_how_many_have_entered(n):
    told = []
    recorded = Recorded(**{f"c{i}": 100.0 for i in range(n)})
    found = recorded.find(advance=lambda *counts: told.append(counts))
    assert told == [(min(4 * k, n), n) for k in range(1, -(-n // 4) + 1)]
    assert len(found) == n
    assert all(value.final for value in found.values())
    assert not recorded.open


def test_a_candidate_may_take_half_as_long_again_at_first_and_15_percent_in_the_end():
    found = Recorded(a=100.0, at=114.9, over=115.1, far=150.0, gone=150.1).find()
    assert {key for key, value in found.items() if value.final} == {"a", "at"}
    recorded = Recorded(a=100.0, far=150.0, gone=150.1)
    recorded.find()
    assert recorded.turns[1] == ["a", "far"]
