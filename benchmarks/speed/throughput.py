"""How many images a second a machine gets through: batches, threads of a run, runs at once.

Runs at once share a session, which several threads may run at the same time, or have a process
each. Run as ``python -m emonet_deploy.benchmarks.speed.throughput MODEL.onnx [THREADS]``; every
way is measured in turns with all others.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Final

import numpy as np

from emonet_deploy.emonet_ref.constants import INPUT_SIZE
from emonet_deploy.errors import EmonetError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.pipeline.artifact_interfaces import prepare, results
from emonet_deploy.runtime.pipeline.preprocess import stretch_face

__all__ = [
    "Way",
    "images_per_second",
    "in_processes",
    "processing_share",
    "throughput_by_threads",
    "ways",
]

SECONDS: Final = 4.0
ROUNDS: Final = 3

THREADS: Final = (1, 2, 4)
"""Threads that run a session on a GPU at once."""

PATIENCE: Final = 120.0
"""Seconds after which a process no longer waits for the others to be ready."""


@dataclass(frozen=True)
class Way:
    """One way to keep all cores busy: ``workers`` runs at once, ``threads`` cores for each.

    A session on a CPU shares a batch out among its threads.
    """

    workers: int
    threads: int
    batch: int
    processes: bool = False
    """Whether each worker is a process of its own."""

    def __str__(self) -> str:
        kind = "processes" if self.processes else "runs at once"
        return f"{self.workers} {kind} x {self.threads} threads, batch {self.batch}"


def ways(cores: int) -> list[Way]:
    """Return the ways that use each core once: all for one run, or one for each of many runs."""
    one = Way(1, cores, 1)
    if cores == 1:
        return [one]
    return [one, Way(1, cores, 4 * cores), Way(cores, 1, 1), Way(cores, 1, 1, processes=True)]


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


def throughput_by_threads(session: Session, images: Array, seconds: float) -> dict[str, float]:
    """Return images per second of a session by how many of ``THREADS`` run it, as JSON's keys."""
    return {str(n): images_per_second(session, images, n, seconds) for n in THREADS}


def in_processes(path: str | os.PathLike[str], way: Way, seconds: float) -> float:
    """Run one batch again and again in several processes; return images per second of all.

    Each loads the model for itself; they begin together once all are warm.
    """
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(way.workers, context) as pool:
        ready = manager.Barrier(way.workers, timeout=PATIENCE)
        jobs = [
            pool.submit(_alone, os.fspath(path), way, seconds, ready) for _ in range(way.workers)
        ]
        errors = [error for job in jobs if (error := job.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):
            raise error  # the first cause, not that the others waited in vain
        return sum(job.result() for job in jobs)


def processing_share(session: Session, rounds: int = 20) -> float:
    """Return what preparing a face and reading its results take, as a share of its inference.

    The face is 256 pixels wide; medians over ``rounds``, in turns.
    """
    face = np.random.default_rng(0).integers(0, 256, (INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    around, inside = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        crops = np.stack([stretch_face(face)])
        images = prepare(session.info, crops)
        prepared = time.perf_counter()
        outputs = session.run(images)
        ran = time.perf_counter()
        results(outputs)
        around.append(time.perf_counter() - ran + prepared - begin)
        inside.append(ran - prepared)
    return float(np.median(around) / np.median(inside))


def _alone(path: str, way: Way, seconds: float, ready: Barrier) -> float:
    try:
        return _measured(path, replace(way, workers=1), seconds, ready.wait)
    except EmonetError:
        ready.abort()
        raise


def _zeros(session: Session, batch: int) -> Array:
    want = session.info.inputs[0]
    return np.zeros(tuple(size or batch for size in want.shape), want.dtype)


def _measured(
    path: str | os.PathLike[str],
    way: Way,
    seconds: float,
    ready: Callable[[], object] = lambda: None,
) -> float:
    """Load and warm a session, wait until all are ``ready``, and measure it."""
    with load_session(path, device="cpu", threads=way.threads) as session:
        images = _zeros(session, way.batch)
        session.run(images)
        ready()
        return images_per_second(session, images, way.workers, seconds)


def _main(path: Path, cores: int) -> None:
    speeds: dict[Way, list[float]] = {way: [] for way in ways(cores)}
    for _ in range(ROUNDS):
        for way, found in speeds.items():
            measure = in_processes if way.processes else _measured
            found.append(measure(path, way, SECONDS))
    for way, found in sorted(speeds.items(), key=lambda item: -float(np.median(item[1]))):
        print(f"{np.median(found):6.2f} images/s\t{way}")
    with load_session(path, device="cpu", threads=cores) as session:
        print(f"before and after each run: {processing_share(session):.1%} of its time")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else os.cpu_count() or 1)
