"""Names of files as people read them, and as libraries in C++ take them.

On Linux a name is bytes, and some are no UTF-8: Python carries them as lone surrogates, which
neither an output nor a C++ binding can hold (OpenCV's ends the process).
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from emonet_deploy.errors import EmonetError, InputError

__all__ = ["readable", "utf8_path"]

_UNREADABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: tabs, ends of lines, escape sequences
    "\u2028\u2029"  # ends of lines
    "\u202a-\u202e\u2066-\u2069"  # what turns the direction of all that follows
    "\ud800-\udfff]"  # bytes of a name that are not UTF-8
)


def readable(text: str) -> str:
    r"""Return text that every UTF-8 output can hold, on one line.

    Bytes that are no UTF-8, tabs, line breaks and what else would disturb a terminal become the
    escapes of Python and JSON: ``caf\udce9.jpg``. Everything else stays as it is.
    """
    return _UNREADABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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
