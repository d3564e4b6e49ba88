"""Names of files as people read them, and as libraries in C++ take them.

On Linux a name is bytes, and some are no UTF-8: Python carries them as lone surrogates, which
neither an output nor a C++ binding can hold (OpenCV's ends the process).
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from emonet_deploy.errors import EmonetError, InputError

__all__ = ["csv_path", "readable", "utf8_path"]

_FORMULA = ("=", "+", "-", "@")

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROLS |= {9: "\\t", 10: "\\n", 13: "\\r"}
# Ends of lines, and what turns the direction of all that follows.
_CONTROLS |= {
    c: f"\\u{c:04x}" for c in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def readable(text: str) -> str:
    r"""Return text that every UTF-8 output can hold, on one line.

    Bytes that are no UTF-8, tabs, line breaks and other control characters become escapes:
    ``caf\xe9.jpg``. Everything else stays as it is.
    """
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # names on Windows are UTF-16, in which surrogates can stand alone
        raw = text.encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace").translate(_CONTROLS)


def csv_path(path: str) -> str:
    """Return the same path as no spreadsheet takes for a formula: ``./=1+1.jpg``.

    Tabs and line breaks, with which a formula can begin, too, are for ``readable``, or for quotes.
    """
    return f"./{path}" if path.startswith(_FORMULA) else path


@contextmanager
def utf8_path(path: str | os.PathLike[str], error: type[EmonetError] = InputError) -> Iterator[str]:
    """Yield a name of the same file, valid inside the block, that is UTF-8.

    It is the path itself wherever that is UTF-8, and a symbolic link to it, in a temporary folder
    and with the same ending, where it is not. The file itself need not exist: what is written to
    the link arrives there.

    Raises:
        EmonetError: of the type ``error``, where no link can be made.
    """
    name = os.fspath(path)
    if _is_utf8(name):
        yield name
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="emonet-"))
            suffix = Path(name).suffix
            link = os.path.join(folder, f"link{suffix if _is_utf8(suffix) else ''}")
            if not _is_utf8(link):
                raise OSError("the folder for temporary files has such a name, too")
            os.symlink(os.path.abspath(name), link)
        except OSError as failure:
            raise error(
                f"{readable(name)} has a name that is no UTF-8 "
                f"({failure.strerror or failure}); rename it"
            ) from failure
        yield link


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
