"""INT8 with explicit Q/DQ nodes, calibrated on sample faces, with no labels and no training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor

from emonet_deploy.export.algebra import merge_pointwise
from emonet_deploy.export.calibrate import (
    FLOAT_BUDGET,
    Calibrator,
    Range,
    activation_ranges,
    chunks,
)
from emonet_deploy.export.equalize import equalize
from emonet_deploy.export.interpreter import Interpreter, convolve
from emonet_deploy.export.precision import convert_fp16
from emonet_deploy.export.qdq import QuantizedConv, insert_qdq
from emonet_deploy.export.rewrite import normalize_batchnorm
from emonet_deploy.export.sensitivity import LayerCost, choose_float, layer_costs

__all__ = ["Quantized", "quantize_int8"]

NOISE_TARGET: Final = 0.002
"""Predicted noise to aim at, as a share of the outputs' variance: 27 dB."""

TOGETHER: Final = 16
"""Faces on which the biases of the whole network are corrected, at once."""

Layers = dict[str, QuantizedConv]
LEVELS: Final = 127
WEIGHT_CLIPS: Final = np.linspace(0.7, 1.0, 7)
SMALLEST_SCALE: Final = 1e-6  # half can still write it


@dataclass(frozen=True)
class Quantized:
    """An INT8 model and how it came about."""

    model: onnx.ModelProto
    costs: tuple[LayerCost, ...]
    """Of every convolution, in the graph's order."""
    float_layers: tuple[str, ...]
    """The convolutions that compute in half."""
    int8_share: float
    """Of the multiply-accumulates."""
    calibrator: Calibrator
    faces: int

    def record(self) -> dict[str, Any]:
        """Return what ``ModelInfo.calibration`` keeps."""
        return {
            "calibrator": self.calibrator,
            "faces": self.faces,
            "int8_share": round(self.int8_share, 4),
            "float_layers": list(self.float_layers),
            "sensitivity": [[c.name, c.macs, float(f"{c.noise:.3g}")] for c in self.costs],
        }


def quantize_int8(
    model: onnx.ModelProto,
    images: NDArray[np.uint8],
    budget: float = FLOAT_BUDGET,
    calibrator: Calibrator = "percentile",
) -> Quantized:
    """Quantise a float32 model for TensorRT: signed int8, zero points 0, the rest in half.

    Each convolution's input gets one scale, each of its output channels another. What rounding
    changes in a channel's mean over the sample faces is taken back in its bias (Nagel et al.,
    "Data-free quantization through weight equalization and bias correction", 2019). The layers
    that would cost most stay in half, within the budget.

    Args:
        model: float32, with the ``tensor`` interface; left as it is.
        images: face crops to calibrate on, uint8 N x 256 x 256 x 3, RGB.
        budget: share of the multiply-accumulates that may stay in float.
        calibrator: how an activation's scale is chosen; see ``activation_ranges``.
    """
    source = onnx.ModelProto()
    source.CopyFrom(model)
    normalize_batchnorm(source)
    merge_pointwise(source)  # no product with the mask is rounded then
    first = chunks(images)[0]
    equalize(source, first)
    network = Interpreter(source)
    convs = {node.name: node for node in network.nodes if node.op_type == "Conv"}
    with torch.no_grad():
        tensors = {node.input[0] for node in convs.values()}
        ranges = activation_ranges(
            network, images, lambda node: node.output[0] in tensors, calibrator
        )
        layers = _quantize_layers(source, list(convs.values()), ranges)
        centred = _correct_alone(network, layers, first)
        spread = {name: values.std(0) for name, values in network.run(first).items()}
    costs = layer_costs(network, first, lambda *at: _error(centred, *at), spread)
    # The first convolution sees the pixels themselves: 0.9% of the work, the most exposed.
    fixed = [name for name in convs if name not in layers]
    kept = choose_float(costs, budget, NOISE_TARGET, fixed)
    layers = {name: layer for name, layer in layers.items() if name not in kept}
    with torch.no_grad():
        layers = _correct_together(network, layers, images[:TOGETHER])
    insert_qdq(source, layers)
    total = sum(cost.macs for cost in costs)
    return Quantized(
        model=convert_fp16(source),
        costs=tuple(costs),
        float_layers=tuple(kept),
        int8_share=sum(cost.macs for cost in costs if cost.name in layers) / total,
        calibrator=calibrator,
        faces=len(images),
    )


def _quantize_layers(
    model: onnx.ModelProto, convs: Sequence[NodeProto], ranges: dict[str, Range]
) -> dict[str, QuantizedConv]:
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    layers = {}
    for node in convs:
        if node.input[0] not in ranges:
            continue
        limits = ranges[node.input[0]]
        weight = constants[node.input[1]]
        bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight))
        scales = _weight_scales(weight)
        steps = scales.reshape(-1, 1, 1, 1)
        rectified = limits.low >= 0
        step = limits.high / (2 * LEVELS + 1) if rectified else limits.widest / LEVELS
        layers[node.name] = QuantizedConv(
            input_scale=_half(np.float32(step)),
            rectified=rectified,
            weight=np.clip(np.rint(weight / steps), -LEVELS, LEVELS).astype(np.int8),
            weight_scales=scales,
            bias=bias.astype(np.float32),
        )
    return layers


def _weight_scales(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scale of each output channel that leaves the smallest squared error."""
    rows = weight.reshape(len(weight), -1)
    largest = np.abs(rows).max(1)
    best, least = largest / LEVELS, np.full(len(rows), np.inf)
    for clip in WEIGHT_CLIPS:
        scales = _half(largest * np.float32(clip / LEVELS))
        steps = scales[:, None]
        rounded = np.clip(np.rint(rows / steps), -LEVELS, LEVELS) * steps
        errors = np.square(rounded - rows).sum(1)
        best = np.where(errors < least, scales, best)
        least = np.minimum(errors, least)
    return np.asarray(best, np.float32)


def _half(scales: Any) -> Any:  # noqa: ANN401 - a scalar or an array, as given
    """Round scales to what half can write, so that the model in half rounds as this one."""
    return np.maximum(scales, SMALLEST_SCALE).astype(np.float16).astype(np.float32)


def _correct_alone(network: Interpreter, layers: Layers, images: Tensor) -> Layers:
    """Take each layer's own mean error back in its bias: the layer alone, fed with exact values."""
    corrected = dict(layers)

    def measure(node: NodeProto, inputs: Sequence[Tensor], output: Tensor) -> Tensor:
        error = _error(layers, node, inputs, output)
        if error is not None:
            corrected[node.name] = _shifted(layers[node.name], -error.mean((0, 2, 3)))
        return output

    network.run(images, measure)
    return corrected


def _correct_together(network: Interpreter, layers: Layers, images: NDArray[np.uint8]) -> Layers:
    """Take the mean error that reaches each layer back in its bias, from the first to the last.

    The exact and the quantised network run side by side. Rounding errors have no mean, but behind
    a ReLU they have: it cuts off one side. Such shifts add up over the layers and survive the
    head's averaging, so each layer removes what came before it as well as its own.
    """
    corrected = dict(layers)
    exact = torch.cat(chunks(images))
    half = len(exact)

    def replace_output(node: NodeProto, inputs: Sequence[Tensor], output: Tensor) -> Tensor:
        layer = layers.get(node.name)
        if layer is None:
            return output
        rounded = _quantized(layer, node, inputs[0][half:])
        shift = output[:half].mean((0, 2, 3)) - rounded.mean((0, 2, 3))
        corrected[node.name] = _shifted(layer, shift)
        return torch.cat((output[:half], rounded + shift[:, None, None]))

    network.run(torch.cat((exact, exact)), replace_output)
    return corrected


def _shifted(layer: QuantizedConv, shift: Tensor) -> QuantizedConv:
    return replace(layer, bias=(layer.bias + shift.numpy()).astype(np.float32))


def _quantized(layer: QuantizedConv, node: NodeProto, x: Tensor) -> Tensor:
    """Compute a convolution as int8 does."""
    scale = float(layer.input_scale)
    low = 0 if layer.rectified else -LEVELS - 1
    rounded = (x / scale).round_().clamp_(low, low + 2 * LEVELS + 1).mul_(scale)
    weight, bias = torch.from_numpy(layer.rounded_weight), torch.from_numpy(layer.bias)
    return convolve(node, rounded, weight, bias)


def _error(
    layers: Layers, node: NodeProto, inputs: Sequence[Tensor], output: Tensor
) -> Tensor | None:
    """Return what quantising a convolution alone adds to its output; None for other nodes."""
    layer = layers.get(node.name)
    return None if layer is None else _quantized(layer, node, inputs[0]) - output
