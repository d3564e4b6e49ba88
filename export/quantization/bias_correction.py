"""Bias correction: take back what rounding changes in each channel's mean.

Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019; here
on sample faces, with the rounded inputs as well as the rounded weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from onnx import NodeProto
from torch import Tensor

from emonet_deploy.export.graph.torch_interpreter import Interpreter, convolve
from emonet_deploy.export.quantization.qparams import QuantizedConv, QuantParams

__all__ = ["correct_bias", "correct_network", "quantization_error"]

AT_ONCE: Final = 8
"""Faces of the exact network that are run at once; bounds the memory."""


def correct_bias(layer: QuantizedConv, node: NodeProto, x: Tensor, output: Tensor) -> QuantizedConv:
    """Return a convolution whose output has the mean of the exact one, for exact inputs.

    Args:
        layer: the convolution in int8.
        node: the convolution.
        x: its exact input.
        output: its exact output.
    """
    means = [
        (_fake_quantized(layer, node, part) - exact).mean((0, 2, 3)) * (len(part) / len(x))
        for part, exact in zip(torch.split(x, AT_ONCE), torch.split(output, AT_ONCE), strict=True)
    ]
    return _shifted(layer, -torch.stack(means).sum(0))


def correct_network(
    network: Interpreter,
    layers: Mapping[str, QuantizedConv],
    stored: Mapping[str, QuantParams],
    images: Tensor,
) -> dict[str, QuantizedConv]:
    """Take the mean error that reaches each layer back in its bias, from the first to the last.

    Rounding errors have no mean, but behind a ReLU they have: it cuts off one side. Such shifts add
    up over the layers and survive the head's averaging, so each layer removes what came before it
    as well as its own.

    Args:
        network: in float32.
        layers: its convolutions in int8, by name.
        stored: of the tensors that are written in 8 bits by what computes them.
        images: N x 3 x 256 x 256.
    """
    exact = _means(network, layers, images)
    corrected = dict(layers)

    def compute(node: NodeProto, inputs: Sequence[Tensor]) -> Tensor | None:
        layer = layers.get(node.name)
        if layer is None:
            return None
        rough = _fake_quantized(layer, node, inputs[0])
        shift = exact[node.name] - rough.mean((0, 2, 3))
        corrected[node.name] = _shifted(layer, shift)
        return rough.add_(shift[:, None, None])

    def store(node: NodeProto, _: Sequence[Tensor], output: Tensor) -> Tensor:
        qparams = stored.get(node.output[0])
        return output if qparams is None else qparams.fake_quantize(output)

    network.run(images, store, compute)
    return corrected


def _means(
    network: Interpreter, layers: Mapping[str, QuantizedConv], images: Tensor
) -> dict[str, Tensor]:
    """Return the mean of each output channel of some layers of the exact network."""
    sums: dict[str, Tensor] = {}

    def add(node: NodeProto, _: Sequence[Tensor], output: Tensor) -> Tensor:
        if node.name in layers:
            found = output.mean((2, 3), dtype=torch.float64).sum(0)
            sums[node.name] = sums.get(node.name, 0) + found
        return output

    for part in torch.split(images, AT_ONCE):
        network.run(part, add)
    return {name: (total / len(images)).float() for name, total in sums.items()}


def quantization_error(
    layers: Mapping[str, QuantizedConv],
    stored: Mapping[str, QuantParams],
    node: NodeProto,
    inputs: Sequence[Tensor],
    output: Tensor,
) -> Tensor | None:
    """Return what quantising one node alone adds to its output; None where nothing is rounded.

    What was stored in 8 bits already, a convolution or a concatenation does not round again.
    """
    result, layer = output, layers.get(node.name)
    if layer is not None:
        compute = _convolved if node.input[0] in stored else _fake_quantized
        result = compute(layer, node, inputs[0])
    if node.output[0] in stored and node.op_type != "Concat":
        result = stored[node.output[0]].fake_quantize(result)
    return None if result is output else result - output


def _shifted(layer: QuantizedConv, shift: Tensor) -> QuantizedConv:
    return replace(layer, bias=(layer.bias + shift.numpy()).astype(np.float32))


def _fake_quantized(layer: QuantizedConv, node: NodeProto, x: Tensor) -> Tensor:
    """Compute a convolution as int8 does."""
    return _convolved(layer, node, layer.input.fake_quantize(x))


def _convolved(layer: QuantizedConv, node: NodeProto, x: Tensor) -> Tensor:
    """Compute a convolution as int8 does on an input that is rounded already."""
    weight, bias = torch.from_numpy(layer.dequantized_weight), torch.from_numpy(layer.bias)
    return convolve(node, x, weight, bias)
