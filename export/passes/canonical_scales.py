"""One form for all networks that differ only in how their channels are scaled. Exact.

What only convolutions and linear layers read may be divided by any ``s > 0`` where it is written
and multiplied by it where it is read: ReLU, pooling and concatenations let a positive factor
through. Checkpoints that compute the same function so differ in the range of every such channel,
on which low precision depends. Here each channel is divided by its own size, after which equivalent
checkpoints are equal but for their last digits.

The size is a channel's root mean square: what the training left behind in the norm that writes it,
``sqrt(weight^2 + bias^2)``, and where that norm was folded into a layer, what is measured on faces.
The size of the layer's weights would not do: what they make of their inputs is not alike. What
norms read stays as it is: they bring it to a scale of their own.
"""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.passes.batchnorm import set_affine

__all__ = ["canonicalize_scales"]

Values = NDArray[np.float64]
Channels = NDArray[np.int64]

_LAYERS: Final = frozenset({"Conv", "Gemm"})
_SAME_CHANNELS: Final = frozenset({"Relu", "MaxPool", "AveragePool", "Resize", "Reshape"})

SMALLEST: Final = 1e-10
"""A channel smaller than this is dead, whatever its scale: it stays as it is."""


def canonicalize_scales(model: onnx.ModelProto, images: Tensor) -> None:
    """Divide channels by their sizes, in float64; norms are reduced to scale and shift.

    Args:
        model: float32, its norms with their statistics; changed in place.
        images: N x 3 x 256 x 256, to measure on what layers write; eight faces or so.
    """
    graph = Graph(model)
    layout = _Layout(graph)
    scales = _scales(graph, layout, images)
    for node in graph.nodes:
        if node.op_type == "BatchNormalization":
            before, after = scales[layout.read[node.name]], scales[layout.written[node.name]]
            scale, shift = graph.affine(node)
            set_affine(graph, node, scale * before / after, shift / after)
        elif node.name in layout.written:
            before, after = scales[layout.read[node.name]], scales[layout.written[node.name]]
            _rescale(graph, node, before, after)
    graph.prune()


class _Layout:
    """Which channels of a graph have one scale: each is a number, equal ones are one channel."""

    def __init__(self, graph: Graph) -> None:
        self.read: dict[str, Channels] = {}
        """Of each layer and norm, the channels it reads, in order."""
        self.written: dict[str, Channels] = {}
        """Likewise, the channels it writes."""
        self._parents: list[int] = [0]  # channel 0 stands for all whose scale is given
        self._of: dict[str, Channels] = {}  # of each tensor
        for node in graph.nodes:
            self._add(graph, node)
        for name in graph.output_names:
            self._fix(name)
        roots = np.array([self._root(i) for i in range(len(self._parents))])
        self.read = {name: roots[channels] for name, channels in self.read.items()}
        self.written = {name: roots[channels] for name, channels in self.written.items()}
        self.count = len(roots)

    def _add(self, graph: Graph, node: NodeProto) -> None:
        tensors = [name for name in node.input if name and not graph.is_constant(name)]
        inputs = [self._of[name] for name in tensors if name in self._of]
        sizes = {len(channels) for channels in inputs}
        out = node.output[0]
        if node.op_type in _LAYERS | {"BatchNormalization"}:
            self._add_layer(graph, node)
        elif len(inputs) == len(tensors) and node.op_type in _SAME_CHANNELS:
            self._of[out] = inputs[0]
        elif len(inputs) == len(tensors) and node.op_type == "Concat":
            self._of[out] = np.concatenate(inputs)
        elif len(inputs) == len(tensors) == 2 and node.op_type == "Add" and len(sizes) == 1:
            for first, second in zip(*inputs, strict=True):
                self._join(int(first), int(second))
            self._of[out] = inputs[0]
        elif len(inputs) == 1 and node.op_type == "Mul":
            self._of[out] = inputs[0]  # the other factor, the mask, is the same for all channels
        else:
            for name in tensors:
                self._fix(name)

    def _add_layer(self, graph: Graph, node: NodeProto) -> None:
        weight = graph.constant(node.input[1])
        is_norm = node.op_type == "BatchNormalization"
        width = len(weight) if is_norm else weight.shape[1]
        source = self._of.get(node.input[0], np.zeros(width, np.int64))
        if len(source) != width or (node.op_type == "Gemm" and not graph.is_transposed(node)):
            self._fix(node.input[0])
            return
        first = len(self._parents)
        channels = np.arange(first, first + len(weight))
        self._parents += channels.tolist()
        self.read[node.name], self.written[node.name] = source, channels
        self._of[node.output[0]] = channels

    def _fix(self, name: str) -> None:
        for channel in self._of.get(name, ()):
            self._join(0, int(channel))

    def _root(self, channel: int) -> int:
        while self._parents[channel] != channel:
            channel = self._parents[channel]
        return channel

    def _join(self, first: int, second: int) -> None:
        low, high = sorted((self._root(first), self._root(second)))
        self._parents[high] = low


def _scales(graph: Graph, layout: _Layout, images: Tensor) -> Values:
    """Return the size of each channel; 1 where it is given, a norm reads it, or it is dead."""
    sizes = np.zeros(layout.count)
    given = np.zeros(layout.count, np.bool_)
    given[0] = True
    norms = {n.name: n for n in graph.nodes if n.op_type == "BatchNormalization"}
    for name in norms.keys() & layout.read.keys():
        given[layout.read[name]] = True
    chosen = {name for name, channels in layout.written.items() if not given[channels].all()}
    measured = _measured_sizes(graph, chosen - norms.keys(), images)
    for name in chosen:
        if name in norms:
            weight, bias = (graph.constant(c).astype(np.float64) for c in norms[name].input[1:3])
            size = np.hypot(weight, bias)
        else:
            size = measured[name]
        np.maximum.at(sizes, layout.written[name], size)
    return np.where(given | (sizes < SMALLEST), 1.0, sizes)


def _measured_sizes(graph: Graph, layers: Collection[str], images: Tensor) -> dict[str, Values]:
    """Return the root mean square over faces of each channel that some layers write."""
    sizes: dict[str, Values] = {}

    def measure(node: NodeProto, _: Sequence[Tensor], output: Tensor) -> Tensor:
        if node.name in layers:
            rows = output.double().transpose(0, 1).flatten(1)
            sizes[node.name] = rows.square().mean(1).sqrt().numpy()
        return output

    with torch.no_grad():
        Interpreter(graph.model).run(images, measure)
    return sizes


def _rescale(graph: Graph, layer: NodeProto, before: Values, after: Values) -> None:
    # Under names of its own: layers that have equal constants may share them.
    weight = graph.constant(layer.input[1])
    scaled = weight * _along(before, weight, 1) / _along(after, weight, 0)
    layer.input[1] = graph.set_constant(f"{layer.name}.canonical", scaled.astype(weight.dtype))
    if len(layer.input) > 2:
        bias = (graph.bias(layer) / after).astype(weight.dtype)
        layer.input[2] = graph.set_constant(f"{layer.name}.canonical.bias", bias)


def _along(values: Values, weight: NDArray[np.floating], axis: int) -> Values:
    shape = [1] * weight.ndim
    shape[axis] = -1
    return values.reshape(shape)
