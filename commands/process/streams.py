"""Standard streams: closed, full, unread, and talked into by libraries."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import typer

from emonet_deploy.commands.process.exit_codes import ExitCode
from emonet_deploy.errors import InputError

__all__ = ["hear_libraries", "libraries_silenced", "open_missing_streams", "standard_output"]

_STDERR: Final = 2
"""The number under which libraries in C know standard error, whatever Python writes to."""


def open_missing_streams() -> None:
    """Put nothing in the place of standard streams that were closed by whoever started this.

    Otherwise the next file that is opened would take their number, and whatever a library prints.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as we live


@contextmanager
def libraries_silenced() -> Iterator[None]:
    """Let what libraries in C write to standard error in the block go nowhere.

    Decoders of pictures tell of each damaged file there, beside the line that the toolkit prints.
    What Python prints, the toolkit's lines among it, arrives as before.
    """
    before = sys.stderr
    try:
        kept = os.dup(_STDERR)
        nothing = os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no standard error, or no more files: then there is nothing to keep clean
        yield
        return
    ours = os.fdopen(kept, "w", buffering=1, encoding=before.encoding, errors=before.errors)
    os.dup2(nothing, _STDERR)
    os.close(nothing)
    sys.stderr = ours
    try:
        yield
    finally:
        sys.stderr = before
        os.dup2(kept, _STDERR)
        with suppress(OSError):  # what nobody could be told
            ours.close()


def hear_libraries() -> None:
    """Let libraries in C be heard again, as ``--verbose`` and servers with their own log ask."""
    with suppress(OSError):  # where standard error is no file, as in a test, nothing was silenced
        os.dup2(sys.stderr.fileno(), _STDERR)


@contextmanager
def standard_output() -> Iterator[None]:
    """Say in one line that standard output takes no more; end quietly where nobody reads it.

    Raises:
        InputError: a write in the block failed.
        typer.Exit: it failed because the reader has gone.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:  # of a file: not ours
            raise
        # What is still in the buffer goes nowhere, or Python would fail on it once more at its end.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(ExitCode.OUTPUT_CLOSED) from error
        raise InputError(
            f"cannot write to standard output: {error.strerror or error}",
            hint="free some space or send it elsewhere",
        ) from error
