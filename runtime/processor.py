"""What processor this machine has, as far as the system tells, and what it multiplies exactly."""

import os
import platform
from pathlib import Path
from typing import Final

from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.artifact import ModelInfo

__all__ = ["largest_weight", "processor", "require_exact_products", "usable_processors"]

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


def require_exact_products(info: ModelInfo, path: Path) -> None:
    """Refuse an INT8 model whose weights this processor is known to overflow on.

    Raises:
        ArtifactError: the model has larger weights than ``largest_weight`` allows here.
    """
    levels = 0 if info.calibration is None else info.calibration.get("levels", 0)
    _, instructions = processor()
    if instructions and levels > largest_weight(instructions):
        raise ArtifactError(
            f"{path} was not made for a processor without VNNI and this one would compute wrong "
            "results; make one here with `emonet export --precision int8 --target cpu`"
        )


def usable_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
