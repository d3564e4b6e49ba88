"""How long a call takes, with every candidate timed in turns within one run.

Machines drift: clocks change, neighbours come and go. Timing candidates in turns lets each meet
the same conditions, so ratios hold even where absolute figures do not.
"""

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

__all__ = ["Timing", "time_in_bursts", "time_in_turns"]

MIN_ROUNDS: Final = 5

BURST: Final = 50
"""Calls back to back: enough that a GPU computes at its full clock."""

MIN_SAMPLES: Final = 500
"""Of which the 99th percentile is the sixth largest, and no single slow call."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Timing:
    """Durations of single calls, in milliseconds, warm-up not counted."""

    samples: tuple[float, ...]

    def percentile(self, q: float) -> float:
        """Return the q-th percentile (0 to 100), in milliseconds."""
        return float(np.percentile(self.samples, q))

    @property
    def median(self) -> float:
        """Return the median, in milliseconds."""
        return self.percentile(50)


def time_in_turns(
    calls: Mapping[Key, Callable[[], Any]],
    warmup: float = 0.5,
    seconds: float = 5.0,
    clock: Callable[[], float] = time.perf_counter,
    advance: Callable[[], None] = lambda: None,
    pause: float = 0.0,
    rounds: int = MIN_ROUNDS,
) -> dict[Key, Timing]:
    """Time several calls in turns.

    Args:
        calls: what to time; each must return only when its work is done.
        warmup: seconds for which each is called before anything counts, and at least twice.
        seconds: measured time for each on average.
        clock: monotonic, in seconds.
        advance: called after each round.
        pause: seconds of sleep before each call: the threads of some libraries spin on for a
            while after their work is done, which would slow the one that follows.
        rounds: how many are made at least.
    """
    for call in calls.values():
        _warm(call, warmup, clock)
    samples: dict[Key, list[float]] = {key: [] for key in calls}
    spent, done = 0.0, 0
    while done < rounds or spent < seconds * len(calls):
        # Going there and back lets no candidate always follow the same neighbour.
        for key, call in list(calls.items())[:: 1 if done % 2 == 0 else -1]:
            time.sleep(pause)
            start = clock()
            call()
            duration = clock() - start
            samples[key].append(duration * 1e3)
            spent += duration
        done += 1
        advance()
    return {key: Timing(tuple(values)) for key, values in samples.items()}


def time_in_bursts(
    calls: Mapping[Key, Callable[[], Any]],
    warmup: float = 0.5,
    seconds: float = 3.0,
    clock: Callable[[], float] = time.perf_counter,
    samples: int = MIN_SAMPLES,
) -> dict[Key, Timing]:
    """Time several calls in turns of many calls each, for a device whose clock falls when it rests.

    A GPU that is called once in a while computes at its idle clock, a fifth of the other. So each
    candidate is called back to back, warmed before each of its turns, and nothing else in between.

    Args:
        calls: what to time; each must return only when its work is done.
        warmup: seconds for which each is called before it is first timed; a tenth of that before
            each of its turns.
        seconds: measured time for each.
        clock: monotonic, in seconds.
        samples: calls of each at least.
    """
    for call in calls.values():
        _warm(call, warmup, clock)
    found: dict[Key, list[float]] = {key: [] for key in calls}
    spent = dict.fromkeys(calls, 0.0)
    rounds = 0
    while any(spent[key] < seconds or len(found[key]) < samples for key in calls):
        for key, call in list(calls.items())[:: 1 if rounds % 2 == 0 else -1]:
            _warm(call, warmup / 10, clock)
            for _ in range(min(BURST, samples)):
                start = clock()
                call()
                duration = clock() - start
                found[key].append(duration * 1e3)
                spent[key] += duration
        rounds += 1
    return {key: Timing(tuple(values)) for key, values in found.items()}


def _warm(call: Callable[[], Any], seconds: float, clock: Callable[[], float]) -> None:
    end = clock() + seconds
    call()
    call()
    while clock() < end:
        call()
