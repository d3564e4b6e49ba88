from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emonet_deploy.batch.files.inputs import list_files
from emonet_deploy.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.jpg", "deep/c.mp4", "notes.txt", ".hidden/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_names_folders_and_a_list_are_one_list_each_file_once(folder):
    (folder / "list.txt").write_text(f"{folder / 'a.jpg'}\n{folder / 'gone.png'}\n")
    found = list_files([str(folder / "b.png"), str(folder)], folder / "list.txt", print)
    names = [Path(name).relative_to(folder).as_posix() for name in found]
    assert names == ["b.png", "a.jpg", "deep/c.mp4", "gone.png"]


def test_names_are_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert list_files(["b.png"], None, print) == [str(folder / "b.png")]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".CSV"])
def test_a_table_names_files_in_its_column(folder, suffix):
    table, names = folder / f"t{suffix}", [str(folder / "b.png"), "", str(folder / "a.jpg")]
    if suffix == ".parquet":
        pq.write_table(pa.table({"x": [1, 2, 3], "file": names}), table)
    else:
        table.write_text("x,file\n" + "".join(f"1,{name}\n" for name in names))
    assert list_files([], table, print) == [names[0], names[2]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"x,y\n1,2\n", "has no column `file`"),
        ("t.csv", b"", "cannot read"),
        ("t.parquet", b"PAR1", "cannot read"),
        ("gone.txt", None, "cannot read"),
        ("gone.csv", None, "cannot read"),
    ],
)
def test_a_list_that_is_none_is_an_error(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list_files([], tmp_path / name, print)


def test_a_store_is_listed_in_order_without_what_is_no_picture():
    memory = fsspec.filesystem("memory")
    for name in ("b.png", "a.jpg", "deep/c.mp4", "notes.txt", ".hidden/d.png", "__MACOSX/e.png"):
        memory.pipe(f"/listing/{name}", b"x")
    below = [f"memory://listing/{name}" for name in ("a.jpg", "b.png", "deep/c.mp4")]
    assert list_files(["memory://listing"], None, print) == below
    assert list_files(["memory://listing/"], None, print) == below
    # A file is taken as it is named, whatever it is, there or not; and each once.
    one = ["memory://listing/notes.txt", "memory://listing/gone.png"]
    assert list_files([*one, *one], None, print) == one


def test_the_query_of_an_address_goes_with_each_file(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").touch()
    assert list_files([f"file://{tmp_path}/in"], None, print) == [f"file://{tmp_path}/in/a.png"]
