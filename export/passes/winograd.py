"""Winograd convolution in plain ONNX operators, for runtimes whose own convolutions are direct.

ONNX Runtime's CPU convolutions run near the processor's peak, so only fewer multiplications make
them faster. F(m x m, 3 x 3) computes an m x m tile of outputs from an (m + 2) x (m + 2) tile d of
inputs with (m + 2)^2 multiplications for each pair of channels instead of 9 m^2:

    y = A^T [(G g G^T) * (B^T d B)] A

(Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). The products over
channels are matrix products, one for each of the (m + 2)^2 positions.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from emonet_deploy.export.graph.surgery import Graph

__all__ = ["PLAN", "Shape", "apply_winograd", "transforms", "winograd_shapes"]

Shape = tuple[int, int, int]
"""Of a 3x3 convolution: channels in, channels out, height of its square map."""

PLAN: Final[Mapping[Shape, int]] = {
    (64, 64, 128): 6,
    (64, 32, 128): 6,
    (256, 128, 64): 6,
    (128, 128, 64): 6,
    (128, 64, 64): 6,
    (64, 64, 64): 6,
    (64, 32, 64): 6,
    (32, 32, 128): 6,
    (32, 32, 64): 6,
    (256, 128, 32): 4,
    (128, 64, 32): 4,
    (64, 64, 32): 4,
}
"""Tile m for each shape that Winograd makes faster, as measured on an AMD EPYC with VNNI."""

_POINTS: Final = (0.0, 1.0, -1.0, 2.0, -0.5, -2.0, 0.5, 0.75, -0.75)


def transforms(m: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return A^T (m x n), G (n x 3) and B^T (n x n) of F(m, 3), with n = m + 2.

    Built by the Cook-Toom construction on the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity, as
    many as needed: evaluate both factors at the points, multiply, interpolate, transpose.
    """
    points = np.array(_POINTS[: m + 1])
    others = [np.delete(points, i) for i in range(m + 1)]
    weights = np.array([np.prod(p - rest) for p, rest in zip(points, others, strict=True)])
    at, g = np.zeros((m, m + 2)), np.zeros((m + 2, 3))
    bt = np.zeros((m + 2, m + 2))
    at[:, :-1] = points ** np.arange(m)[:, None]
    g[:-1] = points[:, None] ** np.arange(3) / weights[:, None]
    at[-1, -1] = g[-1, -1] = 1
    for i, rest in enumerate(others):
        bt[i, :-1] = np.poly(rest)[::-1]
    bt[-1] = np.poly(points)[::-1]
    return at, g, bt


def winograd_shapes(model: onnx.ModelProto) -> list[Shape]:
    """Return the shapes of the convolutions that could be rewritten, each once."""
    return list(dict.fromkeys(shape for _, shape in _candidates(Graph(model))))


def apply_winograd(model: onnx.ModelProto, plan: Mapping[Shape, int] = PLAN) -> None:
    """Rewrite the planned 3x3 convolutions; exact but for rounding (about 1e-5 of each output).

    Args:
        model: changed in place; square maps, batch of any size.
        plan: tile m for each (channels in, channels out, height); others stay as they are.
    """
    graph = Graph(model)
    for conv, shape in list(_candidates(graph)):
        m = plan.get(shape)
        if m is not None:
            graph.replace(conv, _island(graph, conv, shape[2], m))
    graph.prune()


def _candidates(graph: Graph) -> Iterator[tuple[NodeProto, Shape]]:
    heights = _heights(graph.model)
    for conv in graph.nodes:
        if conv.op_type == "Conv" and len(conv.input) == 2 and _is_plain_3x3(conv):
            out_channels, in_channels = graph.constant(conv.input[1]).shape[:2]
            yield conv, (in_channels, out_channels, heights[conv.input[0]])


def _heights(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model)
    return {
        value.name: value.type.tensor_type.shape.dim[2].dim_value
        for value in inferred.graph.value_info
        if len(value.type.tensor_type.shape.dim) == 4
    }


def _is_plain_3x3(conv: NodeProto) -> bool:
    attributes = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
    return (
        list(attributes.get("kernel_shape", [])) == [3, 3]
        and list(attributes.get("pads", [])) == [1] * 4
        and set(attributes.get("strides", [1])) == {1}
        and set(attributes.get("dilations", [1])) == {1}
        and attributes.get("group", 1) == 1
    )


def _island(graph: Graph, conv: NodeProto, height: int, m: int) -> list[NodeProto]:
    """Return the nodes that replace one convolution.

    Channels come last inside, so that a tile's pixels are gathered in whole rows of channels; ONNX
    Runtime merges the two transpositions into its own layout changes. Both transforms are applied
    to rows first and then to columns, as products with small matrices from the left.
    """
    at, g, bt = transforms(m)
    n, tiles = m + 2, -(-height // m)
    weight = graph.constant(conv.input[1])
    out_channels, in_channels = weight.shape[:2]
    per_tile = tiles * tiles

    nodes: list[NodeProto] = []

    def constant(name: str, values: NDArray[Any]) -> str:
        return graph.set_constant(f"winograd.{name}", values)

    def add(op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{conv.name}.{op.lower()}{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def shaped(x: str, *shape: int) -> str:
        target = constant("shape." + "x".join(map(str, shape)), np.array(shape, np.int64))
        return add("Reshape", x, target)

    # The transformed kernel is n^2 / 9 times as large: left to be folded when the file is loaded.
    taps = graph.set_constant(conv.input[1], weight.transpose(2, 3, 1, 0).reshape(9, -1))
    both = constant(f"g.{m}", np.kron(g, g).astype(np.float32))
    kernel = shaped(add("MatMul", both, taps), n * n, in_channels, out_channels)

    x = shaped(add("Transpose", conv.input[0], perm=[0, 2, 3, 1]), 0, height**2, in_channels)
    # One more pixel, of zeros, for what lies outside the map.
    x = add("Pad", x, constant("one_pixel", np.array([0, 0, 0, 0, 1, 0], np.int64)))
    x = add("Gather", x, constant(f"tiles.{height}.{m}", _tile_pixels(height, m)), axis=1)
    to_positions = constant(f"bt.{m}", bt.astype(np.float32))
    x = add("MatMul", to_positions, shaped(x, 0, n, n * per_tile * in_channels))
    x = add("MatMul", to_positions, shaped(x, 0, n, n, per_tile * in_channels))
    x = add("MatMul", shaped(x, 0, n * n, per_tile, in_channels), kernel)
    to_pixels = constant(f"at.{m}", at.astype(np.float32))
    x = add("MatMul", to_pixels, shaped(x, 0, n, n, per_tile * out_channels))
    x = add("MatMul", to_pixels, shaped(x, 0, n, m * per_tile * out_channels))
    x = shaped(x, 0, m * m * per_tile, out_channels)
    x = add("Gather", x, constant(f"pixels.{height}.{m}", _pixel_tiles(height, m)), axis=1)
    x = shaped(x, 0, height, height, out_channels)
    nodes.append(helper.make_node("Transpose", [x], [conv.output[0]], conv.name, perm=[0, 3, 1, 2]))
    return nodes


def _tile_pixels(height: int, m: int) -> NDArray[np.int64]:
    """Index of the pixel at each position of each tile, n^2 x tiles^2; outside, the zero pixel."""
    tiles = -(-height // m)
    along = m * np.arange(tiles) + np.arange(m + 2)[:, None] - 1
    row, column = along[:, None, :, None], along[None, :, None, :]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < height)
    return np.where(inside, row * height + column, height**2).reshape((m + 2) ** 2, tiles**2)


def _pixel_tiles(height: int, m: int) -> NDArray[np.int64]:
    """Index of each pixel, height^2, among the m^2 x tiles^2 outputs of all tiles."""
    tiles = -(-height // m)
    place, tile = np.arange(height) % m, np.arange(height) // m
    places = place[:, None] * m + place
    return (places * tiles**2 + tile[:, None] * tiles + tile).reshape(-1)
