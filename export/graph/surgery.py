"""Reading and changing an ONNX graph: the few operations every pass is made of."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

__all__ = ["Graph", "element_types"]


class Graph:
    """An ONNX model with its constants and consumers at hand; changes go to the model itself."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.proto = model.graph
        self._tensors = {tensor.name: tensor for tensor in self.proto.initializer}

    @property
    def nodes(self) -> list[NodeProto]:
        """The nodes, in topological order; a copy, so that nodes may be removed in a loop."""
        return list(self.proto.node)

    @property
    def output_names(self) -> list[str]:
        """Names of the graph's outputs, in order."""
        return [output.name for output in self.proto.output]

    def consumers(self) -> dict[str, list[NodeProto]]:
        """Return the nodes that read each tensor."""
        readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.proto.node:
            for name in node.input:
                readers[name].append(node)
        return readers

    def producers(self) -> dict[str, NodeProto]:
        """Return the node that writes each tensor."""
        return {name: node for node in self.proto.node for name in node.output}

    def is_constant(self, name: str) -> bool:
        """Tell whether a tensor is an initializer."""
        return name in self._tensors

    def constant(self, name: str) -> NDArray[Any]:
        """Return an initializer's values."""
        return numpy_helper.to_array(self._tensors[name])

    def bias(self, layer: NodeProto) -> NDArray[Any]:
        """Return the bias of a Conv or Gemm node; zeros where it has none."""
        if len(layer.input) > 2:
            return self.constant(layer.input[2])
        return np.zeros(len(self.constant(layer.input[1])))

    def affine(self, norm: NodeProto) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a BatchNormalization's scale and shift for each channel, in float64.

        ``y = x * scale + shift``: its statistics and its epsilon are in both.
        """
        scale, shift, mean, variance = (
            self.constant(name).astype(np.float64) for name in norm.input[1:5]
        )
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        scale = scale / np.sqrt(variance + epsilon)
        return scale, shift - mean * scale

    def is_depthwise(self, conv: NodeProto) -> bool:
        """Tell whether a Conv node reads one channel for each that it writes."""
        weight = self._tensors[conv.input[1]]
        return bool(weight.dims[1] == 1 and weight.dims[0] > 1)

    def is_transposed(self, gemm: NodeProto) -> bool:
        """Tell whether a Gemm node's weights are out x in."""
        return any(a.name == "transB" and a.i == 1 for a in gemm.attribute)

    def set_constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """Add or replace an initializer, C-contiguous; returns its name."""
        tensor = numpy_helper.from_array(np.asarray(values, order="C"), name)
        if name in self._tensors:
            self._tensors[name].CopyFrom(tensor)
        else:
            self.proto.initializer.append(tensor)
            self._tensors[name] = self.proto.initializer[-1]
        return name

    def replace(self, old: NodeProto, new: Iterable[NodeProto]) -> None:
        """Put nodes where ``old`` stood, so that the order stays topological."""
        position = list(self.proto.node).index(old)
        self.proto.node.remove(old)
        for offset, node in enumerate(new):
            self.proto.node.insert(position + offset, node)

    def redirect(self, old: str, new: str) -> None:
        """Make every reader of the tensor ``old`` read ``new`` instead."""
        for node in self.proto.node:
            for i, name in enumerate(node.input):
                if name == old:
                    node.input[i] = new

    def prune(self) -> None:
        """Remove nodes and initializers that no output depends on, and stale shape notes."""
        needed = set(self.output_names)
        for node in reversed(self.nodes):
            if needed.isdisjoint(node.output):
                self.proto.node.remove(node)
            else:
                needed.update(node.input)
        for tensor in list(self.proto.initializer):
            if tensor.name not in needed:
                self.proto.initializer.remove(tensor)
        self._tensors = {tensor.name: tensor for tensor in self.proto.initializer}
        del self.proto.value_info[:]


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type (``onnx.TensorProto.DataType``) of every tensor, inferred."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types
