"""Where an ONNX model leaves its reference: the difference after each layer."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emonet_deploy.benchmarks.metrics.output_error import Difference, DifferenceSums
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.onnxruntime import cpu_session
from emonet_deploy.runtime.metadata import read_info
from emonet_deploy.runtime.pipeline.preprocess import to_tensor

__all__ = ["RESCALED", "compare_layers", "layer_outputs"]

# The export folds these norms into the layer before them, whose output is then the norm's.
_FOLDED = {
    "conv1": "bn1",
    "conv_last0": "bn_end0",
    "conv_last1": "bn_end1",
    "emo_fc_2.0": "emo_fc_2.1",
}

_CODES: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})

RESCALED: Final = frozenset(_FOLDED) - {"conv1"}
"""Layers whose channels an export divides by their sizes: what only layers read."""


def compare_layers(
    reference: EmoNet, artifact: str | os.PathLike[str], crops: NDArray[np.uint8]
) -> dict[str, Difference]:
    """Compare the output of every convolution and linear layer that both have, in graph order.

    Layers that a rewrite merged away, or whose output has another shape, are left out. Channels
    whose scale the export of a precision may choose are brought to the reference's.

    Args:
        reference: on the CPU, in eval mode.
        artifact: an ONNX model made from it.
        crops: N x 256 x 256 x 3, uint8 RGB; a few suffice.
    """
    rescaled = RESCALED if read_info(artifact).precision != "fp32" else frozenset()
    sums: dict[str, DifferenceSums] = {}
    for expected, got in layer_outputs(reference, artifact, crops):
        for name, values in expected.items():
            made = _to_scale(values, got[name]) if name in rescaled else got[name]
            sums.setdefault(name, DifferenceSums()).add(values, made)
    return {name: total.difference() for name, total in sums.items()}


def layer_outputs(
    reference: EmoNet, artifact: str | os.PathLike[str], crops: NDArray[np.uint8]
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Yield, for each crop, what the layers give that both have: the reference's, the artifact's.

    Args:
        reference: on the CPU, in eval mode.
        artifact: an ONNX model made from it.
        crops: N x 256 x 256 x 3, uint8 RGB.

    Yields:
        Arrays 1 x channels (x height x width) by the layers' names, in the graph's order.
    """
    made = onnx.load(artifact)
    layers = {name for name, _ in reference.named_modules()}
    written = {name for node in made.graph.node for name in node.output}
    names = {
        # What int8 leaves a factor short for each channel has its name once it is multiplied.
        node.name: node.name if node.name in written else node.output[0]
        for node in made.graph.node
        if node.op_type in {"Conv", "Gemm", "MatMul"} and node.name in layers
    }
    restored = _restored(made.graph)
    known = {output.name for output in made.graph.output}
    made.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name)
        for name in names.values()
        if name not in known
    )
    session = cpu_session(made.SerializeToString())
    image = session.get_inputs()[0]
    for crop in crops[:, None]:
        expected = _reference_outputs(reference, list(names), to_tensor(crop))
        images = crop if image.type == "tensor(uint8)" else to_tensor(crop)
        results = session.run(list(names.values()), {image.name: images})
        got = {
            name: restored[tensor](values) if tensor in restored else values
            for (name, tensor), values in zip(names.items(), results, strict=True)
            if values.shape == expected[name].shape
        }
        yield {name: expected[name] for name in got}, got


def _restored(graph: onnx.GraphProto) -> dict[str, Callable[[Array], Array]]:
    """Return, for what is written in ranges equalised for 8 bits, what brings it to its own.

    The graph does so behind a concatenation, by a depthwise convolution called ``restored``.
    """
    producers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}

    def writer(tensor: str) -> onnx.NodeProto:
        node = producers[tensor]
        return writer(node.input[0]) if node.op_type in _CODES else node

    found: dict[str, Callable[[Array], Array]] = {}
    for node in graph.node:
        if not node.name.endswith(".restored"):
            continue
        scale, shift = (onnx.numpy_helper.to_array(constants[name]) for name in node.input[1:3])
        before = writer(node.input[0])
        pieces = [writer(t) for t in before.input] if before.op_type == "Concat" else [before]
        start = 0
        for conv in pieces:
            stop = start + constants[_codes_of(conv, producers)].dims[0]
            found[conv.output[0]] = partial(
                _affine, scale[start:stop].reshape(-1, 1, 1), shift[start:stop, None, None]
            )
            start = stop
    return found


def _codes_of(conv: onnx.NodeProto, producers: Mapping[str, onnx.NodeProto]) -> str:
    """Return the name of a convolution's weights, in integers where they are."""
    made = producers.get(conv.input[1])
    return str(conv.input[1] if made is None else made.input[0])


def _affine(scale: Array, shift: Array, values: Array) -> Array:
    return np.asarray(values * scale + shift)


def _to_scale(truth: Array, made: Array) -> Array:
    """Return ``made`` with each channel multiplied by what fits it to ``truth`` best."""
    g, p = (values.astype(np.float64).reshape(values.shape[1], -1) for values in (truth, made))
    power = np.square(p).sum(1)
    gain = np.divide((g * p).sum(1), power, out=np.zeros_like(power), where=power > 0)
    return np.asarray((p * gain[:, None]).reshape(made.shape))


def _reference_outputs(
    model: EmoNet, names: list[str], images: NDArray[np.float32]
) -> dict[str, Array]:
    outputs: dict[str, Array] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:  # noqa: ANN401
            # A copy: ReLU and the like may write over it afterwards.
            outputs[name] = output.numpy().copy()

        return hook

    hooks = [
        model.get_submodule(_FOLDED.get(name, name)).register_forward_hook(keep(name))
        for name in names
    ]
    try:
        with torch.inference_mode():
            model(torch.from_numpy(images))
    finally:
        for handle in hooks:
            handle.remove()
    return outputs
