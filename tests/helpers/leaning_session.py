"""A session that costs nothing and sees left from right."""

from typing import ClassVar

import numpy as np

from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.metadata import ModelInfo, tensors_of
from emonet_deploy.runtime.pipeline.postprocess import softmax


class LeaningSession(Session):
    """Valence and arousal lean to the brighter side of the picture, so the flip matters."""

    backend: ClassVar = "onnx"

    def __init__(self, nclass=8, interface="tensor", gain=3.0, precision="fp32"):
        inputs, outputs = tensors_of(nclass, interface)
        info = ModelInfo(
            nclass, "standin", precision, interface=interface, inputs=inputs, outputs=outputs
        )
        super().__init__(info, provider="fake", device="cpu")
        self.gain = gain
        self.batches = []

    def _run(self, images):
        self.batches.append(len(images))
        embedded = self.info.interface == "image"
        small = (
            np.moveaxis(images, -1, 1)[..., ::8, ::8] / 255 if embedded else images[..., ::8, ::8]
        )
        ramp = np.linspace(1, -0.5, small.shape[3])
        red, green, blue = (((small - 0.5) * ramp).mean((2, 3)) * self.gain).astype(np.float32).T
        nclass = self.info.nclass
        logits = -np.abs((green[:, None] * 9 / self.gain + 0.5) * nclass - np.arange(nclass))
        logits = logits.astype(np.float32)
        if not embedded:
            heatmap = np.zeros((len(images), 68, 64, 64), np.float32)
            return {"heatmap": heatmap, "expression": logits, "valence": red, "arousal": blue}
        return {
            "probabilities": softmax(logits),
            "valence": red.clip(-1, 1),
            "arousal": blue.clip(-1, 1),
            "landmarks": np.zeros((len(images), 68, 3), np.float32),
        }
