"""What processor this machine has, as far as the system tells, and what it multiplies exactly."""

import os
import platform
from pathlib import Path
from typing import Final

from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.artifact import ModelInfo

__all__ = ["EXACT_SUMS", "processor", "require_exact_products", "usable_processors"]

_VNNI: Final = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})
"""Instructions that sum products of 8 bits in 32: nothing overflows on the way."""

EXACT_SUMS: Final = "sums_fit_16_bits"
"""In an INT8 model's record: whether its weights are small enough for processors without VNNI."""


def processor() -> tuple[str, frozenset[str]]:
    """Return the model's name and its instruction sets, both as Linux writes them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    fields = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    flags = frozenset(fields.get("flags", fields.get("Features", "")).split())
    return fields.get("model name", platform.machine()), flags


def require_exact_products(info: ModelInfo, path: Path) -> None:
    """Refuse an INT8 model that this processor is known to compute wrongly.

    Raises:
        ArtifactError: products of two neighbouring channels may overflow 16 bits, in which
            this processor adds them; see ``export.rounding``.
    """
    if info.precision != "int8" or (info.calibration or {}).get(EXACT_SUMS, False):
        return
    _, instructions = processor()
    if instructions and _VNNI.isdisjoint(instructions):
        raise ArtifactError(
            f"{path} would give wrong results on this processor, which has no VNNI; "
            "make one for it with `emonet export --precision int8 --target cpu`"
        )


def usable_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
