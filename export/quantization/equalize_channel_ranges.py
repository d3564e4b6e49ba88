"""Equalise the channel ranges that one 8-bit scale must cover: -1 to 1 for all. Exact rewrites.

ONNX Runtime's integer convolutions read and write 8 bits on one scale for all channels. Where what
they write goes back to float, on the way into a sum, each channel can be moved by ``m`` and divided
by ``r`` in the layer that writes it and be brought back afterwards; where they read a sum, it is
moved and divided on the way and brought back by the weights that read it:

    x' = (W / r) y + (b - m) / r,   x = r x' + m,   norm(x) = (s r) x' + (s m + t)
    x' = x / r - m / r,   W x + b = (W r) x' + (b + W m)

As precise as a scale for each channel. What stands on the way is a depthwise convolution; before a
sum, ONNX Runtime computes both as one.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.passes.nchwc import depthwise
from emonet_deploy.export.quantization.channel_extremes import channel_extremes

__all__ = [
    "ChannelRange",
    "equalize_channel_ranges",
    "observe_channel_ranges",
    "tensors_to_equalize",
]

Channels = NDArray[np.float64]

WIDEST: Final = 16.0
"""No channel is scaled up more than this against another: a silent one stays one."""


@dataclass(frozen=True)
class ChannelRange:
    """The smallest and the largest value of each channel of one tensor."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def tensors_to_equalize(graph: Graph) -> set[str]:
    """Return the tensors whose channels' ranges ``equalize_channel_ranges`` wants to know.

    Args:
        graph: BatchNormalizations already written as convolutions.
    """
    return {*_written(graph), *_read_sums(graph)}


def observe_channel_ranges(
    model: onnx.ModelProto, images: NDArray[np.uint8], tensors: Collection[str]
) -> dict[str, ChannelRange]:
    """Measure what each channel of some tensors takes on over sample faces."""
    return {
        name: ChannelRange(ends.low.min(0).astype(np.float64), ends.high.max(0).astype(np.float64))
        for name, ends in channel_extremes(model, images, tensors).items()
    }


def equalize_channel_ranges(
    model: onnx.ModelProto, ranges: Mapping[str, ChannelRange], in_float: Collection[str]
) -> None:
    """Even out what convolutions read from sums and what they write into them, in place.

    Args:
        model: BatchNormalizations already written as convolutions.
        ranges: of the channels of each of ``tensors_to_equalize``.
        in_float: names of the convolutions that stay in float, and so as they are.
    """
    graph = Graph(model)
    for tensor, convs in _written(graph).items():
        if all(conv.name not in in_float for conv in convs):
            _even_output(graph, tensor, convs, *_move_and_ratio(ranges[tensor]))
    for tensor, convs in _read_sums(graph).items():
        chosen = [conv for conv in convs if conv.name not in in_float]
        if chosen:
            _even_input(graph, tensor, chosen, *_move_and_ratio(ranges[tensor]))
    graph.prune()


def _written(graph: Graph) -> dict[str, list[NodeProto]]:
    """Return what goes from convolutions into sums and products, and which of them write it.

    That is a concatenation of their results, or one's result itself.
    """
    readers, producers = graph.consumers(), graph.producers()
    written = {}
    for node in graph.nodes:
        name = node.output[0]
        after = {reader.op_type for reader in readers[name]}
        if not after or not after <= {"Add", "Mul"}:
            continue
        pieces = node.input if node.op_type == "Concat" else [name]
        writers = [producers[piece] for piece in pieces]
        if all(_is_full(graph, writer) for writer in writers):
            written[name] = writers
    return written


def _read_sums(graph: Graph) -> dict[str, list[NodeProto]]:
    """Return the sums that 1x1 convolutions read as they are, and which convolutions."""
    producers = graph.producers()
    read: dict[str, list[NodeProto]] = {}
    for node in graph.nodes:
        before = producers.get(node.input[0])
        if before is None or before.op_type != "Add" or not _is_full(graph, node):
            continue
        # A wider one pads with zeros, which would have to be moved as well.
        if graph.constant(node.input[1]).shape[2:] == (1, 1):
            read.setdefault(node.input[0], []).append(node)
    return read


def _is_full(graph: Graph, node: NodeProto) -> bool:
    return node.op_type == "Conv" and not graph.is_depthwise(node)


def _move_and_ratio(found: ChannelRange) -> tuple[Channels, Channels]:
    half = (found.high - found.low) / 2
    return (found.high + found.low) / 2, np.maximum(half, max(half.max() / WIDEST, 1e-6))


def _even_output(
    graph: Graph, tensor: str, writers: Iterable[NodeProto], move: Channels, ratio: Channels
) -> None:
    readers, producers = graph.consumers(), graph.producers()
    start = 0
    for conv in writers:
        weight = graph.constant(conv.input[1])
        m, r = (values[start : start + len(weight)] for values in (move, ratio))
        start += len(weight)
        _set(graph, conv, weight / _column(r), (graph.bias(conv) - m) / r)
        for norm in readers[conv.output[0]]:
            if norm.op_type == "Conv":
                scale = graph.constant(norm.input[1])
                shift = graph.bias(norm) + scale.reshape(-1) * m
                _set(graph, norm, scale * _column(r), shift)
    node, even = producers[tensor], f"{tensor}.even"
    node.output[0] = even
    restored = depthwise(graph, f"{tensor}.restored", even, tensor, ratio, move)
    graph.replace(node, [node, restored])


def _even_input(
    graph: Graph, tensor: str, convs: Iterable[NodeProto], move: Channels, ratio: Channels
) -> None:
    node, even = graph.producers()[tensor], f"{tensor}.even"
    for conv in convs:
        weight = graph.constant(conv.input[1]).astype(np.float64)
        bias = graph.bias(conv) + weight.sum((2, 3)) @ move
        _set(graph, conv, weight * ratio.reshape(1, -1, 1, 1), bias)
        conv.input[0] = even
    evened = depthwise(graph, f"{tensor}.evened", tensor, even, 1 / ratio, -move / ratio)
    graph.replace(node, [node, evened])


def _column(values: Channels) -> Channels:
    return values.reshape(-1, 1, 1, 1)


def _set(graph: Graph, conv: NodeProto, weight: Channels, bias: Channels) -> None:
    graph.set_constant(conv.input[1], weight.astype(np.float32))
    name = graph.set_constant(f"{conv.name}.bias.even", bias.astype(np.float32))
    del conv.input[2:]
    conv.input.append(name)
