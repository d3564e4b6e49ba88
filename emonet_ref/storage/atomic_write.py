"""Writing files so that nothing half-done ever carries a final name, and naming their content.

Beside everything that is being written lies a lock, which ends with its process however that ends.
Whoever next writes into the folder removes what has no living process any more.
"""

import functools
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from emonet_deploy.emonet_ref.storage.path_access import (
    exists,
    is_dir,
    is_file,
    open_file,
    resolve,
    why,
)
from emonet_deploy.errors import EmonetError, InputError

__all__ = ["atomic_folder", "atomic_write", "exclusive", "require_writable", "sha256_file"]

_ADVICE: Final = "free some space or name another place"
_PREFIX, _LOCK = ".emonet-", ".lock"
_MAX_SUFFIX: Final = 32
"""Characters of an ending that a temporary name keeps; no format has a longer one."""

_PAGE: Final = 4096
_PATIENCE: Final = 0.5
"""Seconds: whoever sweeps a folder holds a lock for a moment."""

_LONG: Final = 5.0
"""Seconds in which a lock that nobody else knows of is had, or cannot be had."""


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], error: type[EmonetError] = InputError, advice: str = _ADVICE
) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    The folder is made when it is missing. When the block fails or is interrupted the temporary
    file is removed and whatever stood at ``path`` before is untouched. A device or pipe, such as
    ``/dev/stdout``, is written straight to: there is nothing to replace.

    Args:
        path: the final name.
        error: what to raise when the folder or the file cannot be written.
        advice: what the user can do then; ends the message.

    Raises:
        EmonetError: of the type ``error``, on any ``OSError`` (no permission, full disk ...).
    """
    final = Path(path)
    with _translated(final, error, advice):
        if exists(final) and not is_file(final) and not is_dir(final):
            yield final
            return
        if is_dir(final):
            raise IsADirectoryError("it is a folder")
        with _temporary(final) as temporary:
            yield temporary
            os.replace(temporary, final)


@contextmanager
def atomic_folder(
    path: str | os.PathLike[str], error: type[EmonetError] = InputError, advice: str = _ADVICE
) -> Iterator[Path]:
    """Yield a new folder beside ``path``; rename it to ``path`` when the block succeeds.

    Args:
        path: the final name; an empty folder may lie there.
        error: as for ``atomic_write``.
        advice: as for ``atomic_write``.

    Raises:
        EmonetError: of the type ``error``, on any ``OSError``.
    """
    final = Path(path)
    with _translated(final, error, advice), _temporary(final) as temporary:
        temporary.mkdir()
        yield temporary
        if exists(final):
            final.rmdir()
        os.replace(temporary, final)


def require_writable(
    path: str | os.PathLike[str], error: type[EmonetError] = InputError, advice: str = _ADVICE
) -> None:
    """Raise what ``atomic_write`` would raise for a path, before the work whose result goes there.

    The folder is made when it is missing, and a page is written into it and removed.

    Raises:
        EmonetError: of the type ``error``.
    """
    final = Path(path)
    with _translated(final, error, advice):
        if is_dir(final):
            raise IsADirectoryError("it is a folder")
        if is_file(final) or not exists(final):
            with _temporary(final) as temporary:
                temporary.write_bytes(bytes(_PAGE))


@contextmanager
def exclusive(
    path: str | os.PathLike[str], error: type[EmonetError] = InputError, advice: str = _ADVICE
) -> Iterator[None]:
    """Let no other process that asks for it work on what lies at ``path`` while the block runs.

    Raises:
        EmonetError: of the type ``error``: another process is at it, or the folder cannot be
            written.
    """
    final = resolve(path)
    with _translated(Path(path), error, advice):
        final.parent.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(os.fsencode(final.name)).hexdigest()[:16]
        lock = FileLock(final.with_name(f"{_PREFIX}{name}{_LOCK}"))
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout as busy:
            raise error(
                f"another process is writing {path}; wait for it, or name another file"
            ) from busy
    try:
        yield
    finally:
        _remove(Path(lock.lock_file))
        lock.release()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a regular file's content as 64 hexadecimal digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _temporary(final: Path) -> Iterator[Path]:
    """Yield a name beside ``final`` that nobody removes while this process lives."""
    with suppress(FileNotFoundError):
        final.lstat()  # a name that is too long is told now, not when all is written
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(os.path.abspath(final.parent))
    # The suffix stays last: some libraries choose the format by it.
    suffix = final.suffix if len(final.suffix) <= _MAX_SUFFIX else ""
    temporary = final.with_name(f"{_PREFIX}{secrets.token_hex(4)}{suffix}")
    # Where no file can be made, as in /proc, the lock would be waited for in vain.
    lock = FileLock(f"{temporary}{_LOCK}", timeout=_LONG)
    try:
        with lock:
            try:
                yield temporary
            finally:
                _remove(temporary)
    finally:
        _remove(Path(lock.lock_file))


@functools.cache  # once in each folder: a run may write thousands of files into it
def _sweep(folder: str) -> None:
    """Remove what processes that were killed have left in a folder."""
    with suppress(OSError):
        for lock in Path(folder).glob(f"{_PREFIX}*{_LOCK}"):
            with suppress(OSError, Timeout), FileLock(lock, timeout=0):
                _remove(lock.with_name(lock.name.removesuffix(_LOCK)))
                _remove(lock)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if is_dir(path) and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _translated(final: Path, error: type[EmonetError], advice: str) -> Iterator[None]:
    try:
        yield
    except (OSError, NotImplementedError) as failure:
        # A signal between the opening and the closing of a file lets the closing fail.
        cause = failure.__context__
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise cause from None
            cause = cause.__context__
        reason = why(failure) if isinstance(failure, OSError) else str(failure)
        if isinstance(failure, Timeout):
            reason = "no file can be made there"
        raise error(f"cannot write {final}: {reason}", hint=advice) from failure
    except ValueError as failure:
        if "\0" not in os.fspath(final):
            raise
        raise error("cannot write to a name that holds a NUL byte", hint=advice) from failure
