"""Quantisation as ONNX Runtime runs it on CPUs: convolutions from uint8 to uint8, sums in float.

A convolution between Q/DQ nodes fuses into an integer one, ``QLinearConv``, only if its result is
written in 8 bits too. The sums of the residual streams stay in float: rounding them again at each
block would cost ten times the accuracy, and computing them in 8 bits saves no time.
"""

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import NodeProto

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.quantization.qdq import make_node
from emonet_deploy.export.quantization.qparams import QuantizedConv, QuantParams

__all__ = ["convolutions_in_int8", "insert_uint8", "stored_tensors"]


def convolutions_in_int8(graph: Graph, in_float: Collection[str]) -> list[str]:
    """Return the names of the convolutions that compute in int8.

    All but those in float; of the norms, written as depthwise convolutions, those that read what
    a convolution wrote in 8 bits and write, through a ReLU, what one reads.

    Args:
        graph: BatchNormalizations already written as convolutions.
        in_float: names of the convolutions that stay in float.
    """
    readers, producers = graph.consumers(), graph.producers()
    chosen: dict[str, None] = {}
    for node in graph.nodes:
        if node.op_type != "Conv" or node.name in in_float:
            continue
        before, after = producers.get(node.input[0]), readers[node.output[0]]
        inside = before is not None and before.name in chosen and after[0].op_type == "Relu"
        if inside or not graph.is_depthwise(node):
            chosen[node.name] = None
    return list(chosen)


def stored_tensors(graph: Graph, in_int8: Collection[str]) -> list[str]:
    """Return the tensors that convolutions in int8 write, and concatenations of nothing else.

    Of a result that only a ReLU reads the ReLU's output is kept instead: rounding to codes from
    0 on does the ReLU's work.

    Args:
        graph: BatchNormalizations already written as convolutions.
        in_int8: names of the convolutions that compute in int8.
    """
    readers = graph.consumers()
    stored: dict[str, None] = {}
    for node in graph.nodes:
        name = node.output[0]
        if node.name in in_int8:
            after = readers[name]
            alone = len(after) == 1 and after[0].op_type == "Relu"
            stored[after[0].output[0] if alone else name] = None
        elif node.op_type == "Concat" and all(piece in stored for piece in node.input):
            stored[name] = None
    return list(stored)


def insert_uint8(
    model: onnx.ModelProto, layers: Mapping[str, QuantizedConv], stored: Mapping[str, QuantParams]
) -> None:
    """Let convolutions compute in int8: activations in uint8 with a zero point, weights in int8.

    Args:
        model: BatchNormalizations already written as convolutions; changed in place.
        layers: the convolutions in int8.
        stored: how each tensor from ``stored_tensors`` is written.
    """
    graph = Graph(model)
    nodes: list[NodeProto] = []
    read: set[str] = set()
    for node in graph.nodes:
        layer = layers.get(node.name)
        if layer is not None:
            source = node.input[0]
            if source not in stored and source not in read:
                nodes += _pair(graph, source, layer.input)
                read.add(source)
            weight, bias = _weight_node(graph, node, layer), _bias(graph, node, layer)
            del node.input[:]
            node.input.extend([f"{source}.dequantized", weight.output[0], bias.output[0]])
            nodes += [weight, bias]
        for i, name in enumerate(node.input):
            if name in stored:
                node.input[i] = f"{name}.dequantized"
        nodes.append(node)
        for name in node.output:
            if name in stored:
                nodes += _pair(graph, name, stored[name])
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    graph.prune()


def _pair(graph: Graph, name: str, qparams: QuantParams) -> list[NodeProto]:
    scale = graph.set_constant(f"{name}.step", np.float32(qparams.scale))
    zero = graph.set_constant(f"{name}.zero", np.uint8(qparams.zero_point))
    codes = f"{name}.quantized"
    return [
        make_node("QuantizeLinear", [name, scale, zero], codes),
        make_node("DequantizeLinear", [codes, scale, zero], f"{name}.dequantized"),
    ]


def _weight_node(graph: Graph, node: NodeProto, layer: QuantizedConv) -> NodeProto:
    """Put a layer's integers into the graph; return the node that makes weights of them."""
    name = f"{node.name}.weight"
    zeros = np.zeros(len(layer.weight), np.int8)
    inputs = [
        graph.set_constant(f"{name}.int8", layer.weight),
        graph.set_constant(f"{name}.scales", layer.weight_scales),
        graph.set_constant(f"{name}.zeros", zeros),
    ]
    return make_node("DequantizeLinear", inputs, f"{name}.dequantized", axis=0)


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
