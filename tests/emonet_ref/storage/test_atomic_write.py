import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import platformdirs
import pytest

from emonet_deploy.emonet_ref.storage.atomic_write import (
    atomic_folder,
    atomic_write,
    require_writable,
    sha256_file,
)
from emonet_deploy.emonet_ref.storage.cache import cache_dir
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


def begin_writing(final, content="half"):
    """Start a process that is in the middle of writing a file, and return it."""
    script = textwrap.dedent(f"""
        import sys
        from emonet_deploy.emonet_ref.storage.atomic_write import atomic_folder, atomic_write
        with atomic_folder({str(final.with_name("made"))!r}) as folder:
            (folder / "part").write_text({content!r})
            with atomic_write({str(final)!r}) as temporary:
                temporary.write_text({content!r})
                print("begun", flush=True)
                sys.stdin.read()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline().strip() == b"begun"
    return process


def write_in_a_new_process(final, content):
    script = (
        "from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write\n"
        f"with atomic_write({str(final)!r}) as temporary:\n"
        f"    temporary.write_text({content!r})\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_a_killed_process_left_is_removed_by_the_next_one_that_writes_there(tmp_path):
    process = begin_writing(tmp_path / "a.csv")
    process.kill()
    process.communicate()
    assert len(os.listdir(tmp_path)) == 4  # a file, a folder, and the lock of each
    write_in_a_new_process(tmp_path / "b.csv", "whole")
    assert os.listdir(tmp_path) == ["b.csv"]


def test_what_another_process_is_writing_is_left_alone(tmp_path):
    process = begin_writing(tmp_path / "a.csv", "first")
    write_in_a_new_process(tmp_path / "b.csv", "second")
    process.communicate(b"")
    assert process.returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "b.csv", "made"]
    assert (tmp_path / "a.csv").read_text() == "first"
    assert (tmp_path / "made" / "part").read_text() == "first"


def test_a_name_may_be_as_long_as_the_system_takes_and_a_longer_one_fails_before_the_work(tmp_path):
    longest = tmp_path / ("a" * 250 + ".json")
    with atomic_write(longest) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".json"
    assert longest.read_text() == "whole"
    with atomic_write(tmp_path / ("." + "b" * 254)) as temporary:
        temporary.write_text("whole")
    for name in ("a" * 256, "a\0b", "a" * 256 + "/b"):
        with pytest.raises(InputError, match="cannot write"), atomic_write(tmp_path / name):
            pytest.fail("the work was done for nothing")


def test_a_loop_of_links_is_replaced_and_a_folder_that_is_one_is_a_line(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(InputError, match="cannot write"):
        require_writable(loop / "below")
    with atomic_write(loop) as temporary:
        temporary.write_text("whole")
    assert loop.read_text() == "whole"


def test_what_cannot_be_written_is_told_before_the_work(tmp_path):
    require_writable(tmp_path / "new" / "a.csv")
    assert os.listdir(tmp_path / "new") == []
    require_writable("/dev/null")
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "below", tmp_path / ("a" * 300)):
        with pytest.raises(ExportError, match=r"cannot write .*: .*; name another folder$"):
            require_writable(path, ExportError, "name another folder")


def test_a_full_disk_is_told_before_the_work(tmp_path):
    script = textwrap.dedent(f"""
        import resource
        from emonet_deploy.emonet_ref.storage.atomic_write import require_writable
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        require_writable({str(tmp_path / "a")!r})
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "InputError: cannot write" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path):
    final = tmp_path / "set"
    final.mkdir()
    with atomic_folder(final) as folder:
        (folder / "a").write_text("x")
        assert os.listdir(final) == []
    assert os.listdir(tmp_path) == ["set"]
    assert os.listdir(final) == ["a"]
    with pytest.raises(ExportError, match="cannot write"), atomic_folder(final, ExportError) as new:
        (new / "b").write_text("x")
    assert os.listdir(tmp_path) == ["set"]
    assert os.listdir(final) == ["a"]


def test_a_hash_is_of_files_only(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError, match="a device or a pipe"):
            sha256_file(path)


def test_a_cache_without_a_place_is_one_line(monkeypatch):
    monkeypatch.setenv("EMONET_HOME", "~no-such-user-here/x")
    with pytest.raises(InputError, match="EMONET_HOME is ~no-such-user-here/x"):
        cache_dir()
    monkeypatch.delenv("EMONET_HOME")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: Path("~/.cache"))
    with pytest.raises(InputError, match="name one in the variable EMONET_HOME"):
        cache_dir()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no file")
def test_a_folder_in_which_no_file_can_be_made_is_told_and_not_waited_for(monkeypatch):
    monkeypatch.setattr(f"{require_writable.__module__}._LONG", 0.1)
    with pytest.raises(InputError, match=r"cannot write /proc/x\.csv: "):
        require_writable("/proc/x.csv")


def interrupted_while_closing():
    try:
        raise KeyboardInterrupt
    finally:
        os.close(-1)


def test_what_an_interruption_breaks_stays_an_interruption(tmp_path):
    """A signal may come while a file is being closed, which then fails with EBADF."""
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a.txt"):
        interrupted_while_closing()
    assert not list(tmp_path.iterdir())
