"""Where an ONNX model leaves its reference: the difference after each layer."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emonet_deploy.benchmarks.metrics.output_error import Difference, DifferenceSums
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.runtime.pipeline.preprocess import to_tensor

__all__ = ["compare_layers"]

# The export folds these norms into the layer before them, whose output is then the norm's.
_FOLDED = {
    "conv1": "bn1",
    "conv_last0": "bn_end0",
    "conv_last1": "bn_end1",
    "emo_fc_2.0": "emo_fc_2.1",
}


def compare_layers(
    reference: EmoNet, artifact: str | os.PathLike[str], crops: NDArray[np.uint8]
) -> dict[str, Difference]:
    """Compare the output of every convolution and linear layer that both have, in graph order.

    Layers that a rewrite merged away, or whose output has another shape, are left out.

    Args:
        reference: on the CPU, in eval mode.
        artifact: an ONNX model made from it.
        crops: N x 256 x 256 x 3, uint8 RGB; a few suffice.
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
    known = {output.name for output in made.graph.output}
    made.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name)
        for name in names.values()
        if name not in known
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    image = session.get_inputs()[0]
    sums: dict[str, DifferenceSums] = {name: DifferenceSums() for name in names}
    for crop in crops[:, None]:
        expected = _layer_outputs(reference, list(names), to_tensor(crop))
        images = crop if image.type == "tensor(uint8)" else to_tensor(crop)
        results = session.run(list(names.values()), {image.name: images})
        for name, got in zip(names, results, strict=True):
            if got.shape == expected[name].shape:
                sums[name].add(expected[name], got)
    return {name: total.difference() for name, total in sums.items() if total.count}


def _layer_outputs(
    model: EmoNet, names: list[str], images: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    outputs: dict[str, NDArray[np.float32]] = {}

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
