"""Let the stages of a pipeline overlap: run an iterator in a thread, a few items ahead."""

import queue
import threading
from collections.abc import Generator, Iterable
from contextlib import suppress
from typing import TypeVar

__all__ = ["prefetch"]

T = TypeVar("T")

_POLL = 0.1  # Seconds after which a blocked side looks whether the other one is gone.


class _End:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(items: Iterable[T], ahead: int = 4, *, latest: bool = False) -> Generator[T]:
    """Yield what ``items`` yields, in order, computed in a thread of its own.

    Stages are chained by nesting: ``prefetch(map(second, prefetch(map(first, ...))))``. An error in
    the thread is raised here. When the consumer stops early, the thread ends after the item it is
    at, and ``items`` is closed in that thread if it is a generator.

    Args:
        items: is iterated in the thread only.
        ahead: how many finished items may wait.
        latest: drop the oldest waiting item instead of making the thread wait: for a camera, whose
            consumer wants the newest picture.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(item: T | _End) -> None:
        replaces = latest and not isinstance(item, _End)
        while not stop.is_set():
            try:
                waiting.put(item, block=not replaces, timeout=_POLL)
            except queue.Full:
                if replaces:
                    with suppress(queue.Empty):
                        waiting.get_nowait()
            else:
                return

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                put(item)
                if stop.is_set():
                    break
        except BaseException as error:
            put(_End(error))
        else:
            put(_End())
        finally:
            if close := getattr(iterator, "close", None):
                close()

    thread = threading.Thread(target=work, name="emonet-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = waiting.get(timeout=_POLL)
            except queue.Empty:  # Windows delivers Ctrl-C only between waits.
                continue
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
    finally:
        stop.set()
        thread.join()
