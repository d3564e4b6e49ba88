"""Which of many calls is the fastest, without timing those long that are far behind.

All that are compared are timed in turns, see ``latency``. Candidates enter a few at a time, the
fastest so far among them; what is far behind leaves at once, and its memory with it. Those left are
timed longer, twice, and the last time decides.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from emonet_deploy.benchmarks.speed.latency import Timing, time_in_turns
from emonet_deploy.errors import EmonetError

__all__ = ["Found", "TimeCalls", "find_fastest"]

GROUP: Final = 4
"""How many candidates enter at once: each holds a model in memory."""

FAR_BEHIND: Final = 1.5
"""How many times the fastest's time a candidate may take in its first rounds."""

BEHIND: Final = 1.15
"""Likewise once it was timed longer."""

FIRST_ROUNDS: Final = 3
LAST_ROUNDS: Final = 15
PAUSE: Final = 0.02
"""Seconds between calls, in which threads of the one before go to sleep."""

Call = Callable[[], Any]
Key = TypeVar("Key", bound=Hashable)


class TimeCalls(Protocol):
    """What times calls in turns: ``time_in_turns``, or what a test has recorded."""

    def __call__(
        self,
        calls: Mapping[Any, Call],
        warmup: float,
        seconds: float,
        *,
        pause: float,
        rounds: int,
    ) -> Mapping[Any, Timing]:
        """Return durations by key; see ``time_in_turns``."""
        ...


@dataclass(frozen=True)
class Found:
    """The times of a candidate, and whether it was compared with the fastest to the end."""

    timing: Timing
    final: bool


def find_fastest(
    candidates: Sequence[Key],
    load: Callable[[Key], AbstractContextManager[Call]],
    images: Callable[[Key], int],
    seconds: float = 3.0,
    time_calls: TimeCalls = time_in_turns,
    say: Callable[[str], None] = lambda _: None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> dict[Key, Found]:
    """Time candidates in turns; who is far behind is dropped early.

    Args:
        candidates: what to time, the most promising first.
        load: gives the call of one that is ready; left when it is no longer timed. One that raises
            ``EmonetError`` cannot run here and is left out.
        images: how many a call gets through: what they cost, one by one, is compared.
        seconds: measured time for each that is timed to the end, on average.
        time_calls: times calls in turns.
        say: told who cannot run here, and why.
        advance: told how many candidates have entered, and of how many.

    Returns:
        The times of each that runs, of the last turns it took part in.
    """
    found: dict[Key, Found] = {}
    with _Pool[Key](load, say) as pool:
        leader: list[Key] = []
        for start in range(0, len(candidates), GROUP):
            pool.enter(candidates[start : start + GROUP])
            group = [*leader, *(c for c in candidates[start : start + GROUP] if c in pool.calls)]
            if group:
                timings = time_calls(
                    {c: pool.calls[c] for c in group}, 0.0, 0.0, pause=PAUSE, rounds=FIRST_ROUNDS
                )
                leader = _keep(pool, found, timings, images, FAR_BEHIND)[:1]
            advance(min(start + GROUP, len(candidates)), len(candidates))
        timings = time_calls(pool.calls, 0.0, seconds / 3, pause=PAUSE, rounds=LAST_ROUNDS // 3)
        _keep(pool, found, timings, images, BEHIND)
        timings = time_calls(pool.calls, 0.0, seconds, pause=PAUSE, rounds=LAST_ROUNDS)
        found |= {key: Found(timing, True) for key, timing in timings.items()}
    return found


def _keep(
    pool: "_Pool[Key]",
    found: dict[Key, Found],
    timings: Mapping[Key, Timing],
    images: Callable[[Key], int],
    factor: float,
) -> list[Key]:
    """Note times, drop what is behind, and return the others, the fastest first."""
    found |= {key: Found(timing, False) for key, timing in timings.items()}
    medians = {key: timing.median / images(key) for key, timing in timings.items()}
    limit = factor * min(medians.values(), default=0.0)
    for key, timing in timings.items():
        # What a busy machine slows down for a while is not dropped for it: only what is behind at
        # its best.
        if min(timing.samples) / images(key) > limit:
            pool.drop(key)
    return sorted(medians.keys() & pool.calls.keys(), key=lambda key: medians[key])


class _Pool(Generic[Key]):
    """Calls that are ready; each is left when it is dropped, the others at the end."""

    def __init__(
        self, load: Callable[[Key], AbstractContextManager[Call]], say: Callable[[str], None]
    ) -> None:
        self.calls: dict[Key, Call] = {}
        self._load, self._say = load, say
        self._open: dict[Key, ExitStack] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stack in self._open.values():
            stack.close()

    def enter(self, keys: Sequence[Key]) -> None:
        """Make ready those that can run here."""
        for key in keys:
            with ExitStack() as stack:
                try:
                    self.calls[key] = stack.enter_context(self._load(key))
                except EmonetError as error:
                    self._say(f"left out: {key}: {error.message}")
                else:
                    self._open[key] = stack.pop_all()

    def drop(self, key: Key) -> None:
        """Leave one, and release what it holds."""
        del self.calls[key]
        self._open.pop(key).close()
