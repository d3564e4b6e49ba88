"""What a request is answered, and the bytes of a picture as what is found in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.choices import Crop
from emonet_deploy.runtime.detection.base import Detector
from emonet_deploy.runtime.media.image import decode_image
from emonet_deploy.runtime.output.sinks import face_values
from emonet_deploy.runtime.pipeline.found_faces import Found, find_faces
from emonet_deploy.runtime.pipeline.pipeline import FaceResult

__all__ = ["Answer", "Face", "answer", "find"]

_ADVICE: Final = "send the bytes of a picture file as they are, such as curl --data-binary @FILE"
_FORM_HEAD: Final = 1024


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


def find(data: bytes | memoryview, detector: Detector, crop: Crop = "paper") -> Found:
    """Find the faces in a picture file, as ``EmotionPipeline`` does in a still picture.

    Raises:
        InputError: the bytes are no picture that can be used; the message tells how to send one.
    """
    body = bytes(data)
    if body.startswith(b"--") and b"form-data" in body[:_FORM_HEAD]:
        raise InputError(f"the body of the request is a form; {_ADVICE}")
    try:
        image = decode_image(body, "the body of the request")
    except InputError as error:
        raise InputError(f"{error}; {_ADVICE}") from error
    return find_faces(image, detector, crop)


def answer(found: Found, faces: Iterable[FaceResult]) -> Answer:
    """Return what a picture's faces are answered.

    Args:
        found: the picture.
        faces: of it, as ``read_found`` returns them.
    """
    answered = []
    for face in faces:
        values = face_values(face)
        del values["face"]  # the position in the list says as much
        answered.append(Face(**values))
    return Answer(found.width, found.height, answered)
