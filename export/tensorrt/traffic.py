"""What an engine moves: bytes that its kernels read and write, which bound EmoNet on every GPU.

Counted from the layers of the compiled engine, each tensor once for each kernel that reads or
writes it, as if no cache kept any of it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Final

from emonet_deploy.export.tensorrt.inspector import Layer, LayerTensor

__all__ = ["Traffic", "traffic"]

_BYTES: Final = {"int8": 1, "uint8": 1, "bool": 1, "fp8": 1, "half": 2, "bf16": 2, "int64": 8}
_OTHER: Final = 4

_NO_KERNEL: Final = "shape_call"
"""Computes shapes on the host."""


@dataclass(frozen=True)
class Traffic:
    """What one run of an engine moves."""

    batch: int
    megabytes: float
    """Per image, 1e6 bytes; weights are read once for a batch."""
    kernels: int
    convolutions: dict[str, int]
    """How many convolutions read and write which types, such as ``int8 -> half``."""

    def __str__(self) -> str:
        types = ", ".join(f"{count} {kind}" for kind, count in self.convolutions.items())
        return (
            f"moves {self.megabytes:.1f} MB per image at batch {self.batch}, {self.kernels} kernels"
            f"{'; convolutions: ' if types else ''}{types}"
        )


def traffic(layers: Iterable[Layer], batch: int) -> Traffic:
    """Count what an engine's layers move at one batch size.

    Args:
        layers: as ``layers_from_dump`` or ``layers_from_json`` gives them.
        batch: images at once.
    """
    kernels = [layer for layer in layers if layer.kind != _NO_KERNEL]
    moved = sum(
        _bytes(tensor, batch)
        for layer in kernels
        for tensor in (*layer.inputs, *layer.constants, *layer.outputs)
    )
    types = Counter(
        f"{_types(layer.inputs)} -> {_types(layer.outputs)}"
        for layer in kernels
        if layer.is_convolution
    )
    return Traffic(batch, moved / batch / 1e6, len(kernels), dict(types.most_common()))


def _bytes(tensor: LayerTensor, batch: int) -> int:
    elements = prod(batch if size < 0 else size for size in tensor.shape)
    return elements * _BYTES.get(tensor.type, _OTHER)


def _types(tensors: Iterable[LayerTensor]) -> str:
    return "/".join(sorted({tensor.type for tensor in tensors}))
