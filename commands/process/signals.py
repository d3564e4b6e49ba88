"""Ctrl-C and SIGTERM as a wish to stop: what was begun is finished, or leaves nothing behind."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread

__all__ = ["sigterm_as_interrupt", "stop_signals"]


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that files that are not complete are removed.

    A process that was started to ignore the signal goes on ignoring it.
    """
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


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
