"""How far a run has come, read from its checkpoint while it goes on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from emonet_deploy.batch.listing import RunFolder

__all__ = ["Progress", "watched"]

Progress = Callable[[int, int], None]
"""Is told how many files have their rows, and how many there are."""

_PAUSE: Final = 1.0
_SHARE: Final = 20
"""Looking takes at most one part of so many of the time, however slow the store is."""


@contextmanager
def watched(folder: RunFolder, total: int, progress: Progress) -> Iterator[None]:
    """Tell, while the block runs, how many of the files of a run have their rows."""
    end, counts = Event(), dict[str, int]()

    def look() -> float:
        started = time.monotonic()
        counts.update(folder.committed(counts))
        progress(sum(counts.values()), total)
        return max(_PAUSE, _SHARE * (time.monotonic() - started))

    def watch() -> None:
        pause = 0.0
        while not end.wait(pause):
            pause = look()

    thread = Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
