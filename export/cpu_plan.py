"""How a float32 graph is rewritten for CPUs, and what is timed before that is decided."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.passes.cpu import rewrite_for_cpu
from emonet_deploy.export.passes.nchwc import depthwise
from emonet_deploy.export.passes.winograd import PLAN, Shape, apply_winograd

__all__ = ["TILES", "CpuPlan", "MakePlan", "generic_plan", "shape_trial", "whole_trial"]

TILES: Final = (4, 6)
"""Tiles of Winograd that are tried: larger ones round too much, smaller ones save too little."""


@dataclass(frozen=True)
class CpuPlan:
    """What is rewritten.

    Attributes:
        tiles: Winograd's tile for each shape of a 3x3 convolution; None: the graph stays as it is.
        source: ``generic``, or ``measured`` on the machine that exported.
        evidence: what was measured, as JSON.
    """

    tiles: Mapping[Shape, int] | None
    source: str = "generic"
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return the plan as an artifact's record has it; a tile is after its shape."""
        tiles = None if self.tiles is None else [[*shape, m] for shape, m in self.tiles.items()]
        return {"source": self.source, "winograd": tiles, **self.evidence}


MakePlan = Callable[[onnx.ModelProto], CpuPlan]
"""Decides from the plain graph, which it leaves as it is."""


def generic_plan(model: onnx.ModelProto) -> CpuPlan:
    """Return the plan that pays on many processors, whatever the graph's."""
    return CpuPlan(PLAN)


def shape_trial(shape: Shape, tile: int | None) -> bytes:
    """Return a model with one 3x3 convolution between what EmoNet has around it.

    Args:
        shape: of the convolution.
        tile: of Winograd; None writes it as a convolution.
    """
    channels_in, channels_out, height = shape
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(channels_out, channels_in, 3, 3)).astype(np.float32)
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, height, height])
        for name, channels in (("x", channels_in), ("y", channels_out))
    ]
    model = helper.make_model(
        helper.make_graph(
            [], "trial", values[:1], values[1:], [numpy_helper.from_array(weight, "w")]
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    graph = Graph(model)
    one, zero = (np.full(channels_in, value) for value in (1.0, 0.0))
    after, shift = (np.full(channels_out, value) for value in (1.0, 0.0))
    model.graph.node.extend(
        [
            depthwise(graph, "norm", "x", "scaled", one, zero),
            helper.make_node("Relu", ["scaled"], ["hidden"], "relu"),
            helper.make_node(
                "Conv", ["hidden", "w"], ["sum"], "conv", kernel_shape=[3, 3], pads=[1] * 4
            ),
            depthwise(graph, "next", "sum", "y", after, shift),
        ]
    )
    if tile is not None:
        apply_winograd(model, {shape: tile})
    return bytes(model.SerializeToString())


def whole_trial(model: onnx.ModelProto, tiles: Mapping[Shape, int] | None) -> bytes:
    """Return a copy of a graph, rewritten."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    rewrite_for_cpu(copy, tiles)
    return bytes(copy.SerializeToString())
