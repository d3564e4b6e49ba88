"""Checkpoint files of every format, read without running what they say."""

import io
import os
import re
import warnings
import zipfile
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path
from typing import Any, ClassVar, Final

import torch

from emonet_deploy.emonet_ref.checkpoint_file_kind import (
    HEAD,
    LEGACY_MAGIC,
    ZIP_MAGIC,
    describe_content,
    is_safetensors,
)
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.emonet_ref.storage.bounded_pickle import (
    GuardedUnpickler,
    PickleLimitError,
    checked_key,
)
from emonet_deploy.emonet_ref.storage.path_access import (
    open_file,
    read_bytes,
    why,
)
from emonet_deploy.errors import CheckpointError

__all__ = ["read_checkpoint_file", "unreadable"]

MAX_SAFETENSORS: Final = 1 << 30
MAX_PICKLE: Final = 64 << 20
"""Bytes of the pickle that says how a checkpoint is built; the tensors lie beside it."""

MAX_EXPANSION: Final = 4
"""How many times its own size a checkpoint's archive may unpack to; torch does not compress."""


def read_checkpoint_file(path: Path) -> object:
    """Return what a checkpoint holds: tensors, containers, numbers and texts.

    Values that NumPy, ``argparse`` and ``pathlib`` made, and that lie beside the weights, are left
    out: what stands in their place holds nothing.

    Raises:
        CheckpointError: the file cannot be read, is no checkpoint, is damaged or holds code.
        MissingDependencyError: it is of the safetensors format, and the package is not installed.
    """
    try:
        with open_file(path) as file:
            head = file.read(HEAD)
            if is_safetensors(head):
                return _safetensors(path)
            return _torch(path, file, head)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """Return the error that says why a checkpoint's file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return CheckpointError(f"no such file: {path}; check the name of the checkpoint")
    if isinstance(error, IsADirectoryError):
        return CheckpointError(f"{path} is a folder; name the checkpoint file in it")
    if isinstance(error, PermissionError):
        return CheckpointError(f"cannot read {path}: {why(error)}; check its permissions")
    return CheckpointError(f"cannot read {path}: {why(error)}; name a checkpoint file")


def _safetensors(path: Path) -> object:
    with needs("export", "read safetensors"):
        from safetensors import SafetensorError
        from safetensors.torch import load
    try:
        return load(read_bytes(path, MAX_SAFETENSORS))
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"{path} is truncated or damaged; copy or download it again"
        ) from error


def _torch(path: Path, file: BufferedReader, head: bytes) -> object:
    try:
        _rehearse(file, head)
        file.seek(0)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_STAND_INS):
            warnings.simplefilter("ignore")  # of pickle protocols; what counts is whether it loads
            return torch.load(file, map_location="cpu", weights_only=True)
    except PickleLimitError as error:
        raise CheckpointError(
            f"{path} is built so that reading it takes all memory or never ends ({error}); "
            "name another checkpoint"
        ) from error
    except Exception as error:  # a parser of pickles may raise anything on bytes that are none
        raise CheckpointError(f"{path} {_diagnosis(path, file, head, str(error))}") from error


def _diagnosis(path: Path, file: BufferedReader, head: bytes, message: str) -> str:
    """Say what is wrong with a file that torch cannot load, and what to do."""
    if not head:
        return "is empty; copy or download the checkpoint again"
    code = re.search(r"GLOBAL ([\w.]+)", message)
    if code:
        return (
            f"holds code ({code[1]}) and was not opened; ask its maker for the plain weights: "
            "torch.save(model.state_dict(), ...)"
        )
    if head.startswith(LEGACY_MAGIC) or (
        head.startswith(ZIP_MAGIC) and not zipfile.is_zipfile(file)
    ):
        return "is truncated or damaged; copy or download it again"
    return f"is not a checkpoint: {describe_content(path, head)}; name a file that torch.save wrote"


class _LeftOut:
    """Stands for a value that is of no use here, and for what makes it."""

    def __init__(self, *_: object) -> None:
        """Take whatever the value would be made of."""

    def __setstate__(self, state: object) -> None:
        """Forget it."""


_STAND_INS: Final[list[Any]] = [
    (_LeftOut, name)
    for name in (
        "argparse.Namespace",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy.dtype",
        "numpy.ndarray",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
    )
]


def _rehearse(file: BufferedReader, head: bytes) -> None:
    """Read a checkpoint's pickles with nothing in them being made, to see that this ends.

    Raises:
        PickleLimitError: it does not, or not soon.
        Exception: the file is damaged; PyTorch's own reader tells in which way.
    """
    if head.startswith(ZIP_MAGIC):
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            size = os.fstat(file.fileno()).st_size
            if sum(entry.file_size for entry in entries) > MAX_EXPANSION * size:
                raise PickleLimitError("it unpacks to many times its size")
            for entry in entries:
                if entry.filename.endswith("/data.pkl"):
                    if entry.file_size > MAX_PICKLE:
                        raise PickleLimitError("its description is too long")
                    _Rehearsal(io.BytesIO(archive.read(entry))).load()
        return
    file.seek(0)
    rehearsal = _Rehearsal(io.BytesIO(file.read(MAX_PICKLE)))
    # The old format: a magic number, a version, the machine, the content, the tensors' names.
    for _ in range(5 if head.startswith(LEGACY_MAGIC) else 1):
        rehearsal.load()


class _Nothing:
    """What a rehearsal makes of every name, call and tensor."""

    __slots__ = ("name",)

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __setitem__(self, key: object, value: object) -> None:
        """Take an entry as a mapping would."""

    def append(self, value: object) -> None:
        """Take a value as a list would."""

    def extend(self, values: object) -> None:
        """Take values as a list would."""


class _Rehearsal(GuardedUnpickler):
    dispatch: ClassVar = dict(GuardedUnpickler.dispatch)

    def find_class(self, module: str, name: str) -> object:
        return _Nothing(name)

    def persistent_load(self, pid: Any) -> object:  # noqa: ANN401 - as the base class has it
        for part in pid if isinstance(pid, tuple) else (pid,):
            if isinstance(part, tuple | list | dict | set | frozenset):
                raise PickleLimitError("it names a tensor by a container")
        return _Nothing()

    def call(self, function: object, arguments: tuple[Any, ...]) -> object:
        if not isinstance(function, _Nothing):
            raise PickleLimitError(f"it calls a {type(function).__name__}")
        self.count(_size(arguments, 100_000))
        if function.name in {"set", "frozenset", "Counter"}:
            for values in arguments:
                _hashed(values)
        if function.name in {"OrderedDict", "defaultdict", "dict"}:
            for pairs in arguments:
                _hashed(pair[0] for pair in pairs if isinstance(pair, tuple | list) and pair)
        return _Nothing()

    def restore(self, found: object, state: object) -> None:
        self.count(_size(state, 100_000))

    def _new(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], arguments)


_Rehearsal.dispatch[b"\x81"[0]] = _Rehearsal._new


def _hashed(values: Iterable[Any]) -> None:
    if not isinstance(values, str | bytes | _Nothing):
        for value in values:
            checked_key(value)


def _size(value: object, limit: int) -> int:
    """Return how many parts a value has, those that occur twice counted twice, up to a limit."""
    level, found = [value], 0
    while level:
        part = level.pop()
        found += 1
        if found > limit:
            raise PickleLimitError("a part of it is too large")
        if isinstance(part, dict):
            level += part.values()
        elif isinstance(part, tuple | list | set | frozenset):
            level += part
    return found
