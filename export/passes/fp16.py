"""From float32 to float16 (mixed precision): half the bytes, float32 where half is not enough.

Two passes: ``half_nodes`` classifies, which is where EmoNet is known; ``insert_casts`` writes any
such choice into any graph, strongly typed, as TensorRT wants it.
"""

from collections.abc import Collection
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from emonet_deploy.errors import ExportError
from emonet_deploy.export.graph.surgery import Graph, element_types
from emonet_deploy.export.passes.batchnorm import normalize_batchnorm

__all__ = ["EXACT", "convert_fp16", "half_nodes", "insert_casts"]

EXACT: Final = frozenset({"conv1"})
"""Nodes that compute in float32: small errors decide near ties between classes, and the first
layer's weights are the largest source of them (all pixels are positive, so that their rounding
errors add up). It is 0.9% of the work."""

# The mask sums 68 heatmaps, and the two linear layers make the results: their rounding errors
# reach the outputs undamped, at no gain in speed.
_FLOAT32: Final = {"ReduceSum", "Gemm"}

# Where half begins: the layers that cost time. Everything they feed follows.
_HALF: Final = {"Conv", "QuantizeLinear", "DequantizeLinear"}

_FLOATS: Final = {TensorProto.FLOAT, TensorProto.FLOAT16}


def convert_fp16(model: onnx.ModelProto, exact: Collection[str] = EXACT) -> None:
    """Compute in float16 where that is exact enough; inputs and outputs stay as they are.

    Convolutions and what they feed compute in half; the sum of the landmark mask and the linear
    layers in float32. BatchNorms are reduced to scale and shift in float64 before anything is
    rounded. Works on a model with Q/DQ nodes too: what is not in int8 becomes half.

    Args:
        model: float32, with the ``tensor`` interface; changed in place.
        exact: names of nodes that stay in float32 as well.

    Raises:
        ExportError: a weight lies outside half's range.
    """
    normalize_batchnorm(model)
    insert_casts(model, half_nodes(model, exact))


def half_nodes(model: onnx.ModelProto, exact: Collection[str] = EXACT) -> set[str]:
    """Return the names of the nodes that compute in half; nothing is changed.

    Args:
        model: EmoNet, with Q/DQ nodes or without.
        exact: as in ``convert_fp16``.
    """
    types = element_types(model)
    chosen: set[str] = set()
    half: set[str] = set()  # tensors
    for node in model.graph.node:
        if node.name in exact or node.op_type in _FLOAT32:
            continue
        fed = not half.isdisjoint(node.input)
        if fed or node.op_type in _HALF:
            chosen.add(node.name)
            half.update(name for name in node.output if types[name] in _FLOATS)
    return chosen


def insert_casts(model: onnx.ModelProto, half: Collection[str]) -> None:
    """Let the named nodes compute in half, with a Cast wherever a tensor changes its type.

    The model's inputs and outputs keep their types; each constant is rounded once.

    Args:
        model: float32, its nodes' names unique; changed in place.
        half: names of nodes.

    Raises:
        ExportError: a constant lies outside half's range.
    """
    types = element_types(model)
    graph = Graph(model)
    in_half: set[str] = set()  # tensors
    casts: dict[str, NodeProto] = {}
    for node in graph.nodes:
        lower = node.name in half
        floats = [i for i, name in enumerate(node.input) if types.get(name) in _FLOATS]
        if node.op_type == "Resize":
            floats = floats[:1]  # its scales stay float32, whatever it resizes
        new = []
        for i in floats:
            name = node.input[i]
            if graph.is_constant(name):
                node.input[i] = _half_constant(graph, name) if lower else name
            elif lower != (name in in_half):
                cast = _cast(name, lower)
                node.input[i] = cast.name
                if cast.name not in casts:
                    casts[cast.name] = cast
                    new.append(cast)
        if new:
            graph.replace(node, [*new, node])
        if lower:
            in_half.update(name for name in node.output if types.get(name) in _FLOATS)
    for name in graph.output_names:
        if name in in_half:
            _restore_output(graph, name)
    graph.prune()


def _half_constant(graph: Graph, name: str) -> str:
    values = graph.constant(name)
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise ExportError(f"{name} holds values that float16 cannot; export with --precision fp32")
    return graph.set_constant(f"{name}.half", rounded)


def _cast(name: str, lower: bool) -> NodeProto:
    result = f"{name}.half" if lower else f"{name}.float"
    to = TensorProto.FLOAT16 if lower else TensorProto.FLOAT
    return helper.make_node("Cast", [name], [result], name=result, to=to)


def _restore_output(graph: Graph, name: str) -> None:
    """Give an output that became half its float32 back, under its own name."""
    node = graph.producers()[name]
    inner = f"{name}.half"
    graph.redirect(name, inner)
    node.output[list(node.output).index(name)] = inner
    # A float32 copy that another node asked for serves as the output.
    for cast in graph.consumers()[inner]:
        if cast.op_type == "Cast":
            graph.redirect(cast.output[0], name)
            cast.output[0] = name
            return
    cast = helper.make_node("Cast", [inner], [name], name=f"{name}.float", to=TensorProto.FLOAT)
    graph.proto.node.append(cast)
