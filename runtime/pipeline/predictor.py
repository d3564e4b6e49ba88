"""Faces in, named results out: the short way to use EmoNet from Python."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.constants import CLASS_NAMES, INPUT_SIZE
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.media.image import as_rgb_uint8
from emonet_deploy.runtime.pipeline.artifact_interfaces import prepare, results
from emonet_deploy.runtime.pipeline.preprocess import stretch_face

__all__ = ["Prediction", "Predictor"]


@dataclass(frozen=True)
class Prediction:
    """What EmoNet says of one face.

    Attributes:
        expression: name of the most probable class, see ``contract.CLASS_NAMES``.
        probabilities: of each class by name, summing to 1.
        valence: how pleasant, in [-1, 1].
        arousal: how intense, in [-1, 1].
        landmarks: 68 x 3, float32: x and y in pixels of the face given, and the score.
    """

    expression: str
    probabilities: dict[str, float]
    valence: float
    arousal: float
    landmarks: NDArray[np.float32]

    def placed(self, matrix: NDArray[np.float64]) -> Self:
        """Return the same with its landmarks in pixels of the picture the crop was cut out of.

        Args:
            matrix: 2 x 3, from the picture's pixels to the crop's, as ``crop_face`` returns it.
        """
        landmarks = self.landmarks.copy()
        landmarks[:, :2] = cv2.transform(landmarks[None, :, :2], cv2.invertAffineTransform(matrix))[
            0
        ]
        return replace(self, landmarks=landmarks)


class Predictor:
    """Runs face pictures of any size through a session, in batches.

    Example:
        >>> import numpy as np
        >>> from emonet_deploy.runtime import load_session
        >>> with load_session("artifacts/emonet_8.fp32.onnx") as session:
        ...     (said,) = Predictor(session).predict([np.zeros((120, 100, 3), np.uint8)])
        >>> sorted(said.probabilities)[:2], said.landmarks.shape
        (['anger', 'contempt'], (68, 3))
    """

    def __init__(self, session: Session, batch_size: int = 8) -> None:
        """Wrap a session.

        Args:
            session: of either interface; stays the caller's to close.
            batch_size: how many faces at most run at once.

        Raises:
            InputError: ``batch_size`` is below 1.
        """
        if batch_size < 1:
            raise InputError(f"the batch size must be at least 1, not {batch_size}")
        self.session = session
        self.batch_size = batch_size

    def predict(self, faces: Iterable[NDArray[np.uint8]]) -> list[Prediction]:
        """Predict all faces; see ``stream``."""
        return list(self.stream(faces))

    def stream(self, faces: Iterable[NDArray[np.uint8]]) -> Iterator[Prediction]:
        """Predict faces as they come; no more than one batch is held in memory.

        Args:
            faces: face crops, RGB uint8, H x W x 3 of any size (grey and RGBA are converted).
                Each is resized to 256 x 256, not cropped: see ``predict_crops`` for crops.

        Raises:
            InputError: a picture is empty or of another type or rank.
        """
        remaining = iter(faces)
        while batch := [as_rgb_uint8(face) for face in islice(remaining, self.batch_size)]:
            predictions = self._predict(np.stack([stretch_face(face) for face in batch]))
            for face, prediction in zip(batch, predictions, strict=True):
                yield replace(prediction, landmarks=_in_face(prediction.landmarks, face.shape))

    def predict_crops(self, crops: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Predict ready crops, as ``crop_face`` makes them; nothing is resized or converted.

        Args:
            crops: uint8 256 x 256 x 3, RGB. Landmarks are in pixels of the crop.

        Raises:
            InputError: a crop of another shape or type.
        """
        size = self.batch_size
        batches = (crops[start : start + size] for start in range(0, len(crops), size))
        return [prediction for batch in batches for prediction in self._predict(np.stack(batch))]

    def _predict(self, crops: NDArray[np.uint8]) -> list[Prediction]:
        info = self.session.info
        found = results(self.session.run(prepare(info, crops)))
        names = CLASS_NAMES[info.nclass]
        return [
            Prediction(
                expression=names[int(probabilities.argmax())],
                probabilities=dict(zip(names, map(float, probabilities), strict=True)),
                valence=float(found["valence"][i]),
                arousal=float(found["arousal"][i]),
                landmarks=found["landmarks"][i],
            )
            for i, probabilities in enumerate(found["probabilities"])
        ]


def _in_face(landmarks: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Move landmarks from pixels of the 256 x 256 crop to pixels of the face it was made from."""
    size = np.array([shape[1], shape[0]], np.float32)
    placed = landmarks.copy()
    placed[:, :2] = (landmarks[:, :2] + 0.5) * size / INPUT_SIZE - 0.5
    return placed
