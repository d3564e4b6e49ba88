"""From float32 to float16: half the bytes, float32 at both ends and where half is not enough."""

from copy import deepcopy
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from emonet_deploy.errors import ExportError
from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.passes.batchnorm import normalize_batchnorm

__all__ = ["convert_fp16"]

# The mask sums 68 heatmaps and multiplies 512 channels with the sum, and the two linear layers
# make the results: their rounding errors reach the outputs undamped, at no gain in speed.
_FLOAT32: Final = {"ReduceSum", "Mul", "Gemm"}

# Small errors decide near ties between classes. The first layer's weights are the largest single
# source (all pixels are positive, so that their rounding errors add up), the residual sums, which
# every block rounds again, the next: 0.9% of the work, and some memory traffic.
_EXACT_LAYER: Final = "conv1"
_EXACT_SUMS: Final = "Add"

# Where half begins: the layers that cost time. Everything they feed follows.
_HALF: Final = {"Conv", "QuantizeLinear", "DequantizeLinear"}

_FLOATS: Final = {TensorProto.FLOAT, TensorProto.FLOAT16}


def convert_fp16(model: onnx.ModelProto, exact_sums: bool = True) -> onnx.ModelProto:
    """Return a copy that computes in float16, with the inputs and outputs of the original.

    Strongly typed, as TensorRT wants it: each node's type is written in the graph. Convolutions
    and what they feed compute in half; the landmark mask and the linear layers in float32.
    BatchNorms are reduced to scale and shift in float64 before anything is rounded. Works on a
    model with Q/DQ nodes too: what is not in int8 becomes half.

    Args:
        model: float32, with the ``tensor`` interface; left as it is.
        exact_sums: keep the first convolution and the residual sums in float32 as well. Beside
            int8, whose errors are a hundred times larger, that brings nothing.

    Raises:
        ExportError: a weight lies outside half's range.
    """
    converted = deepcopy(model)
    normalize_batchnorm(converted)
    types = _types(converted)
    graph = Graph(converted)
    half: set[str] = set()
    for node in graph.nodes:
        floats = [i for i, name in enumerate(node.input) if types.get(name) in _FLOATS]
        if node.op_type == "Resize":
            floats = floats[:1]  # its scales stay float32, whatever it resizes
        exact = exact_sums and (node.name == _EXACT_LAYER or node.op_type == _EXACT_SUMS)
        lower = node.op_type in _HALF or (
            node.op_type not in _FLOAT32 and any(node.input[i] in half for i in floats)
        )
        lower = lower and not exact
        casts: dict[str, NodeProto] = {}
        for i in floats:
            name = node.input[i]
            if graph.is_constant(name):
                node.input[i] = _half_constant(graph, name) if lower else name
            elif lower != (name in half):
                node.input[i], cast = _cast(name, lower)
                casts[node.input[i]] = cast
        missing = [cast for name, cast in casts.items() if name not in types]
        types |= dict.fromkeys(casts, TensorProto.FLOAT)
        if missing:
            graph.replace(node, [*missing, node])
        if lower:
            half.update(name for name in node.output if types.get(name) in _FLOATS)
    for name in graph.output_names:
        if name in half:
            _restore_output(graph, name)
    graph.prune()
    return converted


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every tensor."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def _half_constant(graph: Graph, name: str) -> str:
    values = graph.constant(name)
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise ExportError(f"{name} holds values that float16 cannot; export with --precision fp32")
    return graph.set_constant(f"{name}.half", rounded)


def _cast(name: str, lower: bool) -> tuple[str, NodeProto]:
    result = f"{name}.half" if lower else f"{name}.float"
    to = TensorProto.FLOAT16 if lower else TensorProto.FLOAT
    return result, helper.make_node("Cast", [name], [result], name=result, to=to)


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
