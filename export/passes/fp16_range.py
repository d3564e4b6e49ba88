"""Which values of a network float16 has room for, looked up on sample faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import onnx
import torch
from onnx import NodeProto
from torch import Tensor

from emonet_deploy.export.graph.torch_interpreter import Interpreter

__all__ = ["LARGEST", "HalfRange", "observe_half_range"]

LARGEST: Final = 2.0**14
"""A tensor that goes beyond this on some face is better left in float32: half ends at 2^16."""


@dataclass(frozen=True)
class HalfRange:
    """How large a network's values get."""

    largest: float
    """Absolute value, over all tensors and faces."""
    wide: frozenset[str]
    """Nodes that read or write a tensor that goes beyond ``LARGEST``."""


def observe_half_range(model: onnx.ModelProto, images: Tensor) -> HalfRange:
    """Run a float32 model on faces, N x 3 x 256 x 256, and look at every tensor."""
    largest = 0.0
    tensors: set[str] = set()

    def look(node: NodeProto, _: Sequence[Tensor], output: Tensor) -> Tensor:
        nonlocal largest
        found = float(output.abs().max())
        largest = max(largest, found)
        if not found <= LARGEST:
            tensors.add(node.output[0])
        return output

    with torch.no_grad():
        Interpreter(model).run(images, look)
    wide = {n.name for n in model.graph.node if not tensors.isdisjoint([*n.input, *n.output])}
    return HalfRange(largest, frozenset(wide))
