import os
import sys

import pytest

from emonet_deploy.emonet_ref.storage import path_access as paths
from emonet_deploy.emonet_ref.storage.bounded_json import parse_json

needs_other_user = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can become another user"
)


@pytest.fixture
def nobody():
    """Run as an ordinary user: folders of root's are closed to it."""
    os.seteuid(65534)
    yield
    os.seteuid(0)


def unreadable(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    return ["x" * 300, "a\0b", "loop", "loop/below", "absent", "file/below"]


def test_questions_about_what_cannot_be_looked_at_have_an_answer(tmp_path):
    (tmp_path / "file").write_text("")
    for name in unreadable(tmp_path):
        path = tmp_path / name
        assert not paths.is_file(path)
        assert not paths.is_dir(path)
        assert not paths.exists(path)
        paths.resolve(path)
        with pytest.raises(OSError, match=r".") as caught:
            paths.open_file(path)
        assert "\n" not in paths.why(caught.value)
    assert paths.is_file(tmp_path / "file")
    assert paths.is_dir(tmp_path)
    assert paths.exists(tmp_path)


@needs_other_user
def test_a_folder_that_may_not_be_entered_holds_nothing(tmp_path, request):
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "file").write_text("secret")
    closed.chmod(0o700)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    request.getfixturevalue("nobody")
    assert paths.is_dir(closed)
    assert not paths.is_file(closed / "file")
    assert not paths.exists(closed / "file")
    with pytest.raises(PermissionError) as caught:
        paths.open_file(closed / "file")
    assert paths.why(caught.value) == "Permission denied"


def test_a_deleted_current_folder_is_no_error(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert not paths.is_file("x")
    assert str(paths.resolve("x")) == "x"


def test_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert paths.resolve(tmp_path / "link" / "x") == tmp_path.resolve() / "real" / "x"


def test_only_files_are_opened_and_only_up_to_the_limit(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(OSError, match=r"it is a (device or a pipe|folder)"):
            paths.read_bytes(path, 10)
    (tmp_path / "file").write_bytes(b"ten bytes.")
    assert paths.read_bytes(tmp_path / "file", 10) == b"ten bytes."
    with pytest.raises(OSError, match="it is larger than"):
        paths.read_bytes(tmp_path / "file", 9)
    (tmp_path / "file").write_bytes(b"\xff")
    with pytest.raises(OSError, match="no text in UTF-8"):
        paths.read_text(tmp_path / "file", 9)


def test_json_is_read_up_to_a_depth():
    assert parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    for text in ("[" * 40 + "]" * 40, "[" * 10**6, '{"a":1,"a":2}', "[Infinity]", "nope"):
        with pytest.raises(ValueError, match=r"."):
            parse_json(text)


def test_an_interruption_at_any_moment_is_nothing_else(tmp_path):
    """A descriptor that the file object has closed already must not be closed again."""
    path = tmp_path / "a"
    path.write_bytes(b"x")

    def open_interrupted_at(place):
        passed = 0

        def trace(frame, event, arg):
            nonlocal passed
            if frame.f_code not in (paths.open_file.__code__, os.fdopen.__code__):
                return None
            frame.f_trace_opcodes = True
            passed += event == "opcode"
            if event == "opcode" and passed == place:
                raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            paths.open_file(path).close()
        finally:
            sys.settrace(None)
        return passed

    steps = open_interrupted_at(0)
    assert steps > 20
    for place in range(1, steps + 1):
        with pytest.raises(KeyboardInterrupt):
            open_interrupted_at(place)
