"""How many images a second a machine gets through: batches, threads of a run, runs at once.

A session may be run from several threads at the same time. Run as
``python -m emonet_deploy.benchmarks.throughput MODEL.onnx [THREADS]``.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from emonet_deploy.runtime.session import Array, Session, load_session

__all__ = ["Way", "images_per_second", "ways"]

SECONDS: Final = 4.0
ROUNDS: Final = 3


@dataclass(frozen=True)
class Way:
    """One way to keep all cores busy: ``workers`` runs at once, ``threads`` cores for each."""

    workers: int
    threads: int
    batch: int

    def __str__(self) -> str:
        return f"{self.workers} at once x {self.threads} threads, batch {self.batch}"


def ways(cores: int, batches: Sequence[int] = (1, 4, 8)) -> list[Way]:
    """Return the ways that use each core once: all for one run, or one for each of many runs."""
    splits = dict.fromkeys([(1, cores), (cores, 1)])
    return [Way(workers, threads, batch) for workers, threads in splits for batch in batches]


def images_per_second(
    session: Session,
    images: Array,
    workers: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Run one batch again and again from several threads; return images per second of wall time.

    Args:
        session: warm already.
        images: one batch as the session takes it.
        workers: how many runs are under way at once.
        seconds: after which no further run is begun.
        clock: monotonic, in seconds.
    """
    start = clock()

    def work() -> int:
        runs = 0
        while runs == 0 or clock() - start < seconds:
            session.run(images)
            runs += 1
        return runs

    with ThreadPoolExecutor(workers) as pool:
        counts = [future.result() for future in [pool.submit(work) for _ in range(workers)]]
    return sum(counts) * len(images) / (clock() - start)


def _main(path: str, cores: int) -> None:
    speeds: dict[Way, list[float]] = {way: [] for way in ways(cores)}
    for _ in range(ROUNDS):
        for way, found in speeds.items():
            with load_session(path, device="cpu", threads=way.threads) as session:
                shape = (size or way.batch for size in session.info.inputs[0].shape)
                images = np.zeros(tuple(shape), session.info.inputs[0].dtype)
                session.run(images)
                found.append(images_per_second(session, images, way.workers, SECONDS))
    for way, found in sorted(speeds.items(), key=lambda item: -float(np.median(item[1]))):
        print(f"{np.median(found):6.2f} images/s\t{way}")


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else os.cpu_count() or 1)
