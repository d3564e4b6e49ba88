"""Quantisation schemes, one for each target: TensorRT's INT8 and ONNX Runtime's on a CPU."""

from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import ClassVar, Final, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.passes.fp16 import convert_fp16
from emonet_deploy.export.passes.maxpool_to_slices import pool_to_max
from emonet_deploy.export.passes.nchwc import batchnorm_as_convolution, concat_channels_last
from emonet_deploy.export.passes.winograd import apply_winograd
from emonet_deploy.export.quantization.equalize_channel_ranges import (
    equalize_channel_ranges,
    observe_channel_ranges,
    tensors_to_equalize,
)
from emonet_deploy.export.quantization.gptq import ANY_SUM, SUM_IN_16_BITS
from emonet_deploy.export.quantization.qdq import insert_qdq
from emonet_deploy.export.quantization.qdq_cpu import (
    convolutions_in_int8,
    insert_uint8,
    stored_tensors,
)
from emonet_deploy.export.quantization.qparams import QuantizedConv, QuantParams
from emonet_deploy.runtime.choices import Target

__all__ = ["SCHEMES", "QuantizationScheme"]

Layers = Mapping[str, QuantizedConv]
Stored = Mapping[str, QuantParams]


class QuantizationScheme(Protocol):
    """What is particular to one kind of INT8 model: grid, placement of Q/DQ, what is written."""

    float_budget: ClassVar[float]
    """Share of the multiply-accumulates that may stay in float unless told otherwise."""
    largest_sum: ClassVar[int]
    """Of two weights whose products may be added in few bits; see ``gptq``."""
    symmetric: ClassVar[bool]
    """Whether the zero point lies in the middle, for activations that may be negative."""

    def __init__(self, base: onnx.ModelProto, images: NDArray[np.uint8]) -> None:
        """Take a float32 model with normalised BatchNorms, and faces to measure it on."""

    def prepared(self, in_float: Collection[str]) -> onnx.ModelProto:
        """Return a model ready to be quantised, the same function, some layers left in float."""

    def convolutions(self, graph: Graph, in_float: Collection[str]) -> list[str]:
        """Return the names of the convolutions that compute in int8."""

    def stored(self, graph: Graph, in_int8: Collection[str]) -> list[str]:
        """Return the tensors that are written in 8 bits by what computes them."""

    def group(self, name: str) -> str:
        """Return what a layer goes to float together with."""

    def write(self, model: onnx.ModelProto, layers: Layers, stored: Stored) -> None:
        """Write the chosen convolutions and tensors into a model in 8 bits, in place."""


class _TensorRTScheme:
    """Signed, zero points 0; only what convolutions read is in 8 bits."""

    float_budget: ClassVar[float] = 0.1
    largest_sum: ClassVar[int] = ANY_SUM
    symmetric: ClassVar[bool] = True

    def __init__(self, base: onnx.ModelProto, images: NDArray[np.uint8]) -> None:
        self._base = base

    def prepared(self, in_float: Collection[str]) -> onnx.ModelProto:
        return deepcopy(self._base)

    def convolutions(self, graph: Graph, in_float: Collection[str]) -> list[str]:
        return [n.name for n in graph.nodes if n.op_type == "Conv" and n.name not in in_float]

    def stored(self, graph: Graph, in_int8: Collection[str]) -> list[str]:
        return []

    def group(self, name: str) -> str:
        return name

    def write(self, model: onnx.ModelProto, layers: Layers, stored: Stored) -> None:
        insert_qdq(model, layers)
        pool_to_max(model)
        convert_fp16(model, exact=())  # beside errors of int8, those of half are nothing


class _OnnxRuntimeScheme:
    """Unsigned, with zero points; what convolutions read and write is in 8 bits."""

    float_budget: ClassVar[float] = 0.19
    largest_sum: ClassVar[int] = SUM_IN_16_BITS
    symmetric: ClassVar[bool] = False

    def __init__(self, base: onnx.ModelProto, images: NDArray[np.uint8]) -> None:
        self._base = deepcopy(base)
        batchnorm_as_convolution(self._base)
        tensors = tensors_to_equalize(Graph(self._base))
        self._ranges = observe_channel_ranges(self._base, images, tensors)

    def prepared(self, in_float: Collection[str]) -> onnx.ModelProto:
        model = deepcopy(self._base)
        equalize_channel_ranges(model, self._ranges, in_float)
        return model

    def convolutions(self, graph: Graph, in_float: Collection[str]) -> list[str]:
        return convolutions_in_int8(graph, in_float)

    def stored(self, graph: Graph, in_int8: Collection[str]) -> list[str]:
        return stored_tensors(graph, in_int8)

    def group(self, name: str) -> str:
        # Going to float and back pays for a whole block only.
        inner = name.removesuffix(".downsample.2")
        return inner if inner != name else name.rpartition(".")[0] or name

    def write(self, model: onnx.ModelProto, layers: Layers, stored: Stored) -> None:
        insert_uint8(model, layers, stored)
        apply_winograd(model)
        concat_channels_last(model)


SCHEMES: Final[Mapping[Target, type[QuantizationScheme]]] = {
    "gpu": _TensorRTScheme,
    "cpu": _OnnxRuntimeScheme,
}
