"""What TensorRT-RTX needs before it builds for Turing (compute capability 7.5)."""

import numpy as np
import onnx
from onnx import NodeProto, helper

from emonet_deploy.export.graph.surgery import Graph

__all__ = ["TURING", "gemm_to_conv"]

TURING = 75


def gemm_to_conv(model: onnx.ModelProto) -> None:
    """Write the fully connected layers (Gemm) as 1x1 convolutions in place, exactly.

    TensorRT-RTX has no float32 matrix product for Turing, and float32 convolutions it has. The
    layers stay in the precision they are in.
    """
    graph = Graph(model)
    for node in graph.nodes:
        if node.op_type == "Gemm" and graph.is_constant(node.input[1]):
            graph.replace(node, _convolution(graph, node))


def _convolution(graph: Graph, gemm: NodeProto) -> list[NodeProto]:
    weight = graph.constant(gemm.input[1])
    if not any(a.name == "transB" and a.i == 1 for a in gemm.attribute):
        weight = weight.T
    name = gemm.name
    outputs, inputs = weight.shape
    image = graph.set_constant(f"{name}.image", np.array([-1, inputs, 1, 1]))
    flat = graph.set_constant(f"{name}.flat", np.array([-1, outputs]))
    kernel = graph.set_constant(f"{name}.kernel", weight[:, :, None, None])
    return [
        helper.make_node("Reshape", [gemm.input[0], image], [f"{name}.in"], f"{name}.reshape"),
        helper.make_node("Conv", [f"{name}.in", kernel, *gemm.input[2:]], [f"{name}.out"], name),
        helper.make_node("Reshape", [f"{name}.out", flat], list(gemm.output), f"{name}.flatten"),
    ]
