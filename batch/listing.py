"""A run's folder: the list its ids refer to, what it runs with, and whether it is complete.

The list is written once. A run that goes on takes the one that is there, whatever the folders that
were named hold by now, so that an id means the same file for as long as the run lives.
"""

import json
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from posixpath import join
from socket import gethostname
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from emonet_deploy.batch.files.filesystems import file_exists, filesystem_of, replace_file
from emonet_deploy.batch.parts import Listed, Part, list_table
from emonet_deploy.batch.rows import row_schema
from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.errors import InputError, one_line

__all__ = ["RunFolder", "model_hash", "parquet_bytes"]


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

    @property
    def frozen(self) -> bool:
        """Whether a run has its list here already; what it names then is not looked for again.

        Raises:
            InputError: that cannot be told.
        """
        try:
            return file_exists(self.system, self.file("_run.json"))
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"cannot use {self.uri}: {one_line(error)}") from error

    def committed(self, known: Container[str] = ()) -> dict[str, int]:
        """Return how many rows are there for good, by the files of the checkpoint.

        Args:
            known: files that need not be counted again.
        """
        system, found = self.system, dict[str, int]()
        # Files come and go while they are counted, and a store may fail: the next look will tell.
        with suppress(OSError, pa.ArrowException):
            for info in system.get_file_info(fs.FileSelector(self.file("_checkpoint"))):
                name = info.base_name
                if name in known or not name.endswith(".parquet") or ".pending." in name:
                    continue
                with system.open_input_file(info.path) as file:
                    found[name] = int(pq.read_metadata(file).num_rows)
        return found

    def freeze(self, parts: Sequence[str | Part], settings: dict[str, Any]) -> int:
        """Write the list and the settings, or check that those that lie there are of this run.

        Args:
            parts: names or addresses, each once; or parts of files, those of a file in a row.
            settings: what decides over the rows: the model's record and the options.

        Returns:
            How many ids the list has.

        Raises:
            InputError: the folder is of a run with other settings, or cannot be written.
        """
        system = self.system
        try:
            if not self.frozen:
                if not parts:
                    raise InputError("no input named", hint="give pictures, videos or folders")
                system.create_dir(self.path, recursive=True)
                replace_file(system, self.file("_list.parquet"), parquet_bytes(list_table(parts)))
                # Last: a folder that has it, has the list as well.
                text = json.dumps(settings, indent=2, sort_keys=True)
                replace_file(system, self.file("_run.json"), text.encode())
            before = self.settings()
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

    def settings(self) -> dict[str, Any]:
        """Return what decides over the rows, as it was frozen.

        Raises:
            OSError: it cannot be read.
        """
        with self.system.open_input_stream(self.file("_run.json")) as stream:
            return dict(json.loads(stream.readall()))

    def require_model(self, model: str) -> None:
        """Raise unless a file on this machine is the model that the run began with.

        Raises:
            InputError: it is not; the model of an address is not looked at.
        """
        if "://" not in model and self.settings()["model"] != model_hash(model):
            raise InputError(
                f"{model} on {gethostname()} is not the model of this run",
                hint="copy the same file to every machine",
            )

    def listed(self) -> Listed:
        """Return what each id stands for."""
        with self.system.open_input_file(self.file("_list.parquet")) as file:
            return Listed(pq.read_table(file))

    @property
    def written(self) -> str:
        """Where workers write their rows: of files, or of parts of them, to be joined."""
        with self.system.open_input_file(self.file("_list.parquet")) as file:
            return self.file("segments" if "start" in pq.read_schema(file).names else "rows")

    def written_files(self) -> list[str]:
        """Return the paths of the rows that workers wrote for good by now.

        Raises:
            OSError: they cannot be listed.
        """
        # What a run is writing, or was when it was killed, is called as its mark in the checkpoint.
        done = {name.removesuffix(".parquet") for name in self.committed()}
        there = self.system.get_file_info(fs.FileSelector(self.written, allow_not_found=True))
        return [info.path for info in there if info.base_name.rpartition("-")[0] in done]

    def rows(self) -> ds.Dataset:
        """Return the rows of files that lie there for good by now; see ``row_schema``.

        Raises:
            OSError: they cannot be read.
        """
        system, rows = self.system, self.file("rows")
        if self.complete:
            return ds.dataset(rows, filesystem=system, format="parquet")
        # Those of parts are none, and joined when all are there.
        files = self.written_files() if self.written == rows else []
        if not files:
            return ds.dataset(row_schema().empty_table())
        return ds.dataset(files, filesystem=system, format="parquet")

    @contextmanager
    def existing(self) -> Iterator[None]:
        """Let a block read what a run has left.

        Raises:
            InputError: no run lies there, or it cannot be read.
        """
        if not self.frozen:
            raise InputError(f"{self.uri} holds no run", hint="check the name")
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"cannot read the run in {self.uri}: {one_line(error)}", hint="start it again"
            ) from error

    def finish(self) -> None:
        """Mark the run as complete."""
        replace_file(self.system, self.file("_SUCCESS"), b"")

    @property
    def complete(self) -> bool:
        """Whether all rows are there."""
        return file_exists(self.system, self.file("_SUCCESS"))


def model_hash(model: str) -> str:
    """Return what tells a model's file from every other.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return f"sha256:{sha256_file(model)}"
    except OSError as error:
        raise InputError(f"cannot read {model}: {one_line(error)}") from error


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    return bytes(buffer.getvalue().to_pybytes())
