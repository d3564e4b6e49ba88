"""From pictures to what the network sees.

A crop is 256 x 256 pixels, and results depend on how it is made (``runtime.choices.Crop``):

``paper``
    a square around the landmarks, as the published accuracy was measured: a square landmark box
    becomes 1 / 1.82 of the crop's width.
``stretch``
    the box, or the whole picture, stretched to a square, as in the authors' demo: for pictures
    that already are face crops.
"""

from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from emonet_deploy.emonet_ref.constants import INPUT_SIZE, NUM_LANDMARKS
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.choices import Crop
from emonet_deploy.runtime.detection.base import Box, Detection
from emonet_deploy.runtime.media.image import as_rgb_uint8

__all__ = [
    "crop_box",
    "crop_face",
    "crop_faces",
    "crop_landmarks",
    "landmark_box",
    "stretch_face",
    "to_tensor",
]

Image = NDArray[np.uint8]
_FOREHEAD: Final = 0.25
"""Share of a detector's box above the brows, where landmarks end."""


def to_tensor(crops: ArrayLike) -> NDArray[np.float32]:
    """Return crops as the network's input, ``pixel / 255``.

    Args:
        crops: uint8 N x 256 x 256 x 3, RGB.

    Returns:
        float32 N x 3 x 256 x 256 in [0, 1].

    Raises:
        InputError: another shape or type.
    """
    array = np.asarray(crops)
    if array.dtype != np.uint8 or array.shape[1:] != (INPUT_SIZE, INPUT_SIZE, 3):
        raise InputError(
            f"crops are uint8 N x {INPUT_SIZE} x {INPUT_SIZE} x 3, not {array.dtype} "
            f"{' x '.join(map(str, array.shape))}; make them with stretch_face or crop_landmarks"
        )
    tensor = np.empty((len(array), 3, INPUT_SIZE, INPUT_SIZE), np.float32)
    np.divide(array.transpose(0, 3, 1, 2), np.float32(255), out=tensor)
    return tensor


def stretch_face(image: ArrayLike) -> Image:
    """Resize a whole picture, bilinearly, to the network's input (``stretch``).

    Args:
        image: a picture `as_rgb_uint8` takes.

    Returns:
        uint8 256 x 256 x 3.
    """
    picture = np.ascontiguousarray(as_rgb_uint8(image))
    crop = cv2.resize(picture, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_LINEAR)
    return np.asarray(crop, np.uint8)


def landmark_box(landmarks: ArrayLike) -> NDArray[np.float64]:
    """Return (x0, y0, x1, y1) in pixels, the least box around 68 x 2 landmarks.

    Raises:
        InputError: another shape, no numbers, or a point that is not finite.
    """
    try:
        points = np.asarray(landmarks, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"landmarks are {NUM_LANDMARKS} x 2 numbers: {error}") from error
    if points.shape != (NUM_LANDMARKS, 2) or not np.isfinite(points).all():
        raise InputError(
            f"landmarks are {NUM_LANDMARKS} x 2 finite numbers, not "
            f"{' x '.join(map(str, points.shape)) or 'one value'}"
        )
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def crop_box(image: ArrayLike, box: ArrayLike) -> tuple[Image, NDArray[np.float64]]:
    """Cut the face out around its landmark box, as the paper does (``paper``).

    Args:
        image: a picture `as_rgb_uint8` takes.
        box: x0, y0, x1, y1 of the landmarks, in pixels of the picture.

    Returns:
        The crop, uint8 256 x 256 x 3, black where the picture ends, and the float64 2 x 3 matrix
        that maps the picture's pixels to the crop's.

    Raises:
        InputError: the box has no area or is not four finite numbers.
    """
    corners = np.asarray(box, np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise InputError(f"a box is x0, y0, x1, y1, four finite numbers, not {corners}")
    x0, y0, x1, y1 = corners.tolist()
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"the box {x0:g}, {y0:g}, {x1:g}, {y1:g} has no area")
    center_x, center_y = x1 - (x1 - x0) / 2, y1 - (y1 - y0) / 2
    # Not simplified: 200 and 220 are the authors', and the order of rounding is kept.
    side = 200 * ((x1 - x0 + y1 - y0) / 220)
    zoom = INPUT_SIZE / side
    matrix = np.array(
        [
            [zoom, 0.0, INPUT_SIZE * (-center_x / side + 0.5)],
            [0.0, zoom, INPUT_SIZE * (-center_y / side + 0.5)],
        ]
    )
    picture = np.ascontiguousarray(as_rgb_uint8(image))
    crop = cv2.warpAffine(picture, matrix, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_LINEAR)
    return np.asarray(crop, np.uint8), matrix


def crop_landmarks(image: ArrayLike, landmarks: ArrayLike) -> tuple[Image, NDArray[np.float64]]:
    """Cut the face out around its 68 landmarks; see `crop_box`."""
    return crop_box(image, landmark_box(landmarks))


def crop_face(
    image: NDArray[np.uint8], box: Box, crop: Crop = "paper", turns: int = 0
) -> tuple[Image, NDArray[np.float64]]:
    """Cut a face out of a picture, around the box a face detector gave.

    A detector's box reaches from the hairline to the chin, the landmarks' box only from the brows:
    for ``paper`` the forehead is taken off before the square is laid around the rest. ``stretch``
    takes the box as it is; it shows the face larger than in training.

    Args:
        image: uint8 H x W x 3, RGB.
        box: left, top, right, bottom in pixels; it may reach over the border.
        crop: how.
        turns: by how many quarters the face is turned clockwise, so that it is upright.

    Returns:
        The crop, uint8 256 x 256 x 3, and the float64 2 x 3 matrix from the picture's pixels to
        the crop's.
    """
    x0, y0, x1, y1 = box
    if turns:
        # A quarter: what is on the left comes to the top.
        height = image.shape[0]
        turned = np.ascontiguousarray(np.rot90(image, -1))
        # The paper's boxes are measured from the middle of the first pixel, others from its edge.
        end = height - (crop == "paper")
        around = (end - y1, x0, end - y0, x1)
        made, matrix = crop_face(turned, around, crop, turns - 1)
        quarter = np.array([[0.0, -1.0, height - 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        return made, matrix @ quarter
    if crop == "paper":
        return crop_box(image, (x0, y0 + _FOREHEAD * (y1 - y0), x1, y1))
    across, down = INPUT_SIZE / (x1 - x0), INPUT_SIZE / (y1 - y0)
    # The middle of the first pixel is 0, so edges lie half a pixel before it.
    matrix = np.array([[across, 0, (0.5 - x0) * across - 0.5], [0, down, (0.5 - y0) * down - 0.5]])
    stretched = cv2.warpAffine(
        image,
        matrix,
        (INPUT_SIZE, INPUT_SIZE),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(stretched, np.uint8), matrix


def crop_faces(
    image: NDArray[np.uint8], faces: Iterable[Detection], crop: Crop = "paper"
) -> list[tuple[Image, NDArray[np.float64]]]:
    """Cut out what a detector found: of each face what ``crop_face`` returns.

    A picture that is a ready crop is resized, whatever ``crop`` says.
    """
    return [
        crop_face(image, face.box, "stretch" if face.ready else crop, face.turns) for face in faces
    ]
