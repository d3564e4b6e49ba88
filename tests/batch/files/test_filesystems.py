import os

import fsspec
import pytest
from pyarrow import fs

from emonet_deploy.batch.files.filesystems import (
    absolute,
    file_exists,
    filesystem_of,
    replace_file,
)
from emonet_deploy.errors import InputError


def test_a_path_is_absolute_and_an_address_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("a/b") == str(tmp_path / "a" / "b")
    assert absolute("s3://lake/a") == "s3://lake/a"
    system, path = filesystem_of("a/../b")
    assert isinstance(system, fs.LocalFileSystem)
    assert path == str(tmp_path / "b")


def test_addresses_are_those_of_pyarrow_and_of_fsspec(tmp_path):
    system, path = filesystem_of(f"file://{tmp_path}/a")
    assert isinstance(system, fs.LocalFileSystem)
    assert path == f"{tmp_path}/a"
    system, path = filesystem_of("memory://lake/a")
    assert isinstance(system, fs.PyFileSystem)
    assert path == "/lake/a"
    with pytest.raises(InputError, match="cannot reach nowhere://x"):
        filesystem_of("nowhere://x")


@pytest.mark.parametrize("store", ["local", "memory"])
def test_a_file_is_whole_or_not_there(tmp_path, store):
    system, path = filesystem_of(
        str(tmp_path / "f") if store == "local" else f"memory://{tmp_path.name}/f"
    )
    if store == "memory":
        fsspec.filesystem("memory").mkdirs(os.path.dirname(path), exist_ok=True)
    assert not file_exists(system, path)
    for data in (b"one", b"two!"):
        replace_file(system, path, data)
        with system.open_input_stream(path) as stream:
            assert stream.readall() == data
    assert file_exists(system, path)
    assert not file_exists(system, os.path.dirname(path))
    assert not file_exists(system, f"{path}.writing")


class Store(fs.LocalFileSystem):
    """A file system that remembers what is opened; its kind is told."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.opened = kind, []

    @property
    def type_name(self):
        return self.kind

    def open_output_stream(self, path, *arguments, **options):
        self.opened.append(path)
        return super().open_output_stream(path, *arguments, **options)


@pytest.mark.parametrize(
    ("kind", "beside"),
    [("s3", False), ("gcs", False), ("abfs", False), ("local", True), ("hdfs", True)],
)
def test_object_stores_need_no_file_beside(tmp_path, kind, beside):
    store = Store(kind)
    replace_file(store, str(tmp_path / "f"), b"x")
    assert store.opened == [str(tmp_path / ("f.writing" if beside else "f"))]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
