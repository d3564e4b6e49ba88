"""Cross-layer equalisation: give the channels that one scale must cover similar ranges."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
import torch
from onnx import NodeProto
from torch import Tensor

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.graph.torch_interpreter import Interpreter

__all__ = ["equalize"]

FEWEST_VALUES: Final = 4000
"""A channel's largest value is known well enough when it was taken from this many."""

WIDEST: Final = 16.0
"""No channel is scaled up more than this against another: a silent one stays one."""


SMALLEST: Final = 1e-12


def equalize(model: onnx.ModelProto, images: Tensor) -> None:
    """Scale channels between a BatchNormalization and the convolution it feeds through a ReLU.

    Exact, since ``relu(x / r) * r = relu(x)`` for positive ``r``: the norm's scale and shift are
    divided by ``r`` and the weights that read the channel multiplied by it (Nagel et al.,
    "Data-free quantization through weight equalization and bias correction", 2019). ``r`` is the
    root of the channel's largest value over its largest weight, after which both are equal.

    Args:
        model: with canonical scales, so that a limit means the same for all; changed in place.
        images: N x 3 x 256 x 256, to measure the channels on.
    """
    graph = Graph(model)
    producers, consumers = graph.producers(), graph.consumers()
    largest: dict[str, Tensor] = {}

    def measure(node: NodeProto, _: Sequence[Tensor], output: Tensor) -> Tensor:
        if node.op_type == "Relu" and output.ndim == 4:
            peak = output.amax((0, 2, 3))
            if output[:, 0].numel() >= FEWEST_VALUES:
                largest[node.output[0]] = peak
        return output

    with torch.no_grad():
        Interpreter(model).run(images, measure)
    for conv in graph.nodes:
        peak = largest.get(conv.input[0])
        if conv.op_type != "Conv" or peak is None or len(consumers[conv.input[0]]) > 1:
            continue
        norm = producers.get(producers[conv.input[0]].input[0])
        if norm is None or norm.op_type != "BatchNormalization":
            continue
        if len(consumers[norm.output[0]]) > 1:
            continue
        weight = graph.constant(conv.input[1])
        share = peak.double().numpy() / np.maximum(np.abs(weight).max((0, 2, 3)), SMALLEST)
        ratio = np.sqrt(np.maximum(share, share.max() / WIDEST**2))
        ratio /= np.exp(np.log(ratio).mean())
        scaled = weight * ratio.reshape(-1, 1, 1)
        graph.set_constant(conv.input[1], scaled.astype(weight.dtype))
        for name in norm.input[1:3]:
            values = graph.constant(name)
            graph.set_constant(name, (values / ratio).astype(values.dtype))
