"""Write 2x2 max-pooling as the largest of four strided slices, for compilers that fuse by element.

TensorRT compiles a pooling as a kernel of its own, which reads the sum before it again; slices and
maxima go into the kernel that computes the sum, and so does the BatchNormalization behind them.
"""

import numpy as np
import onnx
from onnx import NodeProto, helper

from emonet_deploy.export.graph.surgery import Graph

__all__ = ["pool_to_max"]


def pool_to_max(model: onnx.ModelProto) -> None:
    """Rewrite the 2x2 max-poolings of sums that no convolution takes into its own kernel; exact.

    A sum with a convolution's result is computed by that convolution, in the place of its bias.
    Its pooling stays: four slices would read it four times.
    """
    graph = Graph(model)
    producers = graph.producers()
    for pool in graph.nodes:
        before = producers.get(pool.input[0])
        if pool.op_type != "MaxPool" or not _is_2x2(pool):
            continue
        if before is None or before.op_type != "Add":
            continue
        terms = [producers[name] for name in before.input if name in producers]
        if all(term.op_type != "Conv" for term in terms):
            graph.replace(pool, _slices(graph, pool))


def _is_2x2(pool: NodeProto) -> bool:
    attributes = {a.name: helper.get_attribute_value(a) for a in pool.attribute}
    return (
        list(attributes.get("kernel_shape", [])) == [2, 2]
        and list(attributes.get("strides", [1, 1])) == [2, 2]
        and not any(attributes.get("pads", []))
        and not attributes.get("ceil_mode", 0)
    )


def _slices(graph: Graph, pool: NodeProto) -> list[NodeProto]:
    name = pool.name
    end = np.iinfo(np.int64).max
    ends, axes, steps = (
        graph.set_constant(f"pool.{what}", np.array(values, np.int64))
        for what, values in (("ends", [end, end]), ("axes", [2, 3]), ("steps", [2, 2]))
    )
    nodes, corners = [], []
    for row in (0, 1):
        for column in (0, 1):
            start = graph.set_constant(f"pool.start{row}{column}", np.array([row, column]))
            corner = f"{name}.corner{row}{column}"
            inputs = [pool.input[0], start, ends, axes, steps]
            nodes.append(helper.make_node("Slice", inputs, [corner], corner))
            corners.append(corner)
    for side, pair in (("top", corners[:2]), ("bottom", corners[2:])):
        nodes.append(helper.make_node("Max", pair, [f"{name}.{side}"], f"{name}.{side}"))
    last = helper.make_node("Max", [f"{name}.top", f"{name}.bottom"], list(pool.output), name)
    return [*nodes, last]
