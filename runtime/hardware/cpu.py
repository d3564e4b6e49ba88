"""What processor this machine has, as far as the system tells."""

import os
import platform
from pathlib import Path

__all__ = ["processor", "usable_processors"]


def processor() -> tuple[str, frozenset[str]]:
    """Return the model's name and its instruction sets, both as Linux writes them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    fields = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    flags = frozenset(fields.get("flags", fields.get("Features", "")).split())
    return fields.get("model name", platform.machine()), flags


def usable_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
