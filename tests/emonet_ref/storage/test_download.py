import multiprocessing
import os
import random
import socket
import time

import pytest
from helpers.local_server import serving

from emonet_deploy.emonet_ref.storage.download import download
from emonet_deploy.errors import CheckpointError, InputError

CONTENT = random.Random(0).randbytes(300_000)
NAME = "model.bin"
PARTIAL = f".{NAME}.part"


def verify(path):
    return path.read_bytes() == CONTENT


def get(url, path, **options):
    defaults = {"timeout": 5.0, "backoff": 0.001}
    download(url, path, verify, **defaults | options)


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / NAME


def refused(server, path, **options):
    """Return the message of a download that must fail and leave nothing under the final name."""
    with pytest.raises(InputError) as caught:
        get(f"{server.url}/{NAME}", path, **options)
    assert not path.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "script",
    [
        [],
        ["redirect"],
        ["chunked"],
        [503],
        [429, 503, 500],
        ["cut"],
        ["cut", "cut", "cut"],
        ["cut", "whole"],
        ["cut", 503],
        ["cut", "chunked"],
    ],
    ids=str,
)
def test_the_file_arrives_whole(server, path, script):
    server.script = list(script)
    get(f"{server.url}/{NAME}", path)
    assert verify(path)
    assert not (path.parent / PARTIAL).exists()
    assert server.script == []


def test_a_cut_download_goes_on_where_it_stopped(server, path):
    server.script = ["cut"]
    seen = []
    get(f"{server.url}/{NAME}", path, progress=lambda done, total: seen.append((done, total)))
    assert [asked for _, asked in server.requests] == [None, "bytes=150000-"]
    assert seen[-1] == (300_000, 300_000)
    assert {total for _, total in seen} == {300_000}
    assert seen == sorted(seen)


def test_a_stalled_download_times_out_keeps_what_came_and_goes_on_later(server, path):
    server.script = ["stall"]
    assert "no data for 0.2 s" in refused(server, path, attempts=1, timeout=0.2)
    assert (path.parent / PARTIAL).read_bytes() == CONTENT[:150_000]
    get(f"{server.url}/{NAME}", path)
    assert verify(path)
    assert server.requests[-1] == (f"/{NAME}", "bytes=150000-")


def test_progress_without_a_length_has_no_total(server, path):
    server.script = ["chunked"]
    seen = []
    get(f"{server.url}/{NAME}", path, progress=lambda *state: seen.append(state))
    assert seen[-1] == (300_000, None)


@pytest.mark.parametrize("stale", [b"another file" * 99, CONTENT + b"more"], ids=["other", "long"])
def test_a_stale_partial_is_dropped_and_the_file_fetched_afresh(server, path, stale):
    path.parent.mkdir()
    (path.parent / PARTIAL).write_bytes(stale)
    get(f"{server.url}/{NAME}", path, attempts=1)
    assert verify(path)


def test_a_whole_partial_needs_no_network(path):
    path.parent.mkdir()
    (path.parent / PARTIAL).write_bytes(CONTENT)
    get("http://127.0.0.1:1/", path, attempts=1)
    assert verify(path)


def test_a_verified_file_needs_no_network_and_another_is_replaced(server, path):
    path.parent.mkdir()
    path.write_bytes(b"old")
    get(f"{server.url}/{NAME}", path)
    assert verify(path)
    get("http://127.0.0.1:1/", path, attempts=1)


@pytest.mark.parametrize(
    ("lie", "what"),
    [
        (b"x" * 300_000, "300000 bytes that are not the expected content"),
        (CONTENT[:-1], "299999 bytes that are not the expected content"),
        (b"\n<!DOCTYPE html><html>log in</html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"", "an empty file"),
    ],
    ids=["other", "short", "html", "lfs", "empty"],
)
def test_wrong_content_is_named_refused_and_removed(server, path, lie, what):
    server.script = [lie]
    assert f"the server sent {what}" in refused(server, path)
    assert not (path.parent / PARTIAL).exists()
    assert len(server.requests) == 1


def test_wrong_content_leaves_an_older_file_alone(server, path):
    path.parent.mkdir()
    path.write_bytes(b"old")
    server.script = [b"lie"]
    with pytest.raises(InputError):
        get(f"{server.url}/{NAME}", path)
    assert path.read_bytes() == b"old"


def test_a_missing_page_is_not_asked_for_again(server, path):
    server.script = [404]
    assert "the server answers 404 Not Found; do this" in refused(server, path, hint="do this")
    assert len(server.requests) == 1


def test_it_gives_up_after_the_attempts_given(server, path):
    server.script = [503] * 9
    assert "503 Service Unavailable" in refused(server, path, attempts=3)
    assert len(server.requests) == 3


def test_a_server_that_always_cuts_is_reported_with_what_came(server, path):
    server.script = ["cut", "cut"]
    assert "ended after 225000 of 300000 bytes" in refused(server, path, attempts=2)


def test_no_server_raises_the_callers_error_with_the_callers_hint(path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/{NAME}"
        with pytest.raises(CheckpointError, match=r"Connection refused; use the stand-in$"):
            get(url, path, attempts=2, error=CheckpointError, hint="use the stand-in")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "file:///etc/passwd", "/etc/passwd", ""])
def test_only_http_addresses_are_opened(path, url):
    with pytest.raises(InputError, match="not an http or https address"):
        get(url, path)


@pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:x/", "http://127.0.0.1/a b"])
def test_a_malformed_address_is_refused_in_one_line(path, url):
    with pytest.raises(InputError, match="cannot download"):
        get(url, path, attempts=1)


def test_ctrl_c_keeps_the_partial_for_the_next_run(server, path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(f"{server.url}/{NAME}", path, progress=interrupt)
    size = (path.parent / PARTIAL).stat().st_size
    assert 0 < size < len(CONTENT)
    assert not path.exists()
    get(f"{server.url}/{NAME}", path)
    assert verify(path)
    assert server.requests[-1][1] == f"bytes={size}-"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(server, path):
    path.parent.mkdir()
    (path.parent / PARTIAL).symlink_to("/dev/full")
    message = refused(server, path)
    assert f"cannot write {path}: No space left on device; free some space" in message


def test_a_folder_that_cannot_be_made_is_one_line(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        get(f"{server.url}/{NAME}", tmp_path / "file" / NAME)


def start(server, path, **options):
    """Run a download in another process."""
    process = multiprocessing.get_context("spawn").Process(
        target=get, args=(f"{server.url}/{NAME}", path), kwargs=options
    )
    process.start()
    return process


def test_a_killed_process_leaves_a_partial_that_the_next_one_completes(server, path):
    server.script = ["stall"]
    process = start(server, path, timeout=30.0)
    deadline = time.monotonic() + 30
    while not server.requests or not (path.parent / PARTIAL).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not path.exists()
    get(f"{server.url}/{NAME}", path)
    assert verify(path)


def test_processes_that_want_one_file_share_one_download(server, path):
    # The first request stalls, so both processes are there before the file is.
    server.script = ["stall"]
    processes = [start(server, path, timeout=1.0) for _ in range(2)]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert verify(path)
    assert [asked for _, asked in server.requests] == [None, "bytes=150000-"]
