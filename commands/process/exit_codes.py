"""What the exit code of a command says."""

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """The exit codes of every command; from 128 on they are what a shell gives for a signal."""

    OK = 0
    ERROR = 1
    """What was asked for could not be done, or not wholly: standard error says why."""
    USAGE = 2
    """No such command or option, or a value that an option does not take."""
    GATE_FAILED = 3
    """It was done, and the result does not reach a parity or accuracy gate."""
    INTERRUPTED = 130
    """Ctrl-C or SIGTERM: outputs are complete up to there or not there at all."""
    OUTPUT_CLOSED = 141
    """Nobody reads standard output any more, as after ``| head``."""
