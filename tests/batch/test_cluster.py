"""Where workers and finders have room, and what is told when nobody answers; without Ray."""

import logging
import socket
from contextlib import redirect_stdout

import pytest
from helpers.served import free_port

from emonet_deploy.batch.cluster import (
    Cluster,
    Node,
    _knock,
    _Logged,
    finder_count,
    worker_count,
)
from emonet_deploy.errors import InputError


@pytest.mark.parametrize(
    ("nodes", "cluster", "workers"),
    [
        ([Node(3)], Cluster(), 2),
        ([Node(9)], Cluster(cpus=4), 2),
        ([Node(8)], Cluster(workers=7), 7),
        ([Node(2), Node(2)], Cluster(), 3),
        ([Node(5), Node(5)], Cluster(cpus=4), 2),
        ([Node(8, 2), Node(8)], Cluster(gpus=0.5), 4),
        ([Node(8)], Cluster(finders=4), 3),
        ([Node(4), Node(4)], Cluster(cpus=4, finders=1), 1),
        ([Node(8, 1)], Cluster(gpus=1, finders=6), 1),
        # Where the finder begins, room for a worker is left.
        ([Node(5), Node(1)], Cluster(cpus=4, finders=1), 1),
        ([Node(5, 1), Node(3)], Cluster(cpus=4, gpus=1, finders=3), 1),
        ([Node(8, 3)], Cluster(gpus=2), 1),
    ],
)
def test_workers_leave_a_cpu_to_ray(nodes, cluster, workers):
    assert worker_count(nodes, cluster) == workers


@pytest.mark.parametrize(
    ("nodes", "cluster"),
    [
        ([Node(2)], Cluster(workers=2)),
        ([Node(2)], Cluster(cpus=2)),
        ([Node(2)], Cluster(workers=3)),
        ([Node(1)], Cluster()),
        ([Node(3), Node(3)], Cluster(cpus=4)),  # as many together, and none has as many
        ([Node(8)], Cluster(gpus=1)),
        ([Node(8, 1)], Cluster(workers=2, gpus=1)),
        ([Node(3)], Cluster(finders=2)),
        ([Node(4)], Cluster(workers=2, finders=2)),
        ([Node(4), Node(3)], Cluster(cpus=4, finders=1)),  # which may begin where a worker has room
        ([Node(8, 1)], Cluster(gpus=1, finders=7)),
    ],
)
def test_workers_that_ray_would_wait_for_are_refused(nodes, cluster):
    with pytest.raises(InputError, match="lower --workers"):
        worker_count(nodes, cluster)


@pytest.mark.parametrize(
    ("nodes", "cluster", "finders"),
    [
        ([Node(9)], Cluster(), 0),
        ([Node(9)], Cluster(finders=3), 3),
        ([Node(16, 1)], Cluster(gpus=1), 14),
        ([Node(8, 2), Node(8)], Cluster(gpus=1, workers=1, cpus=2), 13),
        ([Node(2, 1)], Cluster(gpus=1), 0),  # the only worker finds its faces itself
        ([Node(16, 1)], Cluster(gpus=1, finders=0), 0),
    ],
)
def test_finders_take_the_cpus_that_are_left_over_on_gpus(nodes, cluster, finders):
    assert finder_count(nodes, cluster) == finders


@pytest.mark.parametrize(
    ("nodes", "cluster", "message", "hint"),
    [
        (
            [Node(3), Node(2)],
            Cluster(workers=9),
            "there is room for 4 workers of 1 CPUs, not for 9: Ray has 5 CPUs on 2 machines",
            "lower --workers, --cpus, or add a machine",
        ),
        (
            [Node(8, 1.5)],
            Cluster(cpus=2, gpus=0.5, workers=4, finders=2),
            "there is room for 2 workers of 2 CPUs and 0.5 GPUs beside 2 finders, not for 4: "
            "Ray has 8 CPUs and 1.5 GPUs on 1 machines",
            "lower --workers, --finders, --cpus or --gpus, or add a machine",
        ),
        (
            [Node(1)],
            Cluster(finders=3),
            "there is room for 0 workers of 1 CPUs beside 3 finders, not for 1",
            "lower --workers, --finders, --cpus, or add a machine",
        ),
    ],
)
def test_the_message_says_what_there_is_and_what_was_asked_for(nodes, cluster, message, hint):
    with pytest.raises(InputError) as caught:
        worker_count(nodes, cluster)
    assert caught.value.message.startswith(message)
    assert caught.value.hint == hint


def test_an_address_answers_or_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            _knock(address)
    for address in (f"127.0.0.1:{free_port()}", "ray://127.0.0.1:1"):
        with pytest.raises(OSError, match="refused"):
            _knock(address)


def test_the_network_here_is_tried_with_a_port_of_our_own_and_a_word_not_at_all():
    _knock("127.0.0.1:")
    _knock("auto")
    with pytest.raises(OSError, match="assign"):
        _knock("203.0.113.7:")  # no address of this machine


def test_what_is_printed_goes_to_the_log_line_by_line(caplog):
    with caplog.at_level(logging.INFO, "emonet_deploy.batch.cluster"), redirect_stdout(_Logged()):
        print("one\n\n  two  ")
        print("  ")
    assert [record.getMessage() for record in caplog.records] == ["one", "two"]
    assert _Logged().write("four") == 4


def test_a_run_takes_place_here_on_cpus_unless_told_otherwise():
    told = Cluster()
    assert (told.address, told.workers, told.cpus, told.gpus) == ("local", None, 1, 0.0)
    assert Node(3) == Node(3, 0.0)
