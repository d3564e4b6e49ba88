"""Quantisation parameters: how a tensor is written in 8 bits, and a convolution in int8."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["QuantParams", "QuantizedConv", "half_scales"]

SMALLEST_SCALE: Final = 1e-6  # half can still write it


@dataclass(frozen=True)
class QuantParams:
    """Scale and zero point of a tensor in 8 bits: ``x = scale * (code - zero_point)``.

    Affine quantisation (Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", 2018), with codes from 0 to 255.
    """

    scale: np.float32
    zero_point: int
    """Code of the value 0."""

    @classmethod
    def from_range(cls, low: float, high: float, symmetric: bool = False) -> "QuantParams":
        """Return the parameters that cover low to high and contain 0.

        Args:
            low: smallest value; above 0 counts as 0.
            high: largest value; below 0 counts as 0.
            symmetric: zero point in the middle unless no value is negative, as TensorRT needs it.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        if low == 0:
            return cls(half_scales(np.float32(high / 255)), 0)
        if symmetric:
            return cls(half_scales(np.float32(max(-low, high) / 127)), 128)
        scale = half_scales(np.float32((high - low) / 255))
        return cls(scale, int(np.clip(np.rint(-low / scale), 0, 255)))

    def fake_quantize(self, x: Tensor) -> Tensor:
        """Return each value as its code stands for it: quantised and dequantised."""
        scale, zero_point = float(self.scale), self.zero_point
        return (x / scale).round_().clamp_(-zero_point, 255 - zero_point).mul_(scale)


@dataclass(frozen=True)
class QuantizedConv:
    """A convolution in int8."""

    input: QuantParams
    weight: NDArray[np.int8]
    weight_scales: NDArray[np.float32]
    """One for each output channel; their zero point is 0."""
    bias: NDArray[np.float32]

    @property
    def dequantized_weight(self) -> NDArray[np.float32]:
        """The weights that the integers stand for."""
        scales = self.weight_scales.reshape(-1, *[1] * (self.weight.ndim - 1))
        return np.asarray(self.weight * scales, np.float32)


def half_scales(scales: Any) -> Any:  # noqa: ANN401 - a scalar or an array, as given
    """Round scales to what half can write, so that a model in half rounds as one in float32."""
    return np.maximum(scales, SMALLEST_SCALE).astype(np.float16).astype(np.float32)
