"""Sensitivity: which layers lose the most in int8, found without quantising one at a time.

A layer's rounding error ``e`` shifts an output by ``<g, e>`` to first order, ``g`` being the
output's gradient at the layer. One forward and a few backward passes so give the share that every
layer has in the outputs' noise, where leaving layers out one by one takes a run of the whole
network for each.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from onnx import NodeProto
from torch import Tensor

from emonet_deploy.export.graph.torch_interpreter import Interpreter

__all__ = ["LayerSensitivity", "choose_float", "layer_sensitivities"]

PROBES: Final = 4
FACES_AT_ONCE: Final = 1
"""All that a face went through is kept for the way back; bounds the memory."""

HEADS: Final = ("expression", "valence", "arousal")


@dataclass(frozen=True)
class LayerSensitivity:
    """What one layer does to the outputs when it alone is quantised, and how much work it is."""

    name: str
    macs: int
    """Multiply-accumulates for one face."""
    noise: float
    """Variance added to the outputs, as a share of their own variance; mean over the outputs."""


def layer_sensitivities(
    network: Interpreter,
    images: Tensor,
    error: Callable[[NodeProto, Sequence[Tensor], Tensor], Tensor | None],
    spread: Mapping[str, Tensor],
) -> list[LayerSensitivity]:
    """Return the sensitivity of each layer that ``error`` gives an error for, in the graph's order.

    Args:
        network: in float32.
        images: N x 3 x 256 x 256.
        error: given a node, its inputs and its output, what quantisation adds to the output.
        spread: standard deviation of each output over many faces.
    """
    signs = torch.Generator().manual_seed(0)
    squares: dict[str, float] = {}
    macs: dict[str, int] = {}
    for batch in torch.split(images, FACES_AT_ONCE):
        shifts: dict[str, Tensor] = {}

        def attach(
            node: NodeProto,
            inputs: Sequence[Tensor],
            output: Tensor,
            found: dict[str, Tensor] = shifts,
        ) -> Tensor:
            if node.op_type == "Conv":
                macs[node.name] = inputs[1][0].numel() * output[0].numel()
            with torch.no_grad():
                difference = error(node, inputs, output)
            if difference is not None:
                kept = difference.bfloat16()  # exact enough for an estimate, in half the memory

                def record(gradient: Tensor) -> None:
                    found[node.name] = (gradient * kept).flatten(1).sum(1)

                output.register_hook(record)  # type: ignore[no-untyped-call]
            return output

        with torch.enable_grad():
            outputs = network.run(batch.clone().requires_grad_(), attach)
            heads = torch.cat([(outputs[k] / spread[k]).reshape(len(batch), -1) for k in HEADS], 1)
            for _ in range(PROBES):
                sign = torch.randint(0, 2, heads.shape, generator=signs) * 2.0 - 1
                # With random signs the mean square of the sum is the sum of the squares.
                torch.autograd.backward((heads * sign).sum(), retain_graph=True)
                for name, shift in shifts.items():
                    noise = float(shift.square().sum()) / heads.shape[1]
                    squares[name] = squares.get(name, 0.0) + noise / (PROBES * len(images))
    names = {**macs, **squares}
    return [LayerSensitivity(name, macs.get(name, 0), squares.get(name, 0.0)) for name in names]


def choose_float(
    layers: Sequence[LayerSensitivity], budget: float, target: float, fixed: Collection[str] = ()
) -> list[str]:
    """Choose the fewest multiply-accumulates to keep in float so that little enough noise is left.

    Layers are taken in the order of noise avoided for each multiply-accumulate, until the rest's
    noise is at most ``target`` or the next one no longer fits into ``budget``.

    Args:
        layers: all of them.
        budget: share of all multiply-accumulates that may stay in float.
        target: noise that may be left, as a share of the outputs' variance.
        fixed: layers that stay in float in any case; they count towards the budget.
    """
    allowed = budget * sum(layer.macs for layer in layers)
    used = sum(layer.macs for layer in layers if layer.name in fixed)
    chosen = set(fixed)
    left = sum(layer.noise for layer in layers if layer.name not in fixed)
    for layer in sorted(layers, key=lambda each: (-each.noise / each.macs, each.name)):
        if left <= target:
            break
        if layer.name in chosen or used + layer.macs > allowed:
            continue
        chosen.add(layer.name)
        used += layer.macs
        left -= layer.noise
    return [layer.name for layer in layers if layer.name in chosen]
