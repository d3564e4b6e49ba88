"""A run's folder: the list its ids refer to, what it runs with, and whether it is complete.

The list is written once. A run that goes on takes the one that is there, whatever the folders that
were named hold by now, so that an id means the same file for as long as the run lives.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import abspath
from posixpath import join
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from emonet_deploy.errors import InputError, one_line

__all__ = ["RunFolder"]


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, here or in an object store.

    Attributes:
        uri: as it was named.
        path: within its file system.
    """

    uri: str
    path: str

    @classmethod
    def of(cls, uri: str) -> "RunFolder":
        """Return the folder at a path or address that pyarrow's file systems know.

        Raises:
            InputError: they do not know it.
        """
        _, path = filesystem_of(uri)
        return cls(uri, path.rstrip("/"))

    @property
    def system(self) -> fs.FileSystem:
        """The file system it lies in."""
        return filesystem_of(self.uri)[0]

    def file(self, name: str) -> str:
        """Return the path of a file in it, within the file system."""
        return join(self.path, name)

    def freeze(self, files: Sequence[str], settings: dict[str, Any]) -> int:
        """Write the list and the settings, or check that those that lie there are of this run.

        Args:
            files: names or addresses, each once.
            settings: what decides over the rows: the model's record and the options.

        Returns:
            How many files the list has.

        Raises:
            InputError: the folder is of a run with other settings, or cannot be written.
        """
        system = self.system
        try:
            if not _exists(system, self.file("_run.json")):
                if not files:
                    raise InputError("no input named", hint="give pictures, videos or folders")
                system.create_dir(self.path, recursive=True)
                ids = pa.array(range(len(files)), pa.int64())
                table = pa.table({"id": ids, "file": pa.array(files, pa.string())})
                _replace(system, self.file("_list.parquet"), _parquet(table))
                # Last: a folder that has it, has the list as well.
                text = json.dumps(settings, indent=2, sort_keys=True)
                _replace(system, self.file("_run.json"), text.encode())
            with system.open_input_stream(self.file("_run.json")) as stream:
                before = json.loads(stream.readall())
            with system.open_input_file(self.file("_list.parquet")) as file:
                count = int(pq.read_metadata(file).num_rows)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"cannot use {self.uri}: {one_line(error)}") from error
        settings = json.loads(json.dumps(settings))
        if before != settings:
            names = {n for n in {*before, *settings} if before.get(n) != settings.get(n)}
            raise InputError(
                f"{self.uri} holds a run with another {', '.join(sorted(names))}",
                hint="name another folder, or start with the options of that run",
            )
        return count

    def files(self) -> pa.ChunkedArray:
        """Return the names of the list, by id."""
        with self.system.open_input_file(self.file("_list.parquet")) as file:
            return pq.read_table(file).column("file")

    def rows(self) -> ds.Dataset:
        """Return the rows that lie there by now; see ``row_schema``."""
        return ds.dataset(self.file("rows"), filesystem=self.system, format="parquet")

    @contextmanager
    def existing(self) -> Iterator[None]:
        """Let a block read what a run has left.

        Raises:
            InputError: no run lies there.
        """
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self.uri} holds no run: {one_line(error)}", hint="check the name"
            ) from error

    def finish(self) -> None:
        """Mark the run as complete."""
        _replace(self.system, self.file("_SUCCESS"), b"")

    @property
    def complete(self) -> bool:
        """Whether all rows are there."""
        return _exists(self.system, self.file("_SUCCESS"))


def filesystem_of(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or address, and the path within it.

    Raises:
        InputError: none is known.
    """
    try:
        return fs.FileSystem.from_uri(uri) if "://" in uri else _local(uri)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise InputError(
            f"cannot reach {uri}: {one_line(error)}", hint="check the address"
        ) from error


def _local(path: str) -> tuple[fs.FileSystem, str]:
    return fs.LocalFileSystem(), abspath(path)


def _exists(system: fs.FileSystem, path: str) -> bool:
    return bool(system.get_file_info(path).type == fs.FileType.File)


def _parquet(table: pa.Table) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    return bytes(buffer.getvalue().to_pybytes())


def _replace(system: fs.FileSystem, path: str, data: bytes) -> None:
    """Write a file so that it is whole or not there: object stores are so, others rename."""
    whole = isinstance(system, fs.S3FileSystem)
    temporary = path if whole else f"{path}.writing"
    with system.open_output_stream(temporary) as stream:
        stream.write(data)
    if not whole:
        system.move(temporary, path)
