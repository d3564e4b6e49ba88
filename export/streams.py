"""Give the channels of the residual streams similar ranges, so that one 8-bit scale fits them all.

A residual stream is what a chain of sums passes on: the sums themselves, what is added to them,
pooled and enlarged copies. Each of its channels may be divided by a constant ``r``, the same all
along the stream, and moved by an offset ``m``, which adds up where the stream does, as long as the
layers that write it are divided and those that read it multiplied:

    x' = (x - m) / r,   norm(x) = (s r) x' + (s m + t),   conv(x) = (W r) x' + (b + W m)

Exact. It is equalisation across layers (Nagel et al., "Data-free quantization through weight
equalization and bias correction", 2019) for a network whose norms stand before the activations.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor

from emonet_deploy.export.graph import Graph
from emonet_deploy.export.interpreter import Interpreter

__all__ = ["equalize_streams"]

Channels = NDArray[np.float64]

PASSING: Final = {"Add", "MaxPool", "Resize", "Mul", "AveragePool", "Reshape"}
"""Operators that pass a stream on, channel by channel; of a product with the mask, the maps."""

WRITING: Final = {"Conv", "Concat"}
READING: Final = {"BatchNormalization", "Conv", "Gemm"}

SMALLEST: Final = 1e-3
"""Of a channel's spread: a silent one is not blown up."""


def equalize_streams(
    model: onnx.ModelProto, images: Tensor, in_float: Collection[str] = ()
) -> None:
    """Divide and move the channels of every residual stream, in place.

    Args:
        model: with normalised BatchNorms.
        images: N x 3 x 256 x 256, to measure the channels on.
        in_float: names of nodes that stay in float; a stream that one of them sums up is left.
    """
    graph = Graph(model)
    means, spreads = _statistics(model, images)
    producers = graph.producers()
    ratios: dict[str, Channels] = {}
    for stream in _streams(graph):
        if any(producers[name].name in in_float for name in stream):
            continue
        sums = [np.log(spreads[name]) for name in stream if producers[name].op_type == "Add"]
        # A mean of logarithms: no tensor counts for more because its values are larger.
        ratio: Channels = np.exp(np.mean([log - log.mean() for log in sums], 0))
        for name in stream:
            ratios[name] = ratio
            if producers[name].op_type == "Concat":
                pieces = producers[name].input
                ends = np.cumsum([len(means[piece]) for piece in pieces])[:-1]
                ratios |= zip(pieces, np.split(ratio, ends), strict=True)
    masked = _before_the_mask(graph)
    moves: dict[str, Channels] = {}
    for node in graph.nodes:
        name = node.output[0]
        if name not in ratios:
            continue
        if node.op_type == "Conv":
            moves[name] = np.zeros_like(means[name]) if name in masked else means[name]
            _write(graph, node, moves[name], ratios[name])
        elif node.op_type == "Concat":
            moves[name] = np.concatenate([moves[piece] for piece in node.input])
        elif node.op_type == "Add":
            moves[name] = moves[node.input[0]] + moves[node.input[1]]
        else:
            moves[name] = moves[node.input[0]]
    for node in graph.nodes:
        if node.op_type in READING and node.input[0] in ratios:
            _read(graph, node, moves[node.input[0]], ratios[node.input[0]])
    graph.prune()


def _streams(graph: Graph) -> list[list[str]]:
    """Return the tensors of each stream whose writers and readers can all be changed."""
    readers, producers = graph.consumers(), graph.producers()
    parent = {name: name for name in producers}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in graph.nodes:
        if node.op_type in PASSING:
            for name in node.input[: 2 if node.op_type == "Add" else 1]:
                parent[root(name)] = root(node.output[0])
    groups = defaultdict(list)
    for name in producers:
        groups[root(name)].append(name)
    return [
        group
        for group in groups.values()
        if any(producers[name].op_type == "Add" for name in group)
        and all(producers[name].op_type in PASSING | WRITING for name in group)
        and all(node.op_type in PASSING | READING for name in group for node in readers[name])
    ]


def _before_the_mask(graph: Graph) -> set[str]:
    """Return what a product with the mask is made of: an offset would not pass it."""
    masked: set[str] = set()
    for node in reversed(graph.nodes):
        if node.op_type == "Mul":
            masked.add(node.input[0])
        elif node.op_type == "Add" and node.output[0] in masked:
            masked.update(node.input)
    return masked


def _statistics(
    model: onnx.ModelProto, images: Tensor
) -> tuple[dict[str, Channels], dict[str, Channels]]:
    """Return each tensor's mean and largest distance from it, by channel."""
    means: dict[str, Channels] = {}
    spreads: dict[str, Channels] = {}

    def measure(node: NodeProto, _: Sequence[Tensor], output: Tensor) -> Tensor:
        if output.ndim == 4 and node.op_type in PASSING | WRITING:
            mean = output.mean((0, 2, 3), keepdim=True)
            spread = (output - mean).abs_().amax((0, 2, 3)).clamp_min(SMALLEST)
            means[node.output[0]] = mean.flatten().double().numpy()
            spreads[node.output[0]] = spread.double().numpy()
        return output

    with torch.no_grad():
        Interpreter(model).run(images, measure)
    return means, spreads


def _write(graph: Graph, conv: NodeProto, move: Channels, ratio: Channels) -> None:
    weight = graph.constant(conv.input[1])
    scaled = weight / ratio.reshape(-1, 1, 1, 1)
    _set(graph, conv, scaled, (graph.bias(conv) - move) / ratio)


def _read(graph: Graph, node: NodeProto, move: Channels, ratio: Channels) -> None:
    if node.op_type == "BatchNormalization":
        scale, shift = (graph.constant(name) for name in node.input[1:3])
        graph.set_constant(node.input[1], (scale * ratio).astype(scale.dtype))
        graph.set_constant(node.input[2], (shift + scale * move).astype(shift.dtype))
        return
    weight = graph.constant(node.input[1])
    across = ratio.reshape(1, -1, *[1] * (weight.ndim - 2))
    moved = weight.reshape(len(weight), -1).astype(np.float64) @ move
    _set(graph, node, weight * across, graph.bias(node) + moved)


def _set(
    graph: Graph, node: NodeProto, weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> None:
    graph.set_constant(node.input[1], weight.astype(np.float32))
    name = graph.set_constant(f"{node.name}.bias.moved", bias.astype(np.float32))
    del node.input[2:]
    node.input.append(name)
