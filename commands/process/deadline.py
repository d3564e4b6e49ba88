"""An end for what may wait for ever, and cannot be interrupted."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer

from emonet_deploy.commands.process.exit_codes import ExitCode

__all__ = ["deadline"]


@contextmanager
def deadline(seconds: float, tell: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Yield what is to be called within so many seconds, or the process ends with code 1.

    For libraries that wait in C, where no signal and no exception of Python's arrives.

    Args:
        seconds: from now on; the end of the block is in time, too.
        tell: says why it ends.
    """

    def give_up() -> None:
        tell()
        os._exit(ExitCode.ERROR)

    timer = Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()
