"""Where a run takes place: Ray on this machine or a cluster, reached in bounded time, quietly."""

import io
import logging
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import Any, Final

from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.errors import BackendError, InputError, one_line
from emonet_deploy.runtime.hardware.cpu import usable_processors

__all__ = ["Cluster", "Node", "connected", "finder_count", "worker_count"]

_LOGGER: Final = logging.getLogger(__name__)

_SECONDARY: Final = 1
"""CPUs left to Ray Data's own tasks (reading, checkpoint, writing); without, it waits for ever."""

_KNOCK: Final = 10.0
"""Seconds that an address has to answer."""


@dataclass(frozen=True)
class Cluster:
    """Where a run takes place.

    Attributes:
        address: ``local`` starts Ray on this machine, ``auto`` takes the cluster this machine
            belongs to, anything else is a cluster's address.
        workers: that hold the model; None for as many as there are CPUs and GPUs for.
        cpus: of each worker.
        gpus: of each worker.
        block: files that are written together, and done again together if a worker dies.
        finders: that find the faces for the workers, on a CPU each; with 0 each worker finds its
            own. None for all the CPUs that workers on GPUs leave, and 0 for workers on CPUs.
    """

    address: str = "local"
    workers: int | None = None
    cpus: int = 1
    gpus: float = 0.0
    block: int = 64
    finders: int | None = None


@dataclass(frozen=True)
class Node:
    """A machine of a cluster: how many CPUs and GPUs Ray may use there."""

    cpus: float
    gpus: float = 0.0


def worker_count(nodes: Sequence[Node], cluster: Cluster) -> int:
    """Return how many workers to start on the machines of a cluster.

    Raises:
        InputError: so many have no room, each whole on one machine, beside the finders that were
            asked for and one CPU left for Ray Data's own tasks, so that Ray would wait for ever.
    """
    finders = cluster.finders or 0

    def fit(node: Node, taken: int = 0) -> int:
        room = int((node.cpus - taken) // cluster.cpus)
        return min(room, int(node.gpus // cluster.gpus)) if cluster.gpus else room

    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    room = min(sum(map(fit, nodes)), int((cpus - _SECONDARY - finders) // cluster.cpus))
    # The first finder is there before the first worker, on whatever machine; workers on GPUs hold
    # no CPU beside finders.
    blocked = any(fit(node) > fit(node, 1) for node in nodes)
    if finders and not cluster.gpus and sum(map(fit, nodes)) == 1 and blocked:
        room = 0
    workers = max(1, room) if cluster.workers is None else cluster.workers
    if workers > room:
        each = f"{cluster.cpus} CPUs" + (f" and {cluster.gpus:g} GPUs" if cluster.gpus else "")
        has = f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if cluster.gpus else "")
        beside = f" beside {finders} finders" if finders else ""
        raise InputError(
            f"there is room for {max(0, room)} workers of {each}{beside}, not for {workers}: Ray "
            f"has {has} on {len(nodes)} machines, and one CPU is for reading and writing",
            hint=f"lower --workers{', --finders' if finders else ''}, --cpus"
            f"{' or --gpus' if cluster.gpus else ''}, or add a machine",
        )
    return workers


def finder_count(nodes: Sequence[Node], cluster: Cluster) -> int:
    """Return how many finders to start beside the workers.

    Raises:
        InputError: see ``worker_count``.
    """
    if cluster.finders is not None or not cluster.gpus:
        return cluster.finders or 0
    taken = worker_count(nodes, cluster) * cluster.cpus + _SECONDARY
    return max(0, int(sum(node.cpus for node in nodes) - taken))


@contextmanager
def connected(cluster: Cluster) -> Iterator[list[Node]]:
    """Connect to Ray, or start it, unless the caller has; yield its machines.

    What Ray prints in the block goes to the log instead, at the level of information.

    Raises:
        BackendError: it does not answer.
        MissingDependencyError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported
    with needs("batch", "run over many machines"):
        import ray
        import ray.data
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ours = not ray.is_initialized()
    # Its own thread prints there when a worker or a machine is lost, whatever it was told.
    with redirect_stdout(_Logged()):
        try:
            if ours:
                _connect(ray, cluster)
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
            yield [Node(node.get("CPU", 0), node.get("GPU", 0)) for node in nodes]
        finally:
            if ours:
                ray.shutdown()


def _connect(ray: Any, cluster: Cluster) -> None:  # noqa: ANN401 - a module
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    local = cluster.address == "local"
    if local:
        # One more than there are: what reads and writes takes next to none of it. On the loopback
        # network, so that nobody else reaches it, and a machine without any other runs it.
        options |= {"num_cpus": usable_processors() + _SECONDARY, "include_dashboard": False}
        options |= {"_node_ip_address": "127.0.0.1"}
    before = signal.getsignal(signal.SIGTERM)
    try:
        _knock("127.0.0.1:" if local else cluster.address)
        ray.init(cluster.address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise BackendError(
            f"cannot {'start Ray here' if local else f'reach Ray at {cluster.address}'}: "
            f"{one_line(error)}",
            hint="the loopback network must work"
            if local
            else "check the address, that its head runs, and that no firewall is between",
        ) from error
    finally:
        if current_thread() is main_thread():  # Ray has put its own way to end in that place
            signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """Connect to ``host:port``, or to a port of our own: Ray takes minutes to find out.

    Raises:
        OSError: nobody answers there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), _KNOCK).close()
    elif host:
        with socket.create_server((host, 0)) as server:
            socket.create_connection(server.getsockname()[:2], _KNOCK).close()


class _Logged(io.TextIOBase):
    """A stream whose lines are logged."""

    def write(self, text: str) -> int:
        for line in filter(None, map(str.strip, text.splitlines())):
            _LOGGER.info("%s", line)
        return len(text)
