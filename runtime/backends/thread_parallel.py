"""Many images on the threads of a CPU: each thread with images of its own waits for no other."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Generic, TypeVar

from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.hardware.cpu import usable_processors
from emonet_deploy.runtime.metadata import ModelInfo

__all__ = ["DataParallelSession"]

M = TypeVar("M")
T = TypeVar("T")
R = TypeVar("R")


class DataParallelSession(Session, Generic[M]):
    """A session that opens its model once for all threads and, when a batch is large enough, again.

    On a CPU a single image stays in the caches, so that a batch is split into images. One alone is
    run by all threads together; as many as there are threads are run by each thread on its own.
    ``M`` is a model as the backend's library has it.
    """

    def __init__(
        self,
        info: ModelInfo,
        model: M,
        threads: int | None,
        *,
        provider: str,
        device: str = "cpu",
        max_batch: int | None = 1,
    ) -> None:
        super().__init__(info, provider=provider, device=device, max_batch=max_batch)
        self._threads = threads or usable_processors()
        self._together: M | None = model
        self._alone: M | None = None
        self._may_share = self._threads > 1
        self._lock = Lock()

    @abstractmethod
    def _outputs(self, model: M, images: Array) -> dict[str, Array]:
        """Run checked images on one of the two; called from several threads."""

    @abstractmethod
    def _open_for_each(self, threads: int) -> M | None:
        """Open the model so that as many threads can run an image each; None if it cannot be."""

    def close(self) -> None:
        """Release the model; closing twice is harmless."""
        with self._lock:
            super().close()
            self._together = self._alone = None

    def _run(self, images: Array) -> dict[str, Array]:
        model = self._together
        if model is None:
            raise BackendError("this session was closed while it ran; load the artifact again")
        return self._outputs(model, images)

    def _run_each(self, batches: Sequence[Array], names: Sequence[str]) -> list[dict[str, Array]]:
        alone = self._opened_for_each() if len(batches) >= self._threads else None
        if alone is None:
            return super()._run_each(batches, names)
        return share_out(batches, self._threads, partial(self._outputs, alone), self._run)

    def _opened_for_each(self) -> M | None:
        with self._lock:
            if self._alone is None and self._may_share and self._open:
                self._alone = self._open_for_each(self._threads)
                self._may_share = self._alone is not None  # what failed once is not tried again
            return self._alone


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
