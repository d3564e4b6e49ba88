import os
import threading

import pytest

from emonet_deploy.emonet_ref.storage.files import atomic_write, sha256_file
from emonet_deploy.errors import ExportError, InputError


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    final = tmp_path / "new" / "a.onnx"
    with atomic_write(final) as temporary:
        temporary.write_bytes(b"whole")
        assert not final.exists()
        assert temporary.parent == final.parent
        assert temporary.suffix == ".onnx"
    assert final.read_bytes() == b"whole"
    assert os.listdir(final.parent) == ["a.onnx"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_older_file_and_no_litter(tmp_path, failure):
    final = tmp_path / "a.json"
    final.write_text("older")

    def write():
        with atomic_write(final) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        write()
    assert final.read_text() == "older"
    assert os.listdir(tmp_path) == ["a.json"]


def test_what_cannot_be_written_is_one_line_of_the_callers_kind(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ExportError, match="cannot write") as caught,
        atomic_write(tmp_path / "file" / "a", ExportError),
    ):
        pass
    assert "\n" not in str(caught.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot write"), atomic_write(tmp_path / "folder") as part:
        part.write_text("x")
    assert (tmp_path / "folder").is_dir()


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    with atomic_write(pipe) as path:
        path.write_text("through")
    reader.join()
    assert read == ["through"]
    assert pipe.is_fifo()


def test_sha256_is_that_of_the_content(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_file(tmp_path / "empty") == known
