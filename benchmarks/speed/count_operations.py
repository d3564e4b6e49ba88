"""Operations and bytes of a model, layer by layer, counted from its ONNX graph."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from onnx import NodeProto

from emonet_deploy.errors import ArtifactError

__all__ = ["NETWORK_MACS", "LayerCost", "count_operations", "macs_of", "total_macs"]

NETWORK_MACS: Final = 16_934_929_664
"""Multiply-accumulates of the 8-class network as it is, for one image."""

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class LayerCost:
    """What one node costs for one image.

    Attributes:
        name: of the node, after the module it comes from.
        operator: ONNX operator.
        macs: multiply-accumulates of convolutions and matrix products; 0 for all else.
        weights: number of constant values read.
        inputs: number of values read that the network computes.
        outputs: number of values written.
    """

    name: str
    operator: str
    macs: int
    weights: int
    inputs: int
    outputs: int


def count_operations(model: str | os.PathLike[str] | onnx.ModelProto) -> list[LayerCost]:
    """Count each node that runs for one image, in the graph's order.

    Args:
        model: an ONNX model or its path; left as it is.

    Raises:
        ArtifactError: the file cannot be read, or a shape in it cannot be told.
    """
    shapes, constants, nodes = _inferred(model)
    costs = []
    for node in nodes:
        if constants.issuperset(node.input):
            constants.update(node.output)  # folded when the model is loaded
            continue
        try:
            inputs = [name for name in node.input if name]
            costs.append(
                LayerCost(
                    name=node.name,
                    operator=node.op_type,
                    macs=_macs(node, shapes),
                    weights=sum(math.prod(shapes[n]) for n in inputs if n in constants),
                    inputs=sum(math.prod(shapes[n]) for n in inputs if n not in constants),
                    outputs=sum(math.prod(shapes[n]) for n in node.output),
                )
            )
        except KeyError as error:
            raise ArtifactError(f"cannot tell the shape of {error} in the graph") from error
    return costs


def total_macs(costs: list[LayerCost]) -> int:
    """Return the multiply-accumulates of all layers together."""
    return sum(cost.macs for cost in costs)


def macs_of(path: Path | None) -> int:
    """Return the multiply-accumulates of an artifact for one image.

    Counted for ONNX models of standard operators; elsewhere those of the network as it is.
    """
    if path is None or path.suffix != ".onnx":
        return NETWORK_MACS
    try:
        return total_macs(count_operations(path))
    except ArtifactError:
        return NETWORK_MACS


def _inferred(
    model: str | os.PathLike[str] | onnx.ModelProto,
) -> tuple[Shapes, set[str], list[NodeProto]]:
    fixed = onnx.ModelProto()
    try:
        fixed.CopyFrom(model if isinstance(model, onnx.ModelProto) else onnx.load(model))
        for value in (*fixed.graph.input, *fixed.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1
        graph = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    except Exception as error:  # protobuf's and onnx's share no base
        raise ArtifactError(f"cannot count the operations of the graph: {error}") from error
    shapes: Shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return shapes | constants, set(constants), list(graph.node)


def _macs(node: NodeProto, shapes: Shapes) -> int:
    """Multiply-accumulates of one node: outputs times the length of the sum behind each."""
    outputs = math.prod(shapes[node.output[0]])
    match node.op_type:
        case "Conv" | "ConvInteger":
            return outputs * math.prod(shapes[node.input[1]][1:])
        case "QLinearConv":
            return outputs * math.prod(shapes[node.input[3]][1:])
        case "MatMul" | "MatMulInteger":
            return outputs * shapes[node.input[0]][-1]
        case "Gemm":
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            return outputs * shapes[node.input[0]][0 if transposed else 1]
        case _:
            return 0
