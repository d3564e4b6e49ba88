"""The processes of this machine, as Linux tells of them: who began whom, CPU time, memory."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Process", "list_processes", "memory_mb", "process_tree"]


@dataclass(frozen=True)
class Process:
    """One process.

    Attributes:
        name: of its program, at most 15 characters.
        parent: the id of the process that began it, or took it over.
        cpu: seconds of processors it has taken.
        cpu_of_ended: those of processes that it began, which have ended.
    """

    name: str
    parent: int
    cpu: float
    cpu_of_ended: float


def list_processes() -> dict[int, Process]:
    """Return all processes by their ids; none where there is no ``/proc``."""
    found: dict[int, Process] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # It has ended meanwhile.
            found[int(stat.parent.name)] = _parse(stat.read_text())
    return found


def process_tree(root: int) -> dict[int, Process]:
    """Return a process and all that it began, and those in turn, by their ids.

    Args:
        root: id of the process; nothing is returned where there is none.
    """
    processes = list_processes()
    tree, newest = {root}, {root}
    while newest:
        newest = {pid for pid, process in processes.items() if process.parent in newest} - tree
        tree |= newest
    return {pid: processes[pid] for pid in tree if pid in processes}


def memory_mb(pids: Iterable[int]) -> float:
    """Return the memory of processes together, in MB.

    What several share is counted once (Linux's proportional set size); those that have ended, and
    those of other users, count nothing.
    """
    total = 0
    for pid in pids:
        with suppress(OSError):
            said = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(map(int, re.findall(r"^Pss: +(\d+) kB", said, re.MULTILINE)))
    return total / 1024


def _parse(stat: str) -> Process:
    """Parse ``/proc/PID/stat``; the name in brackets may hold anything."""
    head, _, tail = stat.rpartition(")")
    fields, tick = tail.split(), os.sysconf("SC_CLK_TCK")
    user, system, ended_user, ended_system = map(int, fields[11:15])
    return Process(
        head.partition("(")[2],
        int(fields[1]),
        (user + system) / tick,
        (ended_user + ended_system) / tick,
    )
