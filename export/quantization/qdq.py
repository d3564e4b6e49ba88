"""Writing quantisation into a graph: QuantizeLinear and DequantizeLinear around convolutions."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.quantization.qparams import QuantizedConv, half_scales

__all__ = ["insert_qdq", "make_node"]

OPSET: Final = 19
"""The first in which Q/DQ nodes take half."""

OFFSET: Final = 128


def insert_qdq(model: onnx.ModelProto, layers: Mapping[str, QuantizedConv]) -> None:
    """Let convolutions compute in int8: signed, zero points 0, weights stored as int8.

    TensorRT has no zero points and no unsigned type, so that half of int8's steps would be lost
    on inputs that are never negative. Such an input is shifted down by 128 steps first, the
    convolution's padding included, and the bias takes the shift back: exact, one bit more, and
    the compiler fuses the subtraction and the padding into the quantisation.

    With a scale for each output channel TensorRT-RTX writes a convolution's result in float32 and
    multiplies in a kernel of its own; with one for all it writes half. So the integers stay as they
    are, the geometric mean of their scales goes with them, and the ratio of each channel's scale to
    it goes into what reads the result: see ``_rescale``.
    """
    graph = Graph(model)
    pairs: dict[tuple[str, tuple[int, ...]], str] = {}
    ratios: dict[str, NDArray[np.float32]] = {}
    for node in graph.nodes:
        layer = layers.get(node.name)
        if node.op_type != "Conv" or layer is None:
            continue
        rectified = layer.input.zero_point == 0
        pads = _take_pads(node) if rectified else ()
        key = (node.input[0], pads)
        new = []
        if key not in pairs:
            new = _quantized_input(graph, node, layer, pads)
            pairs[key] = new[-1].output[0]
        scale = half_scales(np.exp(np.log(layer.weight_scales).mean()))
        ratio = layer.weight_scales / scale
        weight = _weight_node(graph, node, layer, scale)
        bias = layer.bias.astype(np.float64)
        if rectified:
            sums = layer.dequantized_weight.sum((1, 2, 3), dtype=np.float64)
            bias = bias + OFFSET * layer.input.scale * sums
        bias = (bias / ratio).astype(np.float32)
        inputs = [
            pairs[key],
            weight.output[0],
            graph.set_constant(f"{node.name}.bias.corrected", bias),
        ]
        del node.input[:]
        node.input.extend(inputs)
        graph.replace(node, [*new, weight, node])
        ratios[node.output[0]] = ratio
    _rescale(graph, ratios)
    graph.prune()
    for opset in model.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, OPSET)


def _take_pads(node: NodeProto) -> tuple[int, ...]:
    """Return a convolution's padding, top, left, bottom, right, and set it to none."""
    for attribute in node.attribute:
        if attribute.name == "pads":
            pads = tuple(attribute.ints)
            attribute.ints[:] = [0] * len(pads)
            return pads if any(pads) else ()
    return ()


def _quantized_input(
    graph: Graph, node: NodeProto, layer: QuantizedConv, pads: tuple[int, ...]
) -> list[NodeProto]:
    new = []
    rectified = layer.input.zero_point == 0
    tensor = node.input[0]
    name = f"{node.name}.input"
    zero = graph.set_constant("int8.zero", np.int8(0))
    scale = graph.set_constant(f"{name}.scale", np.float32(layer.input.scale))
    if rectified:
        shift = np.float32(OFFSET * layer.input.scale)
        offset = graph.set_constant(f"{name}.offset", shift)
        new.append(make_node("Sub", [tensor, offset], f"{name}.shifted"))
        tensor = f"{name}.shifted"
        if pads:
            top, left, bottom, right = pads
            extent = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
            border = graph.set_constant(f"{name}.border", -shift)
            widths = graph.set_constant(f"{name}.pads", extent)
            new.append(make_node("Pad", [tensor, widths, border], f"{name}.padded"))
            tensor = f"{name}.padded"
    quantized = f"{name}.quantized"
    new.append(make_node("QuantizeLinear", [tensor, scale, zero], quantized))
    new.append(make_node("DequantizeLinear", [quantized, scale, zero], f"{name}.dequantized"))
    return new


def _rescale(graph: Graph, ratios: Mapping[str, NDArray[np.float32]]) -> None:
    """Multiply convolutions' results by their channels' ratios where they are read; exact.

    A BatchNormalization takes the ratio into its scale; all else reads a product, which keeps the
    result's name. The compiler computes either where it is read, so that each result is stored
    once, as the convolution writes it.
    """
    readers, producers = graph.consumers(), graph.producers()
    for name, ratio in ratios.items():
        conv, raw = producers[name], f"{name}.unscaled"
        conv.output[0] = raw
        norms = [node for node in readers[name] if node.op_type == "BatchNormalization"]
        for norm in norms:
            scale = graph.constant(norm.input[1])
            rescaled = (scale * ratio).astype(scale.dtype)
            norm.input[1] = graph.set_constant(f"{norm.name}.rescaled", rescaled)
            norm.input[0] = raw
        if len(readers[name]) > len(norms) or name in graph.output_names:
            factor = graph.set_constant(f"{name}.ratio", ratio.reshape(1, -1, 1, 1))
            product = helper.make_node("Mul", [raw, factor], [name], f"{name}.rescaled")
            graph.replace(conv, [conv, product])


def _weight_node(
    graph: Graph, node: NodeProto, layer: QuantizedConv, scale: np.float32
) -> NodeProto:
    """Put a layer's integers into the graph; return the node that makes weights of them."""
    name = f"{node.name}.weight"
    inputs = [
        graph.set_constant(f"{name}.int8", layer.weight),
        graph.set_constant(f"{name}.scale", np.float32(scale)),
        graph.set_constant("int8.zero", np.int8(0)),
    ]
    return make_node("DequantizeLinear", inputs, f"{name}.dequantized")


def make_node(operator: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    """Return a node called after its output."""
    return helper.make_node(operator, inputs, [output], name=output, **attributes)
