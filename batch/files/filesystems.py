"""Where files lie, here or in an object store, by the name of a path or an address."""

from os.path import abspath
from pathlib import Path
from typing import Final

import fsspec
import pyarrow as pa
from pyarrow import fs

from emonet_deploy.errors import InputError, one_line

__all__ = ["absolute", "file_exists", "filesystem_of", "replace_file"]

_STORES: Final = frozenset(("s3", "gcs", "abfs"))


def absolute(name: str) -> str:
    """Return a path or address as other processes understand it, whatever folder they are in."""
    return name if "://" in name else str(Path(name).absolute())


def filesystem_of(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or address, and the path within it.

    Addresses are those that pyarrow knows, and those that fsspec knows with what is installed.

    Raises:
        InputError: none is known.
    """
    if "://" not in uri:
        return fs.LocalFileSystem(), abspath(uri)
    try:
        try:
            system, path = fs.FileSystem.from_uri(uri)
            return system, str(path)
        except pa.ArrowInvalid:
            if uri.partition("://")[0] not in fsspec.available_protocols():
                raise
            system, path = fsspec.url_to_fs(uri)
            return fs.PyFileSystem(fs.FSSpecHandler(system)), str(path)
    except Exception as error:  # of whatever package knows that address
        raise InputError(
            f"cannot reach {uri}: {one_line(error)}", hint="check the address"
        ) from error


def file_exists(system: fs.FileSystem, path: str) -> bool:
    """Return whether a file lies at a path within a file system."""
    return bool(system.get_file_info(path).type == fs.FileType.File)


def replace_file(system: fs.FileSystem, path: str, data: bytes) -> None:
    """Write a file so that it is whole or not there: object stores are so, others rename."""
    whole = system.type_name in _STORES
    temporary = path if whole else f"{path}.writing"
    with system.open_output_stream(temporary) as stream:
        stream.write(data)
    if not whole:
        system.move(temporary, path)
