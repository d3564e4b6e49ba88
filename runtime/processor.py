"""What processor this machine has, as far as the system tells."""

import platform
from pathlib import Path
from typing import Final

__all__ = ["largest_weight", "processor"]

_VNNI: Final = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})
"""Instructions that sum products of 8 bits in 32: nothing overflows on the way."""

_LARGEST: Final = 127
_LARGEST_WITHOUT_VNNI: Final = 64


def processor() -> tuple[str, frozenset[str]]:
    """Return the model's name and its instruction sets, both as Linux writes them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    fields = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    flags = frozenset(fields.get("flags", fields.get("Features", "")).split())
    return fields.get("model name", platform.machine()), flags


def largest_weight(instructions: frozenset[str]) -> int:
    """Return the largest 8-bit weight that convolutions of uint8 multiply exactly.

    Older processors sum two products in 16 bits, which twice 255 x 127 exceeds and twice 255 x 64
    does not.

    Args:
        instructions: the processor's; none when they are not known.
    """
    return _LARGEST_WITHOUT_VNNI if _VNNI.isdisjoint(instructions) else _LARGEST
