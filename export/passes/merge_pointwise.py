"""Exact algebra on EmoNet's 1x1 convolutions: the same function with fewer operations.

Between the stacks and at the emotion head, 1x1 convolutions follow each other with nothing but
sums in between, so that they compose; and the attention mask, one number for each pixel, commutes
with them. With h and h' the features of the two stacks:

    previous + bl0(h) + al0(l0(h)) = previous + (BL + AL L) h + constants
    W [x; mask bl0(h); mask h']    = W_x x + mask ([W_0 BL, W_1] [h; h'] + constants)

One convolution to 68 maps and one back are gone, and the mask multiplies half as many channels.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from emonet_deploy.errors import ExportError
from emonet_deploy.export.graph.surgery import Graph

__all__ = ["merge_pointwise"]

Matrix = NDArray[np.float64]


def merge_pointwise(model: onnx.ModelProto, apart: bool = False) -> None:
    """Apply both identities to EmoNet's graph in place; products are taken in float64.

    Args:
        model: float32; changed in place.
        apart: multiply the two stacks by a convolution each and add the results, instead of one
            convolution of both: more arithmetic for an accelerator, fewer bytes to move.

    Raises:
        ExportError: the graph lacks a layer that EmoNet has.
    """
    graph = Graph(model)
    nodes = {node.name: node for node in graph.nodes}
    try:
        heatmap, bl, al, head = (nodes[n] for n in ("l0", "bl0", "al0", "conv1x1_input_emo_2"))
    except KeyError as error:
        raise ExportError(f"the graph has no layer {error}; export the model again") from error
    between, between_bias = _affine(graph, bl)
    _split_head(graph, head, bl.input[0], between, between_bias, apart)

    to_maps, maps_bias = _affine(graph, heatmap)
    from_maps, from_bias = _affine(graph, al)
    readers = graph.consumers()
    (inner,) = (node for node in readers[bl.output[0]] if node.op_type == "Add")
    (outer,) = readers[al.output[0]]
    previous = next(name for name in inner.input if name != bl.output[0])
    merged = _pointwise(
        graph,
        "bl0.merged",
        bl.input[0],
        between + from_maps @ to_maps,
        between_bias + from_maps @ maps_bias + from_bias,
    )
    add = helper.make_node("Add", [merged.output[0], previous], outer.output, outer.name)
    graph.proto.node.remove(inner)
    graph.replace(bl, [merged])
    graph.replace(outer, [add])
    graph.prune()


def _split_head(
    graph: Graph, head: NodeProto, first: str, between: Matrix, bias: Matrix, apart: bool
) -> None:
    """Take the head's convolution apart: of what the mask multiplies, and of the rest."""
    producers = graph.producers()
    concat = producers[head.input[0]]
    x, masked = concat.input[0], producers[concat.input[2]]
    (mask,) = (name for name in masked.input if producers[name].op_type == "ReduceSum")
    (last,) = (name for name in masked.input if name != mask)

    weight, head_bias = _affine(graph, head)
    of_x, of_first, of_last = np.split(weight, 3, axis=1)
    name = head.name
    plain = _pointwise(graph, f"{name}.x", x, of_x, head_bias)
    if apart:
        made = [
            _pointwise(graph, f"{name}.first", first, of_first @ between, of_first @ bias),
            _pointwise(graph, f"{name}.last", last, of_last, 0 * bias),
        ]
        outputs = [node.output[0] for node in made]
        made.append(helper.make_node("Add", outputs, [f"{name}.attended"], f"{name}.attended"))
    else:
        stacks, both = f"{name}.stacks", np.concatenate((of_first @ between, of_last), 1)
        made = [
            helper.make_node("Concat", [first, last], [stacks], stacks, axis=1),
            _pointwise(graph, f"{name}.attended", stacks, both, of_first @ bias),
        ]
    product = helper.make_node("Mul", [made[-1].output[0], mask], [f"{name}.mul"], f"{name}.mul")
    added = helper.make_node(
        "Add", [plain.output[0], product.output[0]], head.output, f"{name}.add"
    )
    graph.replace(head, [plain, *made, product, added])


def _affine(graph: Graph, conv: NodeProto) -> tuple[Matrix, Matrix]:
    """Return a 1x1 convolution's matrix (out x in) and bias, in float64."""
    weight = graph.constant(conv.input[1]).astype(np.float64)[:, :, 0, 0]
    return weight, graph.bias(conv).astype(np.float64)


def _pointwise(graph: Graph, name: str, x: str, weight: Matrix, bias: Matrix) -> NodeProto:
    """Return a 1x1 convolution of the tensor ``x``, its weights put into the graph."""
    inputs = [x, graph.set_constant(f"{name}.weight", weight[:, :, None, None].astype("f"))]
    if bias.any():
        inputs.append(graph.set_constant(f"{name}.bias", bias.astype("f")))
    return helper.make_node("Conv", inputs, [name], name, kernel_shape=[1, 1])
