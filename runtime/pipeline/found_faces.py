"""Finding faces and reading them apart: what travels from the process that does one to the other.

Finding is work for CPUs, reading for whatever runs the model; a crop is all that reading needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.constants import INPUT_SIZE
from emonet_deploy.runtime.choices import Crop
from emonet_deploy.runtime.detection.base import Box, Detector
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.pipeline.pipeline import FaceResult
from emonet_deploy.runtime.pipeline.predictor import Predictor
from emonet_deploy.runtime.pipeline.preprocess import crop_faces

__all__ = ["Found", "find_faces", "read_found"]


@dataclass(frozen=True)
class Found:
    """What is known of a picture before the network saw its faces.

    Attributes:
        width: of the picture, in pixels.
        height: of it.
        boxes: of its faces.
        scores: of them.
        matrices: of them: 2 x 3, from the picture's pixels to the crop's.
        crops: of them: their pixels one after the other, uint8, 256 x 256 x 3 each.
    """

    width: int
    height: int
    boxes: list[Box]
    scores: list[float]
    matrices: list[list[list[float]]]
    crops: bytes

    def images(self) -> NDArray[np.uint8]:
        """Return the crops, uint8 N x 256 x 256 x 3."""
        return np.frombuffer(self.crops, np.uint8).reshape(-1, INPUT_SIZE, INPUT_SIZE, 3)


def find_faces(image: NDArray[np.uint8], detector: Detector, crop: Crop = "paper") -> Found:
    """Find and cut out the faces of a still picture, as ``EmotionPipeline`` does.

    Args:
        image: uint8 H x W x 3, RGB.
        detector: where the faces are.
        crop: how a box becomes a crop, see ``crop_face``.
    """
    faces = [face for face in detector.detect(Frame(image)) if not face.faint]
    cut = crop_faces(image, faces, crop)
    height, width = image.shape[:2]
    return Found(
        width,
        height,
        [face.box for face in faces],
        [face.score for face in faces],
        [matrix.tolist() for _, matrix in cut],
        b"".join(crop.tobytes() for crop, _ in cut),
    )


def read_found(pictures: Sequence[Found], predictor: Predictor) -> list[list[FaceResult]]:
    """Return the faces of each picture, those of several in one batch.

    Args:
        pictures: what was found.
        predictor: its batch size is how many faces run at once.

    Raises:
        BackendError: the model failed.
    """
    crops = [crop for picture in pictures for crop in picture.images()]
    predictions = iter(predictor.predict_crops(crops))
    return [
        [
            FaceResult(
                i,
                picture.boxes[i],
                picture.scores[i],
                prediction.placed(np.asarray(picture.matrices[i])),
            )
            for i, prediction in enumerate(islice(predictions, len(picture.boxes)))
        ]
        for picture in pictures
    ]
