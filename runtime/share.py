"""Many images on the threads of a CPU: each thread with images of its own waits for no other."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["share_out"]

T = TypeVar("T")
R = TypeVar("R")


def share_out(
    jobs: Sequence[T], threads: int, alone: Callable[[T], R], together: Callable[[T], R]
) -> list[R]:
    """Return what jobs give, in their order.

    Args:
        jobs: what to do.
        threads: how many are done at once.
        alone: does a job on one thread; called from several.
        together: does a job on all threads: what is left when the others have been shared evenly.
    """
    shared = len(jobs) - len(jobs) % threads
    with ThreadPoolExecutor(threads) as pool:
        try:
            runs = [pool.submit(alone, job) for job in jobs[:shared]]
        except RuntimeError:  # Python is ending and starts no more threads
            return [together(job) for job in jobs]
        results = [run.result() for run in runs]
    return results + [together(job) for job in jobs[shared:]]
