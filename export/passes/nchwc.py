"""Keep a graph in ONNX Runtime's blocked layout (NCHWc) between its convolutions.

ONNX Runtime's CPU convolutions work on blocks of 8 or 16 channels. It turns the operators between
them to that layout only when all their inputs have it already; where one does not, it goes back
and forth. Written as convolutions, they take it in any case.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from emonet_deploy.export.graph.surgery import Graph

__all__ = ["batchnorm_as_convolution", "concat_channels_last", "depthwise"]


def batchnorm_as_convolution(model: onnx.ModelProto) -> None:
    """Write every BatchNormalization as a depthwise 1x1 convolution; exact."""
    graph = Graph(model)
    for norm in graph.nodes:
        if norm.op_type == "BatchNormalization":
            scale, shift = graph.affine(norm)
            conv = depthwise(graph, norm.name, norm.input[0], norm.output[0], scale, shift)
            graph.replace(norm, [conv])
    graph.prune()


def concat_channels_last(model: onnx.ModelProto) -> None:
    """Concatenate transposed maps before they are transposed to channels first.

    A depthwise convolution with the identity follows; ONNX Runtime adds the shortcut in it.
    """
    graph = Graph(model)
    producers = graph.producers()
    for concat in graph.nodes:
        if concat.op_type != "Concat":
            continue
        sources = [producers[name] for name in concat.input if name in producers]
        if len(sources) < len(concat.input) or any(not _to_channels_first(n) for n in sources):
            continue
        name = concat.name
        channels = sum(_channels(graph, node) for node in sources)
        last = helper.make_node(
            "Concat", [n.input[0] for n in sources], [f"{name}.last"], f"{name}.last", axis=3
        )
        first = helper.make_node(
            "Transpose", last.output, [f"{name}.first"], f"{name}.first", perm=[0, 3, 1, 2]
        )
        one, zero = np.ones(channels), np.zeros(channels)
        identity = depthwise(graph, name, first.output[0], concat.output[0], one, zero)
        graph.replace(concat, [last, first, identity])
    graph.prune()


def _to_channels_first(node: NodeProto) -> bool:
    return node.op_type == "Transpose" and list(node.attribute[0].ints) == [0, 3, 1, 2]


def _channels(graph: Graph, transpose: NodeProto) -> int:
    reshape = graph.producers()[transpose.input[0]]
    return int(graph.constant(reshape.input[1])[-1])


def depthwise(
    graph: Graph,
    name: str,
    x: str,
    y: str,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> NodeProto:
    """Return a node that multiplies each channel of ``x`` by a scale and adds a shift."""
    weight = scale.reshape(-1, 1, 1, 1).astype(np.float32)
    inputs = [x, graph.set_constant(f"{name}.scale", weight)]
    if shift.any():
        inputs.append(graph.set_constant(f"{name}.shift", shift.astype(np.float32)))
    return helper.make_node("Conv", inputs, [y], name, kernel_shape=[1, 1], group=len(scale))
