"""Questions about paths that never fail, and files opened only where they are files.

``Path.is_file`` and its kin raise where a folder may not be entered (up to Python 3.13), a name is
too long or holds a NUL byte; ``Path.resolve`` raises on a loop of links and in a folder that was
deleted. To whoever asks, all of these mean: there is no such file.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

__all__ = ["exists", "is_dir", "is_file", "open_file", "read_bytes", "read_text", "resolve", "why"]

StrPath = str | os.PathLike[str]

_OPENING: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Without O_NONBLOCK, opening a pipe waits for whoever writes to it."""

_PIECE: Final = 1 << 18


def exists(path: StrPath) -> bool:
    """Return whether something lies at a path, as far as this process may look."""
    return _mode(path) is not None


def is_file(path: StrPath) -> bool:
    """Return whether a regular file lies at a path, as far as this process may look."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def is_dir(path: StrPath) -> bool:
    """Return whether a folder lies at a path, as far as this process may look."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def resolve(path: StrPath) -> Path:
    """Return a path made absolute with its links followed, as far as that can be done."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return Path(path)


def open_file(path: StrPath) -> BufferedReader:
    """Open a regular file to read its bytes; devices and pipes, which have no end, are refused.

    Raises:
        OSError: and nothing else; `why` puts it into words.
    """
    try:
        descriptor = os.open(path, _OPENING)
    except ValueError as error:
        raise OSError(errno.EINVAL, "a file's name holds no NUL byte") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
    except BaseException:
        os.close(descriptor)
        raise
    # Not above: a file object that an interruption discards has closed the descriptor already.
    return os.fdopen(descriptor, "rb")


def read_bytes(path: StrPath, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises:
        OSError: as `open_file`, and for a larger file.
    """
    too_large = OSError(errno.EFBIG, f"it is larger than {limit / 2**20:g} MiB")
    content = bytearray()
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise too_large
        while piece := file.read(_PIECE):  # asked for all at once, the limit would be set aside
            content += piece
            if len(content) > limit:
                raise too_large
    return bytes(content)


def read_text(path: StrPath, limit: int) -> str:
    """Return the UTF-8 text of a regular file of at most ``limit`` bytes; see `read_bytes`.

    Raises:
        OSError: as `read_bytes`, and for what is no UTF-8.
    """
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, "it is no text in UTF-8") from error


def why(error: OSError) -> str:
    """Return the reason an ``OSError`` gives, without the path and the number."""
    return error.strerror or str(error) or type(error).__name__


def _mode(path: StrPath) -> int | None:
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return None
