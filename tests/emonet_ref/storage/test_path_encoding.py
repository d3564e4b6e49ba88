import os
import sys

import pytest

from emonet_deploy.emonet_ref.storage.path_encoding import csv_path, readable, utf8_path
from emonet_deploy.errors import CheckpointError, InputError

POSIX = pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Gesicht 顔 é.jpg", "Gesicht 顔 é.jpg"),
        (os.fsdecode(b"caf\xe9.jpg"), "caf\\xe9.jpg"),
        ("a\tb\nc\r\x1b[31m\x85\u2028", "a\\tb\\nc\\r\\x1b[31m\\x85\\u2028"),
        ("\ud800", "\\ud800"),
        ("", ""),
    ],
)
def test_a_name_becomes_one_line_of_utf8(name, shown):
    assert readable(name) == shown
    assert len(readable(name).encode("utf-8").splitlines()) <= 1


@pytest.mark.parametrize("path", ["=1+1.jpg", "+a/b.jpg", "-c.png", "@d.png"])
def test_no_path_in_a_table_is_a_formula(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert csv_path(path) == f"./{path}"
    assert os.path.abspath(csv_path(path)) == os.path.abspath(path)
    for as_it_is in ("a=b.jpg", "/x/-y.jpg", "d/@e.jpg", ""):
        assert csv_path(as_it_is) == as_it_is


@POSIX
@pytest.mark.skipif(sys.platform == "darwin", reason="file systems there take UTF-8 only")
def test_a_file_is_read_and_written_under_a_name_that_is_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"f\xe9")
    folder.mkdir()
    for name in (b"\xe9.mp4", b"plain.mp4", b"x.\xe9"):
        path = folder / os.fsdecode(name)
        with utf8_path(path) as link:
            link.encode("utf-8")
            with open(link, "wb") as file:
                file.write(name)
        assert path.read_bytes() == name
        assert not os.path.lexists(link)
        with utf8_path(path) as link, open(link, "rb") as file:
            assert file.read() == name
    with utf8_path(folder / os.fsdecode(b"\xe9.mp4")) as link:
        assert link.endswith(".mp4")


def test_a_name_that_is_utf8_stays_as_it_is(tmp_path):
    with utf8_path(tmp_path / "顔.mp4") as same:
        assert same == str(tmp_path / "顔.mp4")


@POSIX
def test_where_no_link_can_be_made_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    message = r"caf\\xe9 has a name that is no UTF-8.*rename it"
    with (
        pytest.raises(CheckpointError, match=message),
        utf8_path(os.fsdecode(b"caf\xe9"), CheckpointError),
    ):
        pass


@POSIX
def test_an_error_inside_the_block_is_left_alone(tmp_path):
    with pytest.raises(FileNotFoundError), utf8_path(os.fsdecode(b"caf\xe9")) as link:
        os.stat(link)
    with pytest.raises(InputError, match="own"), utf8_path(os.fsdecode(b"caf\xe9")):
        raise InputError("own")
