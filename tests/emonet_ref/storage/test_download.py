import base64
import contextlib
import multiprocessing
import os
import random
import socket
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers.local_server import serving

from emonet_deploy.emonet_ref.storage import download as download_module
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


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 599])
def test_what_may_pass_is_asked_for_again(server, path, status):
    server.script = [status]
    get(f"{server.url}/{NAME}", path, attempts=2)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 410, 416, 426, 499])
def test_what_stays_is_not_asked_for_again(server, path, status):
    server.script = [status]
    assert f"answers {status}" in refused(server, path)
    assert len(server.requests) == 1


def test_it_tries_four_times_and_waits_twice_as_long_each_time(server, path, monkeypatch):
    pauses = []
    monkeypatch.setattr(download_module.time, "sleep", pauses.append)
    server.script = [503] * 9
    with pytest.raises(InputError, match="503"):
        download(f"{server.url}/{NAME}", path, verify)
    assert len(server.requests) == 4
    assert pauses == [1, 2, 4]


def test_a_file_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(server, path):
    assert "sends more than" in refused(server, path, max_bytes=len(CONTENT) - 1)
    get(f"{server.url}/{NAME}", path, max_bytes=len(CONTENT))
    assert verify(path)


def test_the_first_request_asks_for_all_of_it_and_says_who_asks(server, path):
    get(f"{server.url}/{NAME}", path)
    assert server.requests == [(f"/{NAME}", None)]
    assert server.headers[0]["User-Agent"] == "emonet-deploy"
    assert server.headers[0]["Authorization"] is None


def test_an_empty_partial_is_no_beginning(server, path):
    path.parent.mkdir()
    (path.parent / PARTIAL).touch()
    get(f"{server.url}/{NAME}", path)
    assert server.requests == [(f"/{NAME}", None)]


@pytest.mark.parametrize(("user", "coded"), [("me", "me:"), (":word", ":word"), ("", None)])
def test_a_name_or_a_password_alone_is_sent(server, path, user, coded):
    get(f"{server.url.replace('//', f'//{user}@')}/{NAME}", path)
    sent = server.headers[0]["Authorization"]
    want = f"Basic {base64.b64encode((coded or ':').encode()).decode()}"
    assert sent == want or (coded is None and sent is None)


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


class Elsewhere(BaseHTTPRequestHandler):
    """Redirects to the address in `target`, sends for ever, or asks who is there."""

    target = ""
    authorized = None
    reason = None

    def do_GET(self):
        type(self).authorized = self.headers.get("Authorization")
        if self.reason:
            self.wfile.write(f"HTTP/1.0 404 {self.reason}\r\n\r\n".encode("latin1"))
            return
        if self.target:
            self.send_response(302)
            self.send_header("Location", self.target)
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(bytes(1 << 16))

    def log_message(self, *_):
        pass


@pytest.fixture
def elsewhere():
    handler = type("Handler", (Elsewhere,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    server.server_close()


def test_a_server_that_never_ends_is_left_where_the_file_would_end(elsewhere, path):
    with pytest.raises(InputError, match="sends more than 1 MiB, which cannot be the file"):
        get(elsewhere.url, path, max_bytes=1 << 20)
    assert not list(path.parent.glob("*.part"))
    assert not (path.parent / PARTIAL).exists()


def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_received(server, path):
    assert "sends more than" in refused(server, path, max_bytes=1000)
    assert len(server.requests) == 1


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/a", "file:///etc/passwd", "data:,x"])
def test_a_redirection_to_another_service_is_not_followed(elsewhere, path, target):
    elsewhere.target = target
    with pytest.raises(InputError, match=r"redirect|Found") as caught:
        get(elsewhere.url, path, attempts=1)
    assert "\n" not in str(caught.value)


def test_a_redirection_out_of_tls_is_not_followed():
    request = urllib.request.Request("https://example.org/a")
    answer = ({}, 302, "Found", {}, "http://example.org/b")
    with pytest.raises(Exception, match=r"redirects to an address of http$"):
        download_module._Redirects().redirect_request(request, *answer)
    answer = ({}, 302, "Found", {}, "https://example.org/b")
    assert download_module._Redirects().redirect_request(request, *answer).type == "https"


def test_a_loop_of_redirections_is_one_line(elsewhere, path):
    elsewhere.target = elsewhere.url
    with pytest.raises(InputError, match="cannot download") as caught:
        get(elsewhere.url, path, attempts=1)
    assert "\n" not in str(caught.value)


def test_what_a_server_says_cannot_forge_a_line(elsewhere, path):
    elsewhere.reason = "\x1b[31mNo\x07" + "x" * 5000
    with pytest.raises(InputError, match="404") as caught:
        get(elsewhere.url, path, attempts=1)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_password_goes_to_its_server_alone_and_into_no_message(elsewhere, server, path, caplog):
    caplog.set_level("DEBUG")
    elsewhere.reason = "No"
    address = elsewhere.url.replace("//", "//me:s%40crit@")
    with pytest.raises(InputError, match=f"cannot download {elsewhere.url}: ") as caught:
        get(address, path, attempts=1)
    assert elsewhere.authorized == "Basic " + base64.b64encode(b"me:s@crit").decode()
    assert "crit" not in str(caught.value) + caplog.text
    elsewhere.reason, elsewhere.target = None, f"{server.url}/{NAME}"
    get(address, path)
    assert verify(path)
    assert server.headers[-1].get("Authorization") is None


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://me:secret@[::1",
        "http://127.0.0.1:secret/",
        "http://a\nb/",
        "http:///x",
    ],
)
def test_an_address_that_cannot_be_read_is_one_line(path, url):
    with pytest.raises(InputError, match="cannot download") as caught:
        get(url, path, attempts=1)
    assert str(caught.value).isprintable()


def test_a_verified_file_is_enough_where_nothing_can_be_written(path, monkeypatch):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    monkeypatch.setattr(download_module, "FileLock", None)
    get("http://127.0.0.1:1/", path, attempts=1)


def test_the_advice_is_the_callers(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"name a folder in EMONET_HOME$"):
        get("http://127.0.0.1:1/", tmp_path / "file" / NAME, advice="name a folder in EMONET_HOME")
    with pytest.raises(InputError, match="cannot write"):
        get("http://127.0.0.1:1/", tmp_path / ("a" * 300), attempts=1)
