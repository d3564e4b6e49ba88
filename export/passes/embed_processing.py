"""Embedded processing (``--io image``): pixels in, results out, everything else in the graph.

The same methods as ``runtime.pipeline.postprocess`` has in NumPy, in operators that TensorRT has,
always in float32. A face then costs 0.2 MB in and under 1 kB out instead of 0.8 MB in and 1.1 MB
out.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from emonet_deploy.emonet_ref.constants import (
    HEATMAP_SIZE,
    INPUT_NAME,
    INPUT_SIZE,
    NUM_LANDMARKS,
    TENSOR_OUTPUTS,
)
from emonet_deploy.errors import ExportError
from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.runtime.metadata import TensorInfo, tensors_of

__all__ = ["embed_processing"]

_TYPES: Final = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


def embed_processing(model: onnx.ModelProto) -> None:
    """Turn the ``tensor`` interface of a model into the ``image`` interface, in place.

    Input: uint8 N x 256 x 256 x 3, RGB. Outputs: probabilities, valence and arousal clipped to
    [-1, 1], landmarks N x 68 x 3 (x and y in pixels of the crop, score). See
    ``pipeline.artifact_interfaces.results`` for how they are defined.

    Raises:
        ExportError: the model does not have the ``tensor`` interface.
    """
    if tuple(output.name for output in model.graph.output) != TENSOR_OUTPUTS:
        raise ExportError("only a model with the tensor interface can have processing embedded")
    graph = Graph(model)
    nclass = model.graph.output[1].type.tensor_type.shape.dim[1].dim_value
    before = _preprocess(graph)
    for name in TENSOR_OUTPUTS:
        _rename_output(graph, name, f"{name}.raw")
    builder = _Builder(graph)
    builder.add("Softmax", ["expression.raw"], "probabilities", axis=1)
    for name in ("valence", "arousal"):
        limits = [builder.constant("minus_one", -1.0), builder.constant("one", 1.0)]
        builder.add("Clip", [f"{name}.raw", *limits], name)
    _landmarks(builder)

    nodes = [*before, *graph.nodes, *builder.nodes]
    inputs, outputs = tensors_of(nclass, "image")
    del graph.proto.node[:], graph.proto.input[:], graph.proto.output[:]
    graph.proto.node.extend(nodes)
    graph.proto.input.extend(_value(tensor) for tensor in inputs)
    graph.proto.output.extend(_value(tensor) for tensor in outputs)
    graph.prune()


class _Builder:
    """Nodes and constants of the postprocessing, named after what they compute."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[NodeProto] = []

    def constant(self, name: str, value: float | list[int] | list[float]) -> str:
        kind = np.int64 if isinstance(value, list) and isinstance(value[0], int) else np.float32
        return self.graph.set_constant(f"postprocess.{name}", np.array(value, kind))

    def add(self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add a node; returns the name of its first output."""
        name = f"postprocess.{outputs[0]}"
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs[0]


def _preprocess(graph: Graph) -> list[NodeProto]:
    """Return the nodes from uint8 pixels to what the network reads."""
    scale = graph.set_constant("preprocess.scale", np.array(255, np.float32))
    layout, cast, scaled = (f"preprocess.{part}" for part in ("layout", "cast", "scaled"))
    graph.redirect(INPUT_NAME, scaled)
    # TensorRT takes uint8 at a network's border only, so the cast comes first.
    return [
        helper.make_node("Cast", [INPUT_NAME], [cast], name=cast, to=TensorProto.FLOAT),
        helper.make_node("Transpose", [cast], [layout], name=layout, perm=[0, 3, 1, 2]),
        helper.make_node("Div", [layout, scale], [scaled], name=scaled),
    ]


def _landmarks(b: _Builder) -> None:
    """Add the landmarks: each heatmap's peak, refined by a parabola in x and in y."""
    size, pixels = float(HEATMAP_SIZE), HEATMAP_SIZE * HEATMAP_SIZE
    flat_shape = b.constant("flat_shape", [-1, NUM_LANDMARKS, pixels])
    flat = b.add("Reshape", ["heatmap.raw", flat_shape], "heatmap.flat")
    score, peak = "landmarks.score", "landmarks.peak"
    # Among equal values TopK takes the first, as NumPy's argmax does.
    b.add("TopK", [flat, b.constant("k", [1])], score, peak, axis=2)

    # Positions up to 4096 are exact in float32, which every TensorRT can divide.
    position = b.add("Cast", [peak], "landmarks.position", to=TensorProto.FLOAT)
    width = b.constant("width", size)
    rows = b.add("Div", [position, width], "landmarks.rows")
    row = b.add("Floor", [rows], "landmarks.row")
    above = b.add("Mul", [row, width], "landmarks.above")
    column = b.add("Sub", [position, above], "landmarks.column")
    grid = b.add("Concat", [column, row], "landmarks.grid", axis=2)  # N x 68 x (x, y)

    # The neighbours' places: left, up, right, down. Beyond the border the peak stands in.
    step = b.constant("step", [1.0, 1.0])
    zero, top = b.constant("zero", 0.0), b.constant("top", size - 1)
    strides = b.constant("strides", [1.0, size])
    moves = []
    for side, operator in (("before", "Sub"), ("after", "Add")):
        moved = b.add(operator, [grid, step], f"landmarks.{side}.moved")
        inside = b.add("Clip", [moved, zero, top], f"landmarks.{side}.inside")
        shift = b.add("Sub", [inside, grid], f"landmarks.{side}.shift")
        along = b.add("Mul", [shift, strides], f"landmarks.{side}.along")
        moves.append(b.add("Add", [position, along], f"landmarks.{side}.position"))
    places = b.add("Concat", moves, "landmarks.places", axis=2)
    index = b.add("Cast", [places], "landmarks.index", to=TensorProto.INT64)
    around = b.add("GatherElements", [flat, index], "landmarks.around", axis=2)
    before, after = "landmarks.before", "landmarks.after"
    b.add("Split", [around, b.constant("halves", [2, 2])], before, after, axis=2)

    # The parabola's vertex, at most half a pixel from the peak.
    doubled = b.add("Add", [score, score], "landmarks.doubled")
    minus_before = b.add("Sub", [doubled, before], "landmarks.minus_before")
    bend = b.add("Sub", [minus_before, after], "landmarks.bend")
    tiny = b.constant("tiny", float(np.finfo(np.float32).tiny))
    positive = b.add("Max", [bend, tiny], "landmarks.bend.positive")
    twice = b.add("Add", [positive, positive], "landmarks.bend.twice")
    slope = b.add("Sub", [after, before], "landmarks.slope")
    vertex = b.add("Div", [slope, twice], "landmarks.vertex")
    limits = [b.constant("minus_half", -0.5), b.constant("half", 0.5)]
    near = b.add("Clip", [vertex, *limits], "landmarks.vertex.near")

    # Heatmap pixel i covers crop pixels 4i to 4i + 3.
    scale = INPUT_SIZE / HEATMAP_SIZE
    refined = b.add("Add", [grid, near], "landmarks.refined")
    scaled = b.add("Mul", [refined, b.constant("scale", scale)], "landmarks.scaled")
    centre = b.constant("centre", 0.5 * scale - 0.5)
    crop = b.add("Add", [scaled, centre], "landmarks.crop")
    b.add("Concat", [crop, score], "landmarks", axis=2)


def _rename_output(graph: Graph, old: str, new: str) -> None:
    node = graph.producers()[old]
    node.output[list(node.output).index(old)] = new
    graph.redirect(old, new)


def _value(tensor: TensorInfo) -> onnx.ValueInfoProto:
    shape = ["N" if size is None else size for size in tensor.shape]
    return helper.make_tensor_value_info(tensor.name, _TYPES[tensor.dtype], shape)
