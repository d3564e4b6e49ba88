"""From a face's box to the 256 x 256 crop the network sees."""

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.constants import INPUT_SIZE
from emonet_deploy.runtime.choices import CropName
from emonet_deploy.runtime.detection.base import Box
from emonet_deploy.runtime.pipeline.preprocess import crop_box

__all__ = ["CropName", "crop_face"]

_FOREHEAD = 0.25
"""Share of a detector's box above the brows, where landmarks end."""


def crop_face(
    image: NDArray[np.uint8], box: Box, crop: CropName = "paper"
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut a face out of a picture.

    ``paper`` makes what the network was trained on: a detector's box reaches from the hairline to
    the chin, the landmarks' box only from the brows, so the forehead is taken off, and the square
    the paper's protocol lays around the rest is cut out. ``stretch`` is what the authors' demo
    does: the box as it is, stretched to a square; it shows the face larger than in training.

    Args:
        image: uint8 H x W x 3, RGB.
        box: a detector's, in pixels; it may reach over the border.
        crop: how.

    Returns:
        The crop, uint8 256 x 256 x 3, and the float64 2 x 3 matrix from the picture's pixels to
        the crop's.
    """
    x0, y0, x1, y1 = box
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
