"""What ``emonet tune`` does: time every way to run EmoNet here in turns, and choose."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.speed.find_fastest import TimeCalls, find_fastest
from emonet_deploy.benchmarks.speed.latency import time_in_bursts, time_in_turns
from emonet_deploy.commands.judging import parity_crops
from emonet_deploy.commands.tune.ways import to_measure
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.choices import Optimize
from emonet_deploy.runtime.pipeline.artifact_interfaces import prepare, results
from emonet_deploy.runtime.tuning.choose import choose
from emonet_deploy.runtime.tuning.configuration import Configuration, Measured
from emonet_deploy.runtime.tuning.machine import Machine
from emonet_deploy.runtime.tuning.record import TuningRecord

__all__ = ["Measuring", "merge", "timer", "tune_for"]

CROPS = 4

BUSY: Final = 1.15
"""How many times the 25th percentile the median is on a machine that does nothing else, at most."""


@dataclass(frozen=True)
class Measuring:
    """How ways are timed.

    Attributes:
        out: folder of the artifacts.
        checkpoint: file of the weights.
        seconds: measured time for each of the fastest, on average.
        time_calls: times calls in turns.
        say: takes a note for the user.
        advance: told how many ways have been tried, and of how many.
    """

    out: Path
    checkpoint: Path
    seconds: float
    time_calls: TimeCalls
    say: Callable[[str], None]
    advance: Callable[[int, int], None] = lambda done, total: None


def tune_for(
    purpose: Optimize,
    candidates: Sequence[Configuration],
    known: Sequence[Measured],
    measuring: Measuring,
) -> tuple[list[Measured], Measured]:
    """Time what must be timed of the candidates for a purpose, and choose one.

    Args:
        purpose: of the candidates.
        candidates: all ways that are exact enough.
        known: rows whose figures still hold: of this machine.
        measuring: how to time.

    Returns:
        The row of each candidate that runs, those timed to the end first and each of the two kinds
        by speed; and the one chosen.

    Raises:
        BackendError: none of the candidates runs here.
    """
    rows = {row.configuration: row for row in known if row.configuration in set(candidates)}
    wanted = to_measure(candidates, rows)
    reused = len(rows.keys() - set(wanted))
    measuring.say(
        f"{purpose}: {len(wanted)} ways to measure"
        + (f", {reused} known from before" if reused else "")
    )
    if wanted:
        crops = parity_crops(CROPS)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        found = find_fastest(
            wanted,
            partial(_open, measuring, crops),
            lambda way: way.batch,
            measuring.seconds,
            measuring.time_calls,
            measuring.say,
            measuring.advance,
        )
        rows |= {
            way: Measured(
                way,
                times.timing.percentile(25),
                times.timing.median,
                len(times.timing.samples),
                times.final,
                date,
            )
            for way, times in found.items()
        }
    chosen = choose(rows.values())
    if chosen is None:
        raise BackendError("nothing here runs any artifact", hint="`emonet doctor` says why")
    if chosen.p50_ms > BUSY * chosen.p25_ms:
        measuring.say(
            "note: other processes kept the processors busy, so the figures are rough; "
            "`emonet tune --again` when they are idle"
        )
    return sorted(rows.values(), key=lambda row: (not row.final, row.cost)), chosen


def merge(
    old: TuningRecord | None, fresh: Sequence[Measured], machine: Machine
) -> tuple[Measured, ...]:
    """Return fresh rows, and those of an older record that were not measured again.

    An older row of another machine is dropped, and one of the same way to run another file.
    """
    if old is None or old.machine != machine:
        return tuple(fresh)
    taken = {_place(row.configuration) for row in fresh}
    return (*fresh, *(row for row in old.rows if _place(row.configuration) not in taken))


def _place(way: Configuration) -> tuple[object, ...]:
    return way.purpose, way.backend, way.file, way.device, way.threads, way.batch


@contextmanager
def _open(
    measuring: Measuring, crops: NDArray[np.uint8], way: Configuration
) -> Iterator[Callable[[], object]]:
    """Load a way to run, and give the call that takes a batch from crops to results."""
    path = measuring.out / way.file if way.file else measuring.checkpoint
    batch = crops[np.arange(way.batch) % len(crops)]
    with load_session(path, way.backend, way.device, way.threads) as session:
        yield lambda: results(session.run(prepare(session.info, batch)))


def timer(on_gpu: bool) -> TimeCalls:
    """Return what times calls on a device: a GPU's clock falls when it rests."""
    if not on_gpu:
        return time_in_turns
    return lambda calls, warmup, seconds, *, pause, rounds: time_in_bursts(
        calls, warmup, seconds, samples=rounds * 10
    )
