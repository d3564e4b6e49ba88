"""What a server makes of load: latency, throughput, errors, batches, CPU, beside the model alone.

Throughput says little on a machine that does other things as well, CPU time does. Where the server
runs on this machine, its CPU time is that of its processes; elsewhere it is not known.
"""

import http
import http.client
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Lock
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, urlsplit

import numpy as np

from emonet_deploy.runtime.hardware.processes import (
    Process,
    list_processes,
    memory_mb,
    process_tree,
)

__all__ = [
    "Beside",
    "Load",
    "Run",
    "ServedRow",
    "measure_beside",
    "post_load",
    "serve_row",
    "server_memory",
]

ROUNDS: Final = 3

Run = Callable[[], int]
"""Does a part of the work and returns how many images that was."""


@dataclass(frozen=True)
class Load:
    """What came of requests from several connections at once.

    Attributes:
        seconds: from the first request to the last answer.
        latencies: of answers with status 200, in milliseconds.
        errors: how many answers had another status; 0 is no answer at all.
        cpu: seconds of CPU time the server took, None when it is not here.
        batch: mean number of images its model ran at once, None when it does not say.
        memory: of the server in the end, in MB, None when it is not here.
    """

    seconds: float
    latencies: tuple[float, ...]
    errors: Mapping[int, int] = field(default_factory=dict)
    cpu: float | None = None
    batch: float | None = None
    memory: float | None = None

    @property
    def throughput(self) -> float:
        """Good answers a second."""
        return len(self.latencies) / self.seconds

    @property
    def cpu_per_request(self) -> float | None:
        """Milliseconds of the server's CPU time for an answer of any kind."""
        answers = len(self.latencies) + sum(self.errors.values())
        return None if self.cpu is None else 1e3 * self.cpu / max(1, answers)


def post_load(
    url: str,
    bodies: Sequence[bytes],
    connections: int,
    seconds: float,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Load:
    """Post bodies in turns from several connections, each with its next request when answered.

    Args:
        url: of the route, such as ``http://127.0.0.1:8000/v1/crop`` or
            ``http://127.0.0.1:8000/v2/models/emonet/infer``.
        bodies: what is sent, at least one.
        connections: requests at once.
        seconds: for how long requests are begun.
        headers: that go with each.
    """
    parts, lock = urlsplit(url), Lock()
    latencies: list[float] = []
    errors: Counter[int] = Counter()
    batches, cpu, begin = _batches(parts), _server_cpu(parts), time.perf_counter()

    def client(number: int) -> None:
        connection = _connect(parts)
        while time.perf_counter() < begin + seconds:
            number += 1
            start = time.perf_counter()
            try:
                connection.request("POST", parts.path, bodies[number % len(bodies)], dict(headers))
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                connection.close()
                status = 0
            duration = 1e3 * (time.perf_counter() - start)
            with lock:
                if status == http.HTTPStatus.OK:
                    latencies.append(duration)
                else:
                    errors[status] += 1
        connection.close()

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(client, range(connections)))
    spent = time.perf_counter() - begin
    after = _server_cpu(parts)
    return Load(
        spent,
        tuple(latencies),
        dict(errors),
        None if cpu is None or after is None else after - cpu,
        _mean_batch(batches, _batches(parts)),
        server_memory(url),
    )


def server_memory(url: str) -> float | None:
    """Return the memory of all processes of a server, in MB; None if it is not on this machine.

    What several processes share is counted once (Linux's proportional set size).
    """
    pids = _server(urlsplit(url))
    if not pids:
        return None
    return memory_mb(pids)


@dataclass(frozen=True)
class Beside:
    """A server and the model alone, measured in turns.

    Attributes:
        loads: of each round.
        alone: images a second of each round, by this process.
        alone_cpu: milliseconds of CPU time an image took it, in each round.
    """

    loads: tuple[Load, ...]
    alone: tuple[float, ...]
    alone_cpu: tuple[float, ...]

    @property
    def throughput_ratio(self) -> float:
        """The server's throughput as a share of the model's alone, the median of the rounds."""
        pairs = zip(self.loads, self.alone, strict=True)
        return median(load.throughput / alone for load, alone in pairs)

    @property
    def cpu_ratio(self) -> float | None:
        """The server's CPU time for an image as a multiple of the model's alone, likewise."""
        ratios = [
            load.cpu_per_request / alone
            for load, alone in zip(self.loads, self.alone_cpu, strict=True)
            if load.cpu_per_request is not None
        ]
        return median(ratios) if ratios else None


def measure_beside(serve: Callable[[], Load], alone: Run, seconds: float) -> Beside:
    """Measure a server and the model alone in turns.

    Args:
        serve: puts load on the server.
        alone: runs the model; it is called again and again.
        seconds: for which the model runs in each round.
    """
    alone()  # What is made lazily is made here.
    loads, speeds, costs = [], [], []
    for _ in range(ROUNDS):
        loads.append(serve())
        images, start, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() < start + seconds:
            images += alone()
        speeds.append(images / (time.perf_counter() - start))
        costs.append(1e3 * (time.process_time() - cpu) / images)
    return Beside(tuple(loads), tuple(speeds), tuple(costs))


@dataclass(frozen=True)
class ServedRow:
    """One line of the table: a server under load from a number of connections; times in ms."""

    url: str
    connections: int
    requests: int
    errors: int
    throughput: float
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    batch: float | None
    server_cpu_ms: float | None
    server_mb: float | None
    alone_throughput: float
    alone_cpu_ms: float
    throughput_ratio: float
    cpu_ratio: float | None


def serve_row(url: str, connections: int, beside: Beside) -> ServedRow:
    """Return the line of what was measured; figures without a ratio are of all rounds together."""
    loads = beside.loads
    latencies = [ms for load in loads for ms in load.latencies]
    batches = [load.batch for load in loads if load.batch is not None]
    costs = [load.cpu_per_request for load in loads if load.cpu_per_request is not None]

    def percentile(q: float) -> float | None:
        return float(np.percentile(latencies, q)) if latencies else None

    return ServedRow(
        url,
        connections,
        len(latencies),
        sum(sum(load.errors.values()) for load in loads),
        median(load.throughput for load in loads),
        percentile(50),
        percentile(90),
        percentile(99),
        median(batches) if batches else None,
        median(costs) if costs else None,
        max((load.memory for load in loads if load.memory is not None), default=None),
        median(beside.alone),
        median(beside.alone_cpu),
        beside.throughput_ratio,
        beside.cpu_ratio,
    )


def _connect(parts: SplitResult) -> http.client.HTTPConnection:
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    return kind(parts.netloc, timeout=120)


def _batches(parts: SplitResult) -> tuple[float, float] | None:
    """Return how many requests the model was given so far, and in how many batches.

    As mosec's metrics or Triton's statistics tell; None where there are neither.
    """
    served = parts.path.startswith("/v2/models/")
    path = parts.path.removesuffix("/infer") + "/stats" if served else "/metrics"
    connection = _connect(parts)
    try:
        connection.request("GET", path)
        text = connection.getresponse().read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if served:
        counts = [re.search(rf'"{kind}_count":(\d+)', text) for kind in ("inference", "execution")]
        numbers = [float(count[1]) for count in counts if count]
        return (numbers[0], numbers[1]) if len(numbers) == 2 else None
    sums = [
        sum(
            map(
                float,
                re.findall(rf'^emonet_batch_size_{kind}{{stage="Read_.*}} (\S+)$', text, re.M),
            )
        )
        for kind in ("sum", "count")
    ]
    return (sums[0], sums[1]) if "emonet_" in text else None


def _mean_batch(
    before: tuple[float, float] | None, after: tuple[float, float] | None
) -> float | None:
    if before is None or after is None or after[1] == before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])


def _server_cpu(parts: SplitResult) -> float | None:
    """Return the CPU time so far, in seconds, of the server that listens here; None elsewhere."""
    used = [each.cpu + each.cpu_of_ended for each in _server(parts).values()]
    return sum(used) if used else None


def _server(parts: SplitResult) -> dict[int, Process]:
    """Return the processes of the server that listens here, by their ids; none elsewhere."""
    if parts.hostname not in {"127.0.0.1", "localhost"} or not Path("/proc/net/tcp").exists():
        return {}
    listener = _listener(parts.port or 80)
    if listener is None:
        return {}
    process = list_processes()[listener]
    # mosec's front end is a child of the server
    return process_tree(process.parent if process.name == "mosec" else listener)


def _listener(port: int) -> int | None:
    listening = "0A"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    inodes = {f[9] for f in fields if f[1].endswith(f":{port:04X}") and f[3] == listening}
    for process in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for handle in process.iterdir():
                if os.readlink(handle) in {f"socket:[{inode}]" for inode in inodes}:
                    return int(process.parent.name)
    return None
