"""What processor this machine has, as far as the system tells."""

import platform
from pathlib import Path
from typing import Final

__all__ = ["VNNI", "processor"]

VNNI: Final = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})
"""Instructions that sum products of 8 bits in 32: nothing overflows on the way."""


def processor() -> tuple[str, frozenset[str]]:
    """Return the model's name and its instruction sets, both as Linux writes them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    fields = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    flags = frozenset(fields.get("flags", fields.get("Features", "")).split())
    return fields.get("model name", platform.machine()), flags
