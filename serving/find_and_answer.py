"""What a request is answered, and what travels between the stages that answer it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.constants import INPUT_SIZE
from emonet_deploy.runtime.choices import Crop
from emonet_deploy.runtime.detection.base import Box, Detector
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.media.image import decode_image
from emonet_deploy.runtime.output.sinks import face_values
from emonet_deploy.runtime.pipeline.pipeline import FaceResult
from emonet_deploy.runtime.pipeline.predictor import Prediction
from emonet_deploy.runtime.pipeline.preprocess import crop_faces

__all__ = ["Answer", "Face", "Found", "answer", "find"]


@dataclass(frozen=True)
class Face:
    """One face; values and rounding are those of ``emonet predict --json --landmarks``.

    Attributes:
        box: left, top, right, bottom in pixels of the picture; it may reach over the border.
        score: the detector's confidence in [0, 1].
        expression: the most probable class.
        probabilities: of each class by name.
        valence: how pleasant, in [-1, 1].
        arousal: how intense, in [-1, 1].
        landmarks: 68 times x, y in pixels of the picture, and the score.
    """

    box: tuple[float, float, float, float]
    score: float
    expression: str
    probabilities: dict[str, float]
    valence: float
    arousal: float
    landmarks: list[tuple[float, float, float]]


@dataclass(frozen=True)
class Answer:
    """All faces of one picture, the surest first; the list may be empty.

    Attributes:
        width: of the picture, in pixels, turned upright.
        height: of it.
        faces: what was found.
    """

    width: int
    height: int
    faces: list[Face]


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


def find(data: bytes | memoryview, detector: Detector, crop: Crop = "paper") -> Found:
    """Find the faces in a picture file, as ``EmotionPipeline`` does in a still picture.

    Raises:
        InputError: the bytes are no picture that can be used.
    """
    image = decode_image(bytes(data), "the body of the request")
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


def answer(found: Found, predictions: list[Prediction]) -> Answer:
    """Put what was found and what the network says of it together.

    Args:
        found: a picture.
        predictions: of its crops, in their order.
    """
    faces = []
    for i, prediction in enumerate(predictions):
        placed = prediction.placed(np.asarray(found.matrices[i]))
        values = face_values(FaceResult(i, found.boxes[i], found.scores[i], placed))
        del values["face"]  # the position in the list says as much
        faces.append(Face(**values))
    return Answer(found.width, found.height, faces)
