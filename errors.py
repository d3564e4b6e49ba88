"""Everything the toolkit raises on purpose.

    EmonetError
    ├── MissingDependencyError (ImportError)   an optional package is absent
    ├── CheckpointError (ValueError)           weights that cannot be used
    ├── ArtifactError (ValueError)             an ONNX model or engine that cannot be used
    ├── InputError (ValueError)                images, videos or options that cannot be used
    ├── DatasetError (ValueError)              annotations that cannot be used
    ├── ExportError (RuntimeError)             making an artifact failed
    │   └── ParityError                        the artifact does not agree with its reference
    └── BackendError (RuntimeError)            running an artifact failed

Each message is one line: what happened, then what to do next; where the latter is given as
``hint``, the command line prints it on a line of its own. Errors of other libraries are translated
where they enter the toolkit, with the original kept as ``__cause__``.
"""

__all__ = [
    "ArtifactError",
    "BackendError",
    "CheckpointError",
    "DatasetError",
    "EmonetError",
    "ExportError",
    "InputError",
    "MissingDependencyError",
    "ParityError",
    "one_line",
]


class EmonetError(Exception):
    """Base of every error the toolkit raises on purpose.

    Attributes:
        message: what happened and, unless that is the hint, what to do next.
        hint: what to do next, such as a command to type; ``str(error)`` ends in it too.
    """

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint


class MissingDependencyError(EmonetError, ImportError):
    """An optional package is absent; the message carries the command that installs it."""


class CheckpointError(EmonetError, ValueError):
    """A checkpoint is missing, damaged, unsafe or of another model."""


class ArtifactError(EmonetError, ValueError):
    """An ONNX model or engine is damaged, foreign, or made for another machine."""


class InputError(EmonetError, ValueError):
    """An image, video, tensor or option cannot be used."""


class DatasetError(EmonetError, ValueError):
    """A data set or its annotations cannot be used."""


class ExportError(EmonetError, RuntimeError):
    """An artifact could not be made."""


class ParityError(ExportError):
    """An artifact was made but does not agree with the reference within its gates."""


class BackendError(EmonetError, RuntimeError):
    """A backend is not available, or failed while it ran."""


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
