"""Headless Chromium, driven over its DevTools protocol on a pipe: JSON, a zero byte after each."""

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

WITHIN = 120  # Seconds; the machine may be busy.


class Page:
    """One page of a browser."""

    def __init__(self, send, receive):
        self._send, self._receive, self._number, self._session = send, receive, 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self.call("Page.enable")

    def call(self, method, **parameters):
        """Call a method of the protocol and return its result; events are passed over."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        data = b""
        while not data.endswith(b"\0"):
            piece = os.read(self._receive, 1)
            assert piece, "Chromium has ended"
            data += piece
        return json.loads(data[:-1])

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script):
        """Return what a script gives."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script):
        """Wait until a script gives something that is true."""
        end = time.monotonic() + WITHIN
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"{script} did not become true"
            time.sleep(0.1)
        return value

    def choose_file(self, selector, path):
        """Choose a file, as a user does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


@contextmanager
def chromium(folder, *options):
    """Yield a page of a browser that has a camera showing what ``options`` name."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    if binary is None:
        pytest.skip("no Chromium here")
    there, send = os.pipe()
    receive, back = os.pipe()

    def as_three_and_four():
        os.dup2(there, 3)
        os.dup2(back, 4)

    # Numbers above 4, so that neither is overwritten before it is moved.
    there, back = (os.fdopen(os.dup(n), "rb", closefd=False).fileno() for n in (there, back))
    process = subprocess.Popen(
        [
            binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe",
            "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", *options,
        ],
        preexec_fn=as_three_and_four, close_fds=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield Page(send, receive)
    finally:
        process.kill()
        process.wait()
        for number in (send, receive, there, back):
            os.close(number)
