"""Ctrl-C and SIGTERM as a wish to stop: what was begun is finished."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread

__all__ = ["stop_signals"]


@contextmanager
def stop_signals(say: Callable[[str], None]) -> Iterator[Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; a second one interrupts at once.

    So that a long run ends as if its input had ended there: what was begun is finished and every
    output is complete up to that frame.
    """
    stop = Event()
    if current_thread() is not main_thread():  # Only the main thread may set handlers.
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]

    def handle(number: int, frame: object) -> None:
        stop.set()
        restore()
        say("stopping after the frames at hand; once more to stop at once")

    def restore() -> None:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()
