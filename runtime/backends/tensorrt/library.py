"""TensorRT and TensorRT-RTX: the package, its one logger, its failures in one line."""

from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal, TypeAlias, TypeVar

from emonet_deploy.errors import BackendError, EmonetError
from emonet_deploy.runtime.choices import EngineKind
from emonet_deploy.runtime.requirements import TENSORRT, TENSORRT_RTX, Package, import_required

__all__ = [
    "PACKAGES",
    "EngineKind",
    "Library",
    "checked",
    "complaints",
    "import_tensorrt",
    "logger_of",
]

PACKAGES: Final[Mapping[EngineKind, Package]] = {"trt": TENSORRT, "trt-rtx": TENSORRT_RTX}
"""The Python package behind each kind of engine."""

Library: TypeAlias = Any
"""The module ``tensorrt`` or ``tensorrt_rtx``, or an object of it: neither has type stubs."""

T = TypeVar("T")


def import_tensorrt(kind: EngineKind) -> Library:
    """Return the package that builds and runs a kind of engine.

    Raises:
        MissingDependencyError: it is not installed; the message has the command.
        BackendError: it is installed but cannot be loaded.
    """
    return import_required(PACKAGES[kind], f"use engines of the kind {kind}")


@cache
def logger_of(trt: Library) -> Library:
    """Return the process's one logger for a package: TensorRT keeps the first it is given.

    It has ``errors``, the newest messages of that severity, and ``layers``, the newest dump of an
    engine's layers, which a build prints when its profiling verbosity is ``DETAILED``.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]  # the base class is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=20)
            self.layers = ""

        def log(self, severity: Library, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(msg)
            elif msg.startswith("Layers:"):
                self.layers = msg

    return Logger()


def checked(
    result: T | Literal[False] | None,
    what: str,
    trt: Library,
    error: type[EmonetError] = BackendError,
) -> T:
    """Return what a TensorRT call returned, or raise when that is None or False.

    Args:
        result: of the call; TensorRT says None or False where others raise.
        what: the call did not do, for the message: ``TensorRT could not {what}``.
        trt: the package; its logger has the reason.
        error: the type to raise.

    Raises:
        EmonetError: of the type ``error``, with what the logger collected.
    """
    if result is None or result is False:
        raise error(f"{trt.__name__} could not {what}: {complaints(trt)}")
    return result


def complaints(trt: Library) -> str:
    """Return the errors a package has logged since the last call, as one line."""
    errors = logger_of(trt).errors
    taken = [errors.popleft() for _ in range(len(errors))]
    unique = list(dict.fromkeys(" ".join(message.split()) for message in taken))
    return "; ".join(unique) or "it gave no reason"
