"""Quantisation as ONNX Runtime runs it on CPUs: everything between Q/DQ nodes fuses into int8."""

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto

from emonet_deploy.export.graph import Graph
from emonet_deploy.export.qdq import dequantized_weight, make_node
from emonet_deploy.export.steps import QuantizedConv, Steps

__all__ = ["insert_uint8", "stored_tensors"]

IN_INT8: Final = {"Conv", "Concat", "Add", "MaxPool", "Resize"}
"""Operators that ONNX Runtime's CPU provider computes in 8 bits."""


def stored_tensors(graph: Graph, in_float: Collection[str]) -> list[str]:
    """Return the tensors to keep in 8 bits: what the operators in int8 read and write.

    Of a tensor that only a ReLU reads the ReLU's output is kept instead: rounding to codes from
    0 on does the ReLU's work.

    Args:
        graph: BatchNormalizations already written as convolutions.
        in_float: names of the nodes that compute in float.
    """
    readers, producers = graph.consumers(), graph.producers()
    outputs = set(graph.output_names)
    stored: dict[str, None] = {}
    for node in graph.nodes:
        if node.op_type not in IN_INT8 or node.name in in_float:
            continue
        inputs = node.input[:1] if node.op_type in {"Conv", "Resize"} else node.input
        for name in (*inputs, *node.output):
            after = readers[name]
            if name in outputs:
                continue
            if len(after) == 1 and after[0].op_type == "Relu":
                name = after[0].output[0]
            if name in producers:
                stored[name] = None
    return list(stored)


def insert_uint8(
    model: onnx.ModelProto, layers: Mapping[str, QuantizedConv], stored: Mapping[str, Steps]
) -> None:
    """Keep tensors in uint8 and compute on them: activations with a zero point, weights in int8.

    Args:
        model: BatchNormalizations already written as convolutions; changed in place.
        layers: the convolutions in int8.
        stored: how each tensor from ``stored_tensors`` is written.
    """
    graph = Graph(model)
    nodes: list[NodeProto] = []
    for node in graph.nodes:
        for i, name in enumerate(node.input):
            if name in stored:
                node.input[i] = f"{name}.dequantized"
        layer = layers.get(node.name)
        if layer is not None:
            weight = dequantized_weight(graph, node, layer)
            bias = _bias(graph, node, layer)
            rest = [weight.output[0], bias.output[0]]
            source = node.input[0]
            del node.input[:]
            node.input.extend([source, *rest])
            nodes += [weight, bias]
        nodes.append(node)
        for name in node.output:
            if name in stored:
                nodes += _pair(graph, name, stored[name])
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    graph.prune()


def _pair(graph: Graph, name: str, steps: Steps) -> list[NodeProto]:
    scale = graph.set_constant(f"{name}.step", np.float32(steps.scale))
    zero = graph.set_constant(f"{name}.zero", np.uint8(steps.zero))
    codes = f"{name}.quantized"
    return [
        make_node("QuantizeLinear", [name, scale, zero], codes),
        make_node("DequantizeLinear", [codes, scale, zero], f"{name}.dequantized"),
    ]


def _bias(graph: Graph, node: NodeProto, layer: QuantizedConv) -> NodeProto:
    """Put the bias into the graph in the integers that the products are summed in."""
    name = f"{node.name}.bias"
    scales = (layer.input.scale * layer.weight_scales).astype(np.float32)
    limit = 2**31 - 1
    integers = np.clip(np.rint(layer.bias / scales.astype(np.float64)), -limit, limit)
    inputs = [
        graph.set_constant(f"{name}.int32", integers.astype(np.int32)),
        graph.set_constant(f"{name}.scales", scales),
        graph.set_constant(f"{name}.zeros", np.zeros(len(scales), np.int32)),
    ]
    return make_node("DequantizeLinear", inputs, f"{name}.dequantized", axis=0)
