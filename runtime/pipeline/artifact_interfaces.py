"""What differs between the two interfaces of an artifact: how crops go in, how results come out.

``tensor`` is the network proper: float32 N x 3 x 256 x 256 in, logits and heatmaps out. ``image``
has processing embedded: uint8 N x 256 x 256 x 3 in, probabilities and landmarks out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.metadata import ModelInfo
from emonet_deploy.runtime.pipeline.postprocess import decode_heatmaps, softmax
from emonet_deploy.runtime.pipeline.preprocess import to_tensor

__all__ = ["Head", "mirror", "prepare", "read_head", "results"]


@dataclass(frozen=True, eq=False)
class Head:
    """What the emotion head says of N faces, of either interface.

    Attributes:
        scores: N x nclass: logits or probabilities, whichever the artifact gives.
        valence: N; of the ``tensor`` interface unclipped, of ``image`` in [-1, 1].
        arousal: N, likewise.
    """

    scores: Array
    valence: Array
    arousal: Array

    @property
    def expression(self) -> NDArray[np.intp]:
        """Index of the best class of each face, N."""
        return np.asarray(self.scores.argmax(1), np.intp)

    @property
    def emotion(self) -> NDArray[np.float64]:
        """Valence and arousal, N x 2."""
        return np.stack([self.valence, self.arousal], 1).astype(np.float64)


def prepare(info: ModelInfo, crops: NDArray[np.uint8]) -> Array:
    """Return face crops as an artifact takes them.

    Args:
        info: the artifact's record.
        crops: uint8 N x 256 x 256 x 3, RGB.

    Raises:
        InputError: crops of another shape or type, for the ``tensor`` interface.
    """
    return crops if info.interface == "image" else to_tensor(crops)


def mirror(info: ModelInfo, images: Array) -> Array:
    """Return prepared images mirrored left to right, contiguous."""
    width = 2 if info.interface == "image" else 3
    return np.ascontiguousarray(np.flip(images, width))


def read_head(outputs: Mapping[str, Array]) -> Head:
    """Return the emotion head's part of what a session gave."""
    scores = outputs["expression"] if "expression" in outputs else outputs["probabilities"]
    return Head(scores, outputs["valence"], outputs["arousal"])


def results(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return what a session gave as the outputs of the ``image`` interface.

    What an artifact with embedded processing computes in its graph is computed here in NumPy;
    outputs that already are of the ``image`` interface are returned as they are.

    Returns:
        ``probabilities`` N x nclass, ``valence`` and ``arousal`` N in [-1, 1], ``landmarks``
        N x 68 x 3: x and y in pixels of the 256 x 256 crop, and the heatmap's peak as score.

    Raises:
        BackendError: a heatmap is not finite.
    """
    if "heatmap" not in outputs:
        return dict(outputs)
    landmarks = decode_heatmaps(outputs["heatmap"])
    if not np.isfinite(landmarks).all():
        raise BackendError(
            "the model's heatmaps hold NaN or infinity", hint="check it with `emonet parity`"
        )
    return {
        "probabilities": softmax(outputs["expression"]),
        "valence": np.clip(outputs["valence"], -1, 1),
        "arousal": np.clip(outputs["arousal"], -1, 1),
        "landmarks": landmarks,
    }
