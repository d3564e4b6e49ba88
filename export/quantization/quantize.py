"""Post-training quantisation to INT8 on sample faces, with no labels and no training.

The method, in the order of the stages below: cross-layer equalisation of the float32 network;
calibration of the activations' ranges; GPTQ of the weights, each layer's bias corrected; the
sensitivity of the outputs to each layer; the choice of what stays in float; bias correction of the
network as a whole; the graph. ``schemes`` has what differs between TensorRT and ONNX Runtime.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.passes.canonical_scales import canonicalize_scales
from emonet_deploy.export.passes.merge_pointwise import merge_pointwise
from emonet_deploy.export.quantization.bias_correction import (
    correct_bias,
    correct_network,
    quantization_error,
)
from emonet_deploy.export.quantization.calibrate import Calibrator, Range, chunks, observe_ranges
from emonet_deploy.export.quantization.cross_layer_equalization import equalize
from emonet_deploy.export.quantization.gptq import SUM_IN_16_BITS, quantize_conv
from emonet_deploy.export.quantization.qparams import QuantizedConv, QuantParams
from emonet_deploy.export.quantization.schemes import SCHEMES, QuantizationScheme
from emonet_deploy.export.quantization.sensitivity import (
    LayerSensitivity,
    choose_float,
    layer_sensitivities,
)
from emonet_deploy.runtime.backends.int8_overflow import EXACT_SUMS
from emonet_deploy.runtime.choices import Target

__all__ = ["Quantized", "quantize_int8"]

NOISE_TARGET: Final = 0.001
"""Predicted noise to aim at, as a share of the outputs' variance: 30 dB."""

NOISE_OF_REACH: Final = NOISE_TARGET / 20
"""Noise that a tensor may add so that faces beyond those calibrated on are not clipped."""

TOGETHER: Final = 16
"""Faces on which weights are rounded and the biases of the whole network corrected, at once."""

FIRST: Final = 8
"""Faces that are enough to compare channels and layers with each other."""

ALWAYS_FLOAT: Final = frozenset({"conv1", "l1"})
"""The layer that sees the pixels and the one that makes the heatmaps: 1.3% of the work."""


@dataclass(frozen=True)
class Quantized:
    """An INT8 model and how it came about."""

    model: onnx.ModelProto
    sensitivities: tuple[LayerSensitivity, ...]
    """Of every convolution, in the graph's order."""
    float_layers: tuple[str, ...]
    """The convolutions that do not compute in int8."""
    int8_share: float
    """Of the multiply-accumulates."""
    calibrator: Calibrator
    faces: int
    exact_sums: bool
    """Whether sums of two products fit into 16 bits."""

    def record(self) -> dict[str, Any]:
        """Return what ``ModelInfo.calibration`` keeps."""
        return {
            "calibrator": self.calibrator,
            "faces": self.faces,
            EXACT_SUMS: self.exact_sums,
            "int8_share": round(self.int8_share, 4),
            "float_layers": list(self.float_layers),
            "sensitivity": [[s.name, s.macs, float(f"{s.noise:.3g}")] for s in self.sensitivities],
        }


def quantize_int8(
    model: onnx.ModelProto,
    images: NDArray[np.uint8],
    budget: float | None = None,
    calibrator: Calibrator = "minmax",
    target: Target = "gpu",
) -> Quantized:
    """Quantise a float32 model after training, without labels.

    Each convolution's input gets one scale, each of its output channels another; weights are
    rounded so that the output changes least. What rounding changes in a channel's mean over the
    sample faces is taken back in its bias. What would cost most stays in float, within the budget.

    For ``gpu``, TensorRT's INT8: signed, zero points 0, the rest as ``convert_fp16`` has it. For
    ``cpu``, ONNX Runtime's: what convolutions read and write in uint8, the rest in float32.

    Args:
        model: float32, with the ``tensor`` interface; left as it is.
        images: face crops to calibrate on, uint8 N x 256 x 256 x 3, RGB.
        budget: share of the multiply-accumulates that may stay in float; by default the target's.
        calibrator: how an activation's scale is chosen; see ``observe_ranges``.
        target: what the model is for.
    """
    first, together = (torch.cat(chunks(images[:n])) for n in (FIRST, TOGETHER))
    base = _prepare(model, first)
    scheme = SCHEMES[target](base, images)
    # As much as possible in int8, to see what that costs.
    trial = _partition(scheme, ALWAYS_FLOAT)
    ranges = _calibrate(trial, images, calibrator)
    rounded = _round(scheme, trial, ranges, together)
    sensitivities = _sensitivities(trial, rounded, first)
    in_float = _choose(scheme, base, sensitivities, budget)
    partition = _partition(scheme, in_float)
    qparams = _final_qparams(scheme, trial, ranges, sensitivities)
    corrected = _correct(partition, rounded, qparams, together)
    written = _write(scheme, partition, corrected)
    layers = [each for each in sensitivities if each.name in _convolutions(base)]
    in_int8 = [each for each in layers if each.name in corrected.layers]
    return Quantized(
        model=written,
        sensitivities=tuple(layers),
        float_layers=tuple(each.name for each in layers if each.name not in corrected.layers),
        int8_share=sum(each.macs for each in in_int8) / sum(each.macs for each in layers),
        calibrator=calibrator,
        faces=len(images),
        exact_sums=scheme.largest_sum <= SUM_IN_16_BITS,
    )


@dataclass(frozen=True)
class _Partition:
    """What of a network is in 8 bits; all else is in float."""

    model: onnx.ModelProto
    """In float32, ready to be quantised so."""
    convolutions: tuple[str, ...]
    """Those that compute in int8."""
    stored: tuple[str, ...]
    """Tensors that are written in 8 bits by what computes them."""


@dataclass(frozen=True)
class _Rounded:
    """Convolutions in int8, how tensors between them are stored, and the exact outputs' spread."""

    layers: Mapping[str, QuantizedConv]
    stored: Mapping[str, QuantParams]
    spread: Mapping[str, Tensor]
    """Standard deviation of each output over the faces."""


@dataclass(frozen=True)
class _Corrected:
    """The convolutions as they are written, and how the tensors between them are stored."""

    layers: Mapping[str, QuantizedConv]
    stored: Mapping[str, QuantParams]


def _prepare(model: onnx.ModelProto, images: Tensor) -> onnx.ModelProto:
    """Return a float32 network that loses less in 8 bits: the same function."""
    base = deepcopy(model)
    merge_pointwise(base)  # no product with the mask is rounded then
    canonicalize_scales(base, images)
    equalize(base, images)
    return base


def _convolutions(model: onnx.ModelProto) -> set[str]:
    return {node.name for node in model.graph.node if node.op_type == "Conv"}


def _partition(scheme: QuantizationScheme, in_float: Collection[str]) -> _Partition:
    """Divide the network into 8 bits and float, some convolutions given."""
    model = scheme.prepared(in_float)
    graph = Graph(model)
    convolutions = scheme.convolutions(graph, in_float)
    return _Partition(model, tuple(convolutions), tuple(scheme.stored(graph, set(convolutions))))


def _calibrate(
    trial: _Partition, images: NDArray[np.uint8], calibrator: Calibrator
) -> Mapping[str, Range]:
    """Observe the range of every tensor that is quantised, over all faces."""
    read = {n.input[0] for n in trial.model.graph.node if n.name in set(trial.convolutions)}
    tensors = read.union(trial.stored)
    return observe_ranges(trial.model, images, tensors, calibrator)


def _round(
    scheme: QuantizationScheme, trial: _Partition, ranges: Mapping[str, Range], images: Tensor
) -> _Rounded:
    """Round every convolution's weights and take its own mean error back in its bias."""
    qparams = _qparams(trial.model, ranges, scheme.symmetric)
    layers: dict[str, QuantizedConv] = {}
    in_int8 = set(trial.convolutions)

    def quantize(node: NodeProto, inputs: Sequence[Tensor], output: Tensor) -> Tensor:
        if node.name in in_int8:
            layer = quantize_conv(node, inputs, qparams[node.input[0]], scheme.largest_sum)
            layers[node.name] = correct_bias(layer, node, inputs[0], output)
        return output

    with torch.no_grad():
        outputs = Interpreter(trial.model).run(images, quantize)
        spread = {name: values.std(0) for name, values in outputs.items()}
    return _Rounded(layers, {name: qparams[name] for name in trial.stored}, spread)


def _sensitivities(
    trial: _Partition, rounded: _Rounded, images: Tensor
) -> tuple[LayerSensitivity, ...]:
    """Estimate what each layer, and each tensor stored in 8 bits, adds to the outputs' noise."""
    found = layer_sensitivities(
        Interpreter(trial.model),
        images,
        lambda *at: quantization_error(rounded.layers, rounded.stored, *at),
        rounded.spread,
    )
    return tuple(found)


def _choose(
    scheme: QuantizationScheme,
    base: onnx.ModelProto,
    sensitivities: Sequence[LayerSensitivity],
    budget: float | None,
) -> set[str]:
    """Choose the convolutions that stay in float, in the groups in which that pays."""
    share = scheme.float_budget if budget is None else budget
    kept = _choose_groups(sensitivities, share, scheme.group)
    return {name for name in _convolutions(base) if scheme.group(name) in kept}


def _choose_groups(
    sensitivities: Sequence[LayerSensitivity], budget: float, group: Callable[[str], str]
) -> list[str]:
    macs: Counter[str] = Counter()
    noise: dict[str, float] = defaultdict(float)
    for each in sensitivities:
        macs[group(each.name)] += each.macs
        noise[group(each.name)] += each.noise
    groups = [LayerSensitivity(name, macs[name], noise[name]) for name in macs if macs[name]]
    return choose_float(groups, budget, NOISE_TARGET, {group(name) for name in ALWAYS_FLOAT})


def _final_qparams(
    scheme: QuantizationScheme,
    trial: _Partition,
    ranges: Mapping[str, Range],
    sensitivities: Sequence[LayerSensitivity],
) -> Mapping[str, QuantParams]:
    """Return each tensor's scale and zero point, with room for faces beyond those seen."""
    widened = _widen(trial.model, ranges, sensitivities)
    return _qparams(trial.model, widened, scheme.symmetric)


def _widen(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    sensitivities: Sequence[LayerSensitivity],
) -> dict[str, Range]:
    """Widen each range to what other faces will need, as far as that adds little noise.

    Clipping on a face unlike those calibrated on costs that face more than all else. Where much
    depends on small steps, in the first layers, the range stays what was seen.
    """
    noise: dict[str, float] = defaultdict(float)
    of_node = {each.name: each.noise for each in sensitivities}
    for node in model.graph.node:
        for name in (node.input[0], node.output[0]):
            noise[name] += of_node.get(node.name, 0.0)
    for node in model.graph.node:
        if node.op_type == "Concat":  # its pieces have its scale
            noise[node.output[0]] += sum(noise[piece] for piece in node.input)
    widened = {}
    for name, found in ranges.items():
        # Rounding noise grows with the square of the range.
        most = np.sqrt(1 + NOISE_OF_REACH / max(noise[name], 1e-12))
        factor = min(found.reach, float(most))
        widened[name] = replace(found, low=found.low * factor, high=found.high * factor)
    return widened


def _qparams(
    model: onnx.ModelProto, ranges: Mapping[str, Range], symmetric: bool
) -> dict[str, QuantParams]:
    """Return the scale and the zero point of each tensor."""
    qparams = {
        name: QuantParams.from_range(found.low, found.high, symmetric)
        for name, found in ranges.items()
    }
    for node in model.graph.node:
        # What is concatenated has the scale of the whole: its codes are copied, not rounded again.
        if node.op_type == "Concat" and node.output[0] in qparams:
            qparams |= dict.fromkeys(node.input, qparams[node.output[0]])
    return qparams


def _correct(
    partition: _Partition, rounded: _Rounded, qparams: Mapping[str, QuantParams], images: Tensor
) -> _Corrected:
    """Correct the biases of the network as it will be, all layers together."""
    inputs = {node.name: node.input[0] for node in partition.model.graph.node}
    layers = {
        name: replace(rounded.layers[name], input=qparams[inputs[name]])
        for name in partition.convolutions
    }
    stored = {name: qparams[name] for name in partition.stored}
    with torch.no_grad():
        corrected = correct_network(Interpreter(partition.model), layers, stored, images)
    return _Corrected(corrected, stored)


def _write(
    scheme: QuantizationScheme, partition: _Partition, corrected: _Corrected
) -> onnx.ModelProto:
    """Return the graph with its Q/DQ nodes."""
    model = deepcopy(partition.model)
    scheme.write(model, corrected.layers, corrected.stored)
    return model
