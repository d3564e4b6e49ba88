"""Run an ONNX graph node by node in PyTorch, so that every tensor can be looked at or changed."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from onnx import NodeProto
from torch import Tensor
from torch.nn import functional as F

from emonet_deploy.errors import ExportError
from emonet_deploy.export.graph.surgery import Graph

__all__ = ["Compute", "Interpreter", "Visit", "convolve", "strides_and_padding"]

Visit = Callable[[NodeProto, Sequence[Tensor], Tensor], Tensor]
"""Called with each node, its inputs and its output; returns what to go on with."""

Compute = Callable[[NodeProto, Sequence[Tensor]], Tensor | None]
"""Called with each node and its inputs; returns its output, or None for what the node computes."""


class Interpreter:
    """The operators of EmoNet's float32 graph, in PyTorch; differentiable."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = Graph(model)
        self.nodes = graph.nodes
        self._inputs = [value.name for value in model.graph.input]
        self._outputs = graph.output_names
        self._constants = {
            tensor.name: torch.from_numpy(graph.constant(tensor.name).copy())
            for tensor in model.graph.initializer
        }
        self._constants[""] = torch.empty(0)  # an optional input that was left out
        self._affine = {
            node.name: [torch.from_numpy(part).float() for part in graph.affine(node)]
            for node in self.nodes
            if node.op_type == "BatchNormalization"
        }

    def run(
        self, images: Tensor, visit: Visit | None = None, compute: Compute | None = None
    ) -> dict[str, Tensor]:
        """Run a batch and return the graph's outputs; tensors are freed after their last use."""
        values = dict(self._constants)
        values[self._inputs[0]] = images
        readers = Counter(name for node in self.nodes for name in node.input)
        readers.update(self._outputs)
        readers.update(list(self._constants))
        for node in self.nodes:
            inputs = [values[name] for name in node.input]
            output = None if compute is None else compute(node, inputs)
            if output is None:
                output = self._compute(node, inputs)
            values[node.output[0]] = output if visit is None else visit(node, inputs, output)
            del inputs
            for name in node.input:
                readers[name] -= 1
                if readers[name] == 0:
                    del values[name]
        return {name: values[name] for name in self._outputs}

    def _compute(self, node: NodeProto, inputs: Sequence[Tensor]) -> Tensor:
        x = inputs[0]
        match node.op_type:
            case "Conv":
                return convolve(node, *inputs)
            case "BatchNormalization":
                scale, shift = self._affine[node.name]
                return torch.addcmul(shift[:, None, None], x, scale[:, None, None])
            case "Relu":
                return x.relu()
            case "Add":
                return x + inputs[1]
            case "Mul":
                return x * inputs[1]
            case "Concat":
                return torch.cat(list(inputs), 1)
            case "MaxPool":
                return F.max_pool2d(x, 2)
            case "AveragePool":
                return F.avg_pool2d(x, _attribute(node, "kernel_shape", [1])[0])
            case "Resize":
                return x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            case "ReduceSum":
                return x.sum(1, keepdim=True)
            case "Reshape":
                return x.flatten(1)
            case "Gemm":
                return F.linear(x, inputs[1], inputs[2])
            case "Slice":
                return x[:, int(inputs[1]) : int(inputs[2])]
            case "Gather":
                return x[:, int(inputs[1])]
            case other:
                raise ExportError(f"{node.name}: quantisation does not know the operator {other}")


def convolve(node: NodeProto, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute a Conv node's output for any input, weights and bias."""
    strides, padding = strides_and_padding(node)
    groups = _attribute(node, "group", 1)
    return F.conv2d(x, weight, bias, stride=strides, padding=padding, groups=groups)


def strides_and_padding(node: NodeProto) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a Conv node's strides and its padding, for height and width."""
    strides = _attribute(node, "strides", [1, 1])
    padding = _attribute(node, "pads", [0, 0, 0, 0])
    return (strides[0], strides[1]), (padding[0], padding[1])


def _attribute(node: NodeProto, name: str, default: Any) -> Any:  # noqa: ANN401 - ONNX's own types
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default
