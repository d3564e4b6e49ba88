"""BatchNormalization: folded into the layer before it, or reduced to scale and shift. Exact."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto

from emonet_deploy.export.graph.surgery import Graph

__all__ = ["fold_batchnorm", "normalize_batchnorm", "set_affine"]


def fold_batchnorm(model: onnx.ModelProto) -> None:
    """Fold each BatchNormalization into the convolution or linear layer that feeds it alone.

    Computed in float64: ``w' = w * s``, ``b' = (b - mean) * s + shift``, with
    ``s = scale / sqrt(variance + eps)``. One that follows anything else stays.
    """
    graph = Graph(model)
    producers, consumers = graph.producers(), graph.consumers()
    for norm in graph.nodes:
        if norm.op_type != "BatchNormalization":
            continue
        layer = producers.get(norm.input[0])
        if layer is None or layer.op_type not in {"Conv", "Gemm"}:
            continue
        if len(consumers[norm.input[0]]) > 1 or norm.input[0] in graph.output_names:
            continue
        scale, shift = graph.affine(norm)
        weight = graph.constant(layer.input[1])
        if layer.op_type == "Gemm" and not graph.is_transposed(layer):
            continue
        per_output = scale.reshape(-1, *[1] * (weight.ndim - 1))
        graph.set_constant(layer.input[1], (weight * per_output).astype(weight.dtype))
        folded = graph.set_constant(
            f"{layer.name}.bias", (graph.bias(layer) * scale + shift).astype(weight.dtype)
        )
        if len(layer.input) > 2:
            layer.input[2] = folded
        else:
            layer.input.append(folded)
        layer.output[0] = norm.output[0]
        graph.proto.node.remove(norm)
    graph.prune()


def normalize_batchnorm(model: onnx.ModelProto) -> None:
    """Reduce each BatchNormalization to its scale and shift, computed in float64.

    Its mean becomes 0, its variance 1 and its epsilon 0: the same function, and nothing is left
    for a compiler to compute in a lower precision.
    """
    graph = Graph(model)
    for norm in graph.nodes:
        if norm.op_type != "BatchNormalization":
            continue
        set_affine(graph, norm, *graph.affine(norm))
    graph.prune()


def set_affine(
    graph: Graph, norm: NodeProto, scale: NDArray[np.float64], shift: NDArray[np.float64]
) -> None:
    """Let a BatchNormalization compute ``x * scale + shift``: mean 0, variance 1, epsilon 0."""
    kind = graph.constant(norm.input[1]).dtype
    zeros, ones = np.zeros(len(scale), kind), np.ones(len(scale), kind)
    values = (scale.astype(kind), shift.astype(kind), zeros, ones)
    parts = ("scale", "shift", "mean", "variance")
    for i, (part, value) in enumerate(zip(parts, values, strict=True), start=1):
        norm.input[i] = graph.set_constant(f"{norm.name}.{part}", value)
    del norm.attribute[:]
    norm.attribute.append(onnx.helper.make_attribute("epsilon", 0.0))
