"""Ctrl-C and SIGTERM as a wish to stop: what was begun is finished, or leaves nothing behind."""

import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Timer, current_thread, main_thread

__all__ = ["lost_interrupts_raised", "sigterm_as_interrupt", "stop_signals"]

_SOON = 0.01
"""Seconds in which a finalizer or a callback of a library has returned."""


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
def lost_interrupts_raised() -> Iterator[None]:
    """Interrupt the block again where an interruption came while Python was in a finalizer.

    What ``__del__`` or a callback of a library raises, Python prints and drops: a Ctrl-C in one of
    the two would be a traceback on the screen and a command that goes on.
    """
    before = sys.unraisablehook

    def interrupt() -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # then SIGTERM was the interruption
            interrupt_main(signal.SIGTERM)
        else:
            interrupt_main()

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            before(unraisable)
            return
        again = Timer(_SOON, interrupt)  # from here it would be dropped once more
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


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
