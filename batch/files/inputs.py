"""The files of a run: folders, patterns, lists and tables, here and in object stores."""

from collections.abc import Callable, Iterator, Sequence
from os.path import abspath, relpath
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv, fs

from emonet_deploy.batch.files.filesystems import filesystem_of
from emonet_deploy.errors import InputError, one_line
from emonet_deploy.runtime.media.inputs import (
    expand_inputs,
    is_junk,
    is_media_suffix,
    read_list,
)

__all__ = ["list_files"]


def list_files(names: Sequence[str], listed: Path | None, say: Callable[[str], None]) -> list[str]:
    """Return the files that names and a list stand for, each once, in order.

    A file that does not exist is listed too: it becomes a row with the reason.

    Args:
        names: as for ``expand_inputs``; and addresses of files and folders (``s3://...``).
        listed: names, one a line; or a Parquet or CSV table with a column ``file``.
        say: is told what was left out.

    Raises:
        InputError: the list cannot be read.
    """
    found: dict[str, None] = {}
    for name in [*names, *(_of_list(listed) if listed is not None else ())]:
        if "://" in name:
            found.update(dict.fromkeys(_of_store(name)))
        else:
            found.update((abspath(source.path), None) for source in expand_inputs([name], say))
    return list(found)


def _of_list(path: Path) -> Iterator[str]:
    suffix = path.suffix.lower()
    try:
        if suffix in {".parquet", ".csv"}:
            table = pq.read_table(path) if suffix == ".parquet" else csv.read_csv(path)
            yield from (name for name in table.column("file").to_pylist() if name)
        else:
            yield from read_list(path.read_bytes())
    except KeyError as error:
        raise InputError(f"{path} has no column `file`", hint="name the files there") from error
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {path}: {one_line(error)}") from error


def _of_store(address: str) -> Iterator[str]:
    system, path = filesystem_of(address)
    try:
        if system.get_file_info(path).type != fs.FileType.Directory:
            yield address
            return
        below = system.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot list {address}: {one_line(error)}") from error
    base, mark, query = address.partition("?")  # the query says where the store is
    for info in sorted(below, key=lambda info: info.path):
        parts = relpath(info.path, path).split("/")
        media = info.type == fs.FileType.File and is_media_suffix(Path(info.path).suffix)
        if media and not any(map(is_junk, parts)):
            yield f"{base.rstrip('/')}/{'/'.join(parts)}{mark}{query}"
