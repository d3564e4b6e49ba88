"""What processor this machine has, as far as the system tells."""

import math
import os
import platform
from pathlib import Path, PurePosixPath
from typing import Final

__all__ = ["convolution_instructions", "processor", "usable_processors"]

_CONVOLUTION: Final = frozenset(
    {"avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"}
    | {"asimd", "asimddp", "i8mm"}
)


def processor() -> tuple[str, frozenset[str]]:
    """Return the model's name and its instruction sets, both as Linux writes them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    fields = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    flags = frozenset(fields.get("flags", fields.get("Features", "")).split())
    return fields.get("model name", platform.machine()), flags


def convolution_instructions(flags: frozenset[str]) -> frozenset[str]:
    """Return those instruction sets of a processor that decide how fast convolutions run."""
    return flags & _CONVOLUTION


def usable_processors(root: Path = Path("/")) -> int:
    """Return how many processors this process may use, at least 1.

    That is how many it may run on, or fewer where a control group allows it less time than those
    have, as in a container with a limit: half of four processors counts as two.

    Args:
        root: where the system's own files lie.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    here = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(here, _quota(root))))


def _quota(root: Path) -> float:
    """Return the processors' worth of time that Linux's control groups allow; inf for no limit.

    Source: the kernel's documentation, admin-guide/cgroup-v2 and scheduler/sched-bwc.
    """
    groups = root / "sys/fs/cgroup"
    allowed = math.inf
    for line in _words(root / "proc/self/cgroup", "\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            trees = [groups, groups / "unified"]
        elif "cpu" in controllers.split(","):
            trees = [groups / controllers, groups / "cpu", groups / "cpu,cpuacct"]
        else:
            continue
        # A group has no more than any above it. In a container the path may be the host's, of
        # which nothing but the end is there to be seen, as the root.
        parts = PurePosixPath(path.lstrip("/"))
        for tree in trees:
            for group in (parts, *parts.parents):
                if ".." not in group.parts:
                    allowed = min(allowed, _limit(tree / group))
    return allowed


def _limit(group: Path) -> float:
    words = _words(group / "cpu.max") or [
        *_words(group / "cpu.cfs_quota_us"),
        *_words(group / "cpu.cfs_period_us"),
    ]
    if len(words) != 2 or not all(word.isdecimal() for word in words):  # "max", -1: no limit
        return math.inf
    quota, period = map(int, words)
    return quota / period if quota and period else math.inf


def _words(path: Path, separator: str | None = None) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split(separator)
    except (OSError, ValueError):
        return []
