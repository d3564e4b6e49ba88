"""What the machine could do: multiply-accumulates per second of a large matrix product."""

from collections.abc import Callable
from typing import Final

import torch

__all__ = ["PEAK_MACS", "peak_call"]

SIZE: Final = 1024
PEAK_MACS: Final = SIZE**3
"""Multiply-accumulates of one call."""


def peak_call() -> Callable[[], object]:
    """Return a call that multiplies two square float32 matrices, on PyTorch's threads."""
    left, right = torch.rand(2, SIZE, SIZE)
    product = torch.empty(SIZE, SIZE)
    return lambda: torch.mm(left, right, out=product)
