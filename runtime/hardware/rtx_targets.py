"""The GPUs that TensorRT-RTX runs on: one table for builds, records, the doctor and its advice.

It has no target for the data-centre GPUs from Hopper on, nor for Jetson: they run TensorRT.
Source: the enumeration ``ComputeCapability`` of TensorRT-RTX 1.7 and its support matrix.
"""

from collections.abc import Sequence
from typing import Final

__all__ = ["RTX_CAPABILITIES", "RTX_UNTOLD", "rtx_covers"]

RTX_CAPABILITIES: Final = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities that it can be told to build for."""

RTX_UNTOLD: Final = RTX_CAPABILITIES[1:]
"""Those that an engine is for when it was told none."""


def rtx_covers(targets: Sequence[str], capability: str) -> bool:
    """Return whether an engine of some targets, none for untold, runs on a compute capability.

    Example:
        >>> rtx_covers(("8.9",), "8.9"), rtx_covers((), "9.0")
        (True, False)
    """
    return capability in (targets or RTX_UNTOLD)
