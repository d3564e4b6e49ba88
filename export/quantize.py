"""INT8 calibrated on sample faces, with no labels and no training: for TensorRT or for a CPU."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor

from emonet_deploy.export.algebra import merge_pointwise
from emonet_deploy.export.blocked import batchnorm_as_convolution, concat_channels_last
from emonet_deploy.export.calibrate import Calibrator, activation_ranges, chunks
from emonet_deploy.export.equalize import equalize
from emonet_deploy.export.graph import Graph
from emonet_deploy.export.interpreter import Interpreter, convolve
from emonet_deploy.export.precision import convert_fp16
from emonet_deploy.export.qdq import insert_qdq
from emonet_deploy.export.qdq_cpu import insert_uint8, stored_tensors
from emonet_deploy.export.rewrite import normalize_batchnorm
from emonet_deploy.export.rounding import round_layer
from emonet_deploy.export.sensitivity import LayerCost, choose_float, layer_costs
from emonet_deploy.export.steps import QuantizedConv, Steps
from emonet_deploy.export.streams import equalize_streams
from emonet_deploy.export.winograd import apply_winograd
from emonet_deploy.runtime.artifact import Target
from emonet_deploy.runtime.processor import VNNI, processor

__all__ = ["Quantized", "quantize_int8", "weight_levels"]

FLOAT_BUDGET: Final[Mapping[Target, float]] = {"gpu": 0.1, "cpu": 0.19}
"""Share of the multiply-accumulates that may stay in float unless told otherwise."""

NOISE_TARGET: Final = 0.001
"""Predicted noise to aim at, as a share of the outputs' variance: 30 dB."""

TOGETHER: Final = 32
"""Faces on which weights are rounded and the biases of the whole network corrected, at once."""

FIRST: Final = 8
"""Faces that are enough to compare channels and layers with each other."""

ALWAYS_FLOAT: Final = {"conv1", "l1"}
"""The layer that sees the pixels and the one that makes the heatmaps: 1.3% of the work."""

HEAD: Final = {f"emo_net_2.{i}" for i in (0, 2, 4, 6)}
"""The emotion head, 13% of the work; in float on CPUs, where its sums would be in 8 bits too.

What the mask has multiplied is several times larger on one face than on the next, so that no one
scale fits unseen faces: seen are values four times as large as any of 32 faces' before.
"""

AROUND_MASK: Final = {f"conv1x1_input_emo_2.{name}" for name in ("attended", "mul", "add")}

LEVELS: Final = 127
"""Largest weight in int8."""

LEVELS_WITHOUT_VNNI: Final = 64
"""Older processors sum two products in 16 bits, which twice 255 x 127 exceeds."""

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
    levels: int
    """The largest weight."""

    def record(self) -> dict[str, Any]:
        """Return what ``ModelInfo.calibration`` keeps."""
        return {
            "calibrator": self.calibrator,
            "faces": self.faces,
            "levels": self.levels,
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
    levels: int = LEVELS,
) -> Quantized:
    """Quantise a float32 model: without labels, without training.

    Each convolution's input gets one scale, each of its output channels another; weights are
    rounded so that the output changes least. What rounding changes in a channel's mean over the
    sample faces is taken back in its bias (Nagel et al., "Data-free quantization through weight
    equalization and bias correction", 2019). What would cost most stays in float, within the
    budget.

    For ``gpu``, TensorRT's INT8: signed, zero points 0, what is not a convolution in half. For
    ``cpu``, ONNX Runtime's: every tensor between two operators in uint8.

    Args:
        model: float32, with the ``tensor`` interface; left as it is.
        images: face crops to calibrate on, uint8 N x 256 x 256 x 3, RGB.
        budget: share of the multiply-accumulates that may stay in float; by default the target's.
        calibrator: how an activation's scale is chosen; see ``activation_ranges``.
        target: what the model is for.
        levels: the largest weight.
    """
    source = onnx.ModelProto()
    source.CopyFrom(model)
    normalize_batchnorm(source)
    merge_pointwise(source)  # no product with the mask is rounded then
    first = torch.cat(chunks(images[:FIRST]))
    equalize(source, first)
    exact = ALWAYS_FLOAT | HEAD if target == "cpu" else ALWAYS_FLOAT
    fixed = {n.name for n in source.graph.node if _block(n.name) in exact}
    if target == "cpu":
        equalize_streams(source, first, fixed)
        batchnorm_as_convolution(source)
    graph = Graph(source)
    network = Interpreter(source)
    convs = [node for node in network.nodes if node.op_type == "Conv"]
    tensors = {conv.input[0] for conv in convs}
    if target == "cpu":
        tensors.update(_stored_tensors(graph, fixed))
    with torch.no_grad():
        ranges = activation_ranges(
            network, images, lambda node: node.output[0] in tensors, calibrator
        )
        steps = {
            name: Steps.over(limits.low, limits.high, symmetric=target == "gpu")
            for name, limits in ranges.items()
        }
        _share_steps(graph, steps)
        together = torch.cat(chunks(images[:TOGETHER]))
        layers, outputs = _round_layers(network, together, steps, fixed, levels)
        spread = {name: values.std(0) for name, values in outputs.items()}
    stored = steps if target == "cpu" else {}
    costs = layer_costs(network, first, lambda *at: _error(layers, stored, *at), spread)
    group = _block if target == "cpu" else str
    share = FLOAT_BUDGET[target] if budget is None else budget
    kept = _keep(costs, share, group, fixed)
    float_nodes = fixed | {n.name for n in network.nodes if group(n.name) in kept}
    layers = {name: layer for name, layer in layers.items() if name not in float_nodes}
    if target == "cpu":
        stored = {name: steps[name] for name in _stored_tensors(graph, float_nodes)}
    with torch.no_grad():
        layers = _correct_together(network, layers, stored, together)
    if target == "cpu":
        insert_uint8(source, layers, stored)
        apply_winograd(source)
        concat_channels_last(source)
    else:
        insert_qdq(source, layers)
        source = convert_fp16(source, exact_sums=False)
    macs = {cost.name: cost.macs for cost in costs}
    return Quantized(
        model=source,
        costs=tuple(cost for cost in costs if cost.macs),
        float_layers=tuple(conv.name for conv in convs if conv.name not in layers),
        int8_share=sum(macs[name] for name in layers) / sum(macs.values()),
        calibrator=calibrator,
        faces=len(images),
        levels=levels,
    )


def weight_levels(target: Target) -> int:
    """Return the largest weight that this machine's processor, or a GPU, multiplies exactly."""
    _, instructions = processor()
    exact = target == "gpu" or not VNNI.isdisjoint(instructions)
    return LEVELS if exact else LEVELS_WITHOUT_VNNI


def _block(name: str) -> str:
    """Return the block a node belongs to: going to float and back pays for a whole one only."""
    inner = name.removesuffix(".downsample.2")
    return inner if inner != name else name.rpartition(".")[0] or name


def _keep(
    costs: Sequence[LayerCost], budget: float, group: Callable[[str], str], fixed: Collection[str]
) -> list[str]:
    """Choose what stays in float among groups of layers."""
    macs: Counter[str] = Counter()
    noise: dict[str, float] = defaultdict(float)
    for cost in costs:
        macs[group(cost.name)] += cost.macs
        noise[group(cost.name)] += cost.noise
    groups = [LayerCost(name, macs[name], noise[name]) for name in macs if macs[name]]
    return choose_float(groups, budget, NOISE_TARGET, {group(name) for name in fixed})


def _stored_tensors(graph: Graph, in_float: Collection[str]) -> list[str]:
    """Return the tensors to keep in 8 bits when some blocks compute in float.

    What was computed in float is pooled before it is rounded, not after.
    """
    producers = graph.producers()
    pooled = {
        node.name
        for node in graph.nodes
        if node.op_type == "MaxPool" and producers[node.input[0]].name in in_float
    }
    return stored_tensors(graph, {*in_float, *pooled, *AROUND_MASK})


def _share_steps(graph: Graph, steps: dict[str, Steps]) -> None:
    """Give what only picks or repeats values the steps of its input: nothing is rounded again."""
    for node in graph.nodes:
        if node.op_type in {"MaxPool", "Resize"} and node.input[0] in steps:
            steps[node.output[0]] = steps[node.input[0]]


def _round_layers(
    network: Interpreter,
    images: Tensor,
    steps: Mapping[str, Steps],
    fixed: Collection[str],
    levels: int,
) -> tuple[Layers, dict[str, Tensor]]:
    """Round every convolution's weights and take its own mean error back in its bias.

    Returns:
        The layers, and what the exact network puts out.
    """
    layers: Layers = {}

    def quantize(node: NodeProto, inputs: Sequence[Tensor], output: Tensor) -> Tensor:
        if node.op_type == "Conv" and node.input[0] in steps and node.name not in fixed:
            layer = round_layer(node, inputs, steps[node.input[0]], levels)
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
    weight, bias = torch.from_numpy(layer.rounded_weight), torch.from_numpy(layer.bias)
    return convolve(node, layer.input.round(x), weight, bias)


def _error(
    layers: Layers, stored: Stored, node: NodeProto, inputs: Sequence[Tensor], output: Tensor
) -> Tensor | None:
    """Return what quantising one node alone adds to its output; None where nothing is rounded."""
    layer = layers.get(node.name)
    result = output if layer is None else _quantized(layer, node, inputs[0])
    if node.output[0] in stored:
        result = stored[node.output[0]].round(result)
    return None if result is output else result - output
