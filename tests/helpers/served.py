"""The real ``emonet serve`` as a process of its own, and requests to it."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

START_WITHIN = 120  # Seconds; the machine may be busy.


@dataclass
class Served:
    """A server that answers at ``port``; what it prints goes to ``stdout`` and ``stderr``."""

    process: subprocess.Popen
    port: int
    stdout: Path
    stderr: Path

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def request(self, method, path, body=None):
        """Send a request; returns status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def post(self, path, body):
        status, _, text = self.request("POST", path, body)
        return status, text

    def post_all(self, path, bodies):
        """Send all bodies at once; returns the status of each."""
        with ThreadPoolExecutor(len(bodies)) as pool:
            return [status for status, _ in pool.map(lambda body: self.post(path, body), bodies)]

    def metrics(self):
        """Return the metrics: name with labels -> value."""
        text = self.request("GET", "/metrics")[2].decode()
        lines = (line for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def worker_pids(self, stage):
        """Return the ids of the processes of a stage that have said so far that they are ready."""
        return [
            int(pid)
            for pid in re.findall(rf"^{stage} (\d+) is ready", self.stderr.read_text(), re.M)
        ]

    def arrived(self):
        """Return how many requests have come, answered or not; what was refused counts, too."""
        return sum(
            value
            for name, value in self.metrics().items()
            if name.startswith(("emonet_remaining_task", "emonet_throughput_total"))
        )

    def batches(self, stage="Read"):
        """Return how many requests a stage was given, and in how many batches."""
        metrics = self.metrics().items()
        requests, batches = (
            sum(v for k, v in metrics if k.startswith(f'emonet_batch_size_{kind}{{stage="{stage}_'))
            for kind in ("sum", "count")
        )
        return requests, batches

    @contextmanager
    def halted(self, stage="Read", count=2):
        """Let the processes of a stage stand still inside the block; yields their ids."""
        pids = wait_for(lambda: len(self.worker_pids(stage)) >= count and self.worker_pids(stage))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield pids
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def is_ending(self):
        """Whether it says so, or does not answer any more."""
        try:
            return self.request("GET", "/")[0] == 503
        except OSError:
            return True

    def send(self, number):
        """Send a signal as is usual: Ctrl-C goes to every process of the command."""
        (os.killpg if number == signal.SIGINT else os.kill)(self.process.pid, number)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, within=START_WITHIN):
    """Wait until a condition holds and return what it gave."""
    end = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return result


@contextmanager
def served(folder, model, *options):
    """Run a server until the block ends; it is loaded when the block begins."""
    port = free_port()
    command = [sys.executable, "-m", "emonet_deploy.cli", "serve", "--model", model, "--port", port]
    out, err = folder / f"{port}.out", folder / f"{port}.err"
    with open(out, "w") as stdout, open(err, "w") as stderr:
        process = subprocess.Popen(
            [*map(str, command), *map(str, options)], stdout=stdout, stderr=stderr,
            start_new_session=True,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
    server = Served(process, port, out, err)

    def ready():
        assert process.poll() is None, err.read_text()
        try:
            return server.request("GET", "/")[0] == 200
        except OSError:
            return False

    try:
        wait_for(ready)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
