"""INT8 calibrated on sample faces, with no labels and no training: for TensorRT or for a CPU."""

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

from emonet_deploy.export.graph.interpreter import Interpreter, convolve
from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.passes.batchnorm import normalize_batchnorm
from emonet_deploy.export.passes.merge_pointwise import merge_pointwise
from emonet_deploy.export.quantization.calibrate import Calibrator, Range, activation_ranges, chunks
from emonet_deploy.export.quantization.equalize import equalize
from emonet_deploy.export.quantization.gptq import SUM_IN_16_BITS, round_layer
from emonet_deploy.export.quantization.qparams import QuantizedConv, Steps
from emonet_deploy.export.quantization.schemes import FLAVOURS
from emonet_deploy.export.quantization.sensitivity import LayerCost, choose_float, layer_costs
from emonet_deploy.runtime.backends.int8_overflow import EXACT_SUMS
from emonet_deploy.runtime.types import Target

__all__ = ["Quantized", "quantize_int8"]

NOISE_TARGET: Final = 0.001
"""Predicted noise to aim at, as a share of the outputs' variance: 30 dB."""

NOISE_OF_REACH: Final = NOISE_TARGET / 20
"""Noise that a tensor may add so that faces beyond those calibrated on are not clipped."""

TOGETHER: Final = 32
"""Faces on which weights are rounded and the biases of the whole network corrected, at once."""

FIRST: Final = 8
"""Faces that are enough to compare channels and layers with each other."""

ALWAYS_FLOAT: Final = frozenset({"conv1", "l1"})
"""The layer that sees the pixels and the one that makes the heatmaps: 1.3% of the work."""

Layers = dict[str, QuantizedConv]
Stored = Mapping[str, Steps]


@dataclass(frozen=True)
class Quantized:
    """An INT8 model and how it came about."""

    model: onnx.ModelProto
    costs: tuple[LayerCost, ...]
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
            "sensitivity": [[c.name, c.macs, float(f"{c.noise:.3g}")] for c in self.costs],
        }


def quantize_int8(
    model: onnx.ModelProto,
    images: NDArray[np.uint8],
    budget: float | None = None,
    calibrator: Calibrator = "minmax",
    target: Target = "gpu",
) -> Quantized:
    """Quantise a float32 model: without labels, without training.

    Each convolution's input gets one scale, each of its output channels another; weights are
    rounded so that the output changes least. What rounding changes in a channel's mean over the
    sample faces is taken back in its bias (Nagel et al., "Data-free quantization through weight
    equalization and bias correction", 2019). What would cost most stays in float, within the
    budget.

    For ``gpu``, TensorRT's INT8: signed, zero points 0, the rest as ``convert_fp16`` has it. For
    ``cpu``, ONNX Runtime's: what convolutions read and write in uint8, the rest in float32.

    Args:
        model: float32, with the ``tensor`` interface; left as it is.
        images: face crops to calibrate on, uint8 N x 256 x 256 x 3, RGB.
        budget: share of the multiply-accumulates that may stay in float; by default the target's.
        calibrator: how an activation's scale is chosen; see ``activation_ranges``.
        target: what the model is for.
    """
    base = deepcopy(model)
    normalize_batchnorm(base)
    merge_pointwise(base)  # no product with the mask is rounded then
    first = torch.cat(chunks(images[:FIRST]))
    equalize(base, first)
    convs = {node.name for node in base.graph.node if node.op_type == "Conv"}
    flavour = FLAVOURS[target](base, images)

    # As much as possible in int8, to see what that costs.
    trial = flavour.model(ALWAYS_FLOAT)
    graph, network = Graph(trial), Interpreter(trial)
    in_int8 = set(flavour.convolutions(graph, ALWAYS_FLOAT))
    tensors = {node.input[0] for node in graph.nodes if node.name in in_int8}
    tensors.update(flavour.stored(graph, in_int8))
    with torch.no_grad():
        ranges = activation_ranges(
            network, images, lambda node: node.output[0] in tensors, calibrator
        )
        steps = _steps(graph, ranges, flavour.symmetric)
        together = torch.cat(chunks(images[:TOGETHER]))
        layers, outputs = _round_layers(network, together, steps, in_int8, flavour.largest_sum)
        spread = {name: values.std(0) for name, values in outputs.items()}
    stored = {name: steps[name] for name in flavour.stored(graph, in_int8)}
    costs = layer_costs(network, first, lambda *at: _error(layers, stored, *at), spread)
    steps = _steps(graph, _widened(graph, ranges, costs), flavour.symmetric)
    share = flavour.budget if budget is None else budget
    kept = _keep(costs, share, flavour.group)

    in_float = {name for name in convs if flavour.group(name) in kept}
    chosen = flavour.model(in_float)
    graph = Graph(chosen)
    inputs = {node.name: node.input[0] for node in graph.nodes}
    layers = {
        name: replace(layers[name], input=steps[inputs[name]])
        for name in flavour.convolutions(graph, in_float)
    }
    stored = {name: steps[name] for name in flavour.stored(graph, set(layers))}
    with torch.no_grad():
        layers = _correct_together(Interpreter(chosen), layers, stored, together)
    costs = [cost for cost in costs if cost.name in convs]
    return Quantized(
        model=flavour.write(chosen, layers, stored),
        costs=tuple(costs),
        float_layers=tuple(cost.name for cost in costs if cost.name not in layers),
        int8_share=sum(c.macs for c in costs if c.name in layers) / sum(c.macs for c in costs),
        calibrator=calibrator,
        faces=len(images),
        exact_sums=flavour.largest_sum <= SUM_IN_16_BITS,
    )


def _keep(costs: Sequence[LayerCost], budget: float, group: Callable[[str], str]) -> list[str]:
    """Choose what stays in float among groups of layers."""
    macs: Counter[str] = Counter()
    noise: dict[str, float] = defaultdict(float)
    for cost in costs:
        macs[group(cost.name)] += cost.macs
        noise[group(cost.name)] += cost.noise
    groups = [LayerCost(name, macs[name], noise[name]) for name in macs if macs[name]]
    return choose_float(groups, budget, NOISE_TARGET, {group(name) for name in ALWAYS_FLOAT})


def _steps(graph: Graph, ranges: Mapping[str, Range], symmetric: bool) -> dict[str, Steps]:
    """Return how each tensor is written in 8 bits."""
    steps = {name: Steps.over(found.low, found.high, symmetric) for name, found in ranges.items()}
    for node in graph.nodes:
        # What is concatenated has the steps of the whole: its codes are copied, not rounded again.
        if node.op_type == "Concat" and node.output[0] in steps:
            steps |= dict.fromkeys(node.input, steps[node.output[0]])
    return steps


def _widened(
    graph: Graph, ranges: Mapping[str, Range], costs: Sequence[LayerCost]
) -> dict[str, Range]:
    """Widen each range to what other faces will need, as far as that adds little noise.

    Clipping on a face unlike those calibrated on costs that face more than all else. Where much
    depends on small steps, in the first layers, the range stays what was seen.
    """
    noise: dict[str, float] = defaultdict(float)
    of_node = {cost.name: cost.noise for cost in costs}
    for node in graph.nodes:
        for name in (node.input[0], node.output[0]):
            noise[name] += of_node.get(node.name, 0.0)
    for node in graph.nodes:
        if node.op_type == "Concat":  # its pieces have its steps
            noise[node.output[0]] += sum(noise[piece] for piece in node.input)
    widened = {}
    for name, found in ranges.items():
        # Rounding noise grows with the square of the range.
        most = np.sqrt(1 + NOISE_OF_REACH / max(noise[name], 1e-12))
        factor = min(found.reach, float(most))
        widened[name] = replace(found, low=found.low * factor, high=found.high * factor)
    return widened


def _round_layers(
    network: Interpreter,
    images: Tensor,
    steps: Mapping[str, Steps],
    in_int8: Collection[str],
    largest_sum: int,
) -> tuple[Layers, dict[str, Tensor]]:
    """Round every convolution's weights and take its own mean error back in its bias.

    Returns:
        The layers, and what the exact network puts out.
    """
    layers: Layers = {}

    def quantize(node: NodeProto, inputs: Sequence[Tensor], output: Tensor) -> Tensor:
        if node.name in in_int8:
            layer = round_layer(node, inputs, steps[node.input[0]], largest_sum)
            error = _quantized(layer, node, inputs[0]) - output
            layers[node.name] = _shifted(layer, -error.mean((0, 2, 3)))
        return output

    outputs = network.run(images, quantize)
    return layers, outputs


def _correct_together(
    network: Interpreter, layers: Layers, stored: Stored, images: Tensor
) -> Layers:
    """Take the mean error that reaches each layer back in its bias, from the first to the last.

    The exact and the quantised network run side by side. Rounding errors have no mean, but behind
    a ReLU they have: it cuts off one side. Such shifts add up over the layers and survive the
    head's averaging, so each layer removes what came before it as well as its own.
    """
    corrected = dict(layers)
    half = len(images)

    def replace_output(node: NodeProto, inputs: Sequence[Tensor], output: Tensor) -> Tensor:
        exact, rough = output[:half], output[half:]
        layer = layers.get(node.name)
        if layer is not None:
            rough = _quantized(layer, node, inputs[0][half:])
            shift = exact.mean((0, 2, 3)) - rough.mean((0, 2, 3))
            corrected[node.name] = _shifted(layer, shift)
            rough = rough + shift[:, None, None]
        if node.output[0] in stored:
            rough = stored[node.output[0]].round(rough)
        return torch.cat((exact, rough))

    network.run(torch.cat((images, images)), replace_output)
    return corrected


def _shifted(layer: QuantizedConv, shift: Tensor) -> QuantizedConv:
    return replace(layer, bias=(layer.bias + shift.numpy()).astype(np.float32))


def _quantized(layer: QuantizedConv, node: NodeProto, x: Tensor) -> Tensor:
    """Compute a convolution as int8 does."""
    return _convolved(layer, node, layer.input.round(x))


def _convolved(layer: QuantizedConv, node: NodeProto, x: Tensor) -> Tensor:
    """Compute a convolution as int8 does on an input that is rounded already."""
    weight, bias = torch.from_numpy(layer.rounded_weight), torch.from_numpy(layer.bias)
    return convolve(node, x, weight, bias)


def _error(
    layers: Layers, stored: Stored, node: NodeProto, inputs: Sequence[Tensor], output: Tensor
) -> Tensor | None:
    """Return what quantising one node alone adds to its output; None where nothing is rounded.

    What was stored in 8 bits already, a convolution or a concatenation does not round again.
    """
    result, layer = output, layers.get(node.name)
    if layer is not None:
        compute = _convolved if node.input[0] in stored else _quantized
        result = compute(layer, node, inputs[0])
    if node.output[0] in stored and node.op_type != "Concat":
        result = stored[node.output[0]].round(result)
    return None if result is output else result - output
