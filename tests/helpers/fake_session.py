"""A session that computes nothing: what the code around a session is tested with."""

from dataclasses import replace

import numpy as np

from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.metadata import ModelInfo, tensors_of
from emonet_deploy.runtime.pipeline.postprocess import softmax


class FakeSession(Session):
    """Answers with numbers told by the images' mean, at once, and remembers the batch sizes."""

    backend = "onnx"

    def __init__(self, nclass=8, interface="tensor", max_batch=None, **info):
        inputs, outputs = tensors_of(nclass, interface)
        made = ModelInfo(nclass, "standin", interface=interface, inputs=inputs, outputs=outputs)
        super().__init__(replace(made, **info), provider="fake", device="cpu", max_batch=max_batch)
        self.batches = []

    def _run(self, images: Array) -> dict[str, Array]:
        self.batches.append(len(images))
        scale = 255 if images.dtype == np.uint8 else 1
        mean = images.reshape(len(images), -1).mean(1, dtype=np.float64) / scale
        results = {
            output.name: np.multiply.outer(
                mean, np.linspace(-1, 1, int(np.prod(output.shape[1:]))).reshape(output.shape[1:])
            ).astype(np.float32)
            if output.shape[1:]
            else (2 * mean - 1).astype(np.float32)
            for output in self.info.outputs
        }
        if "probabilities" in results:
            results["probabilities"] = softmax(results["probabilities"])
        return results
