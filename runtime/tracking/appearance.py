"""How a face looks, to know it again after it was away (re-identification): colour histograms."""

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.runtime.detection.base import Box

__all__ = ["colour_likeness", "describe_colours"]

_BINS = 16
# Where the colours of faces, hair and clothes lie in OpenCV's 8-bit CIELAB.
_LAB_LOW = np.array([0.0, 108.0, 108.0])
_LAB_HIGH = np.array([255.0, 168.0, 178.0])


def describe_colours(image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
    """Return the looks of a face: how the colours of three horizontal parts of its box spread.

    Returns:
        float32 9 x 16: for each part lightness, green to red and blue to yellow, as histograms
        that sum to 1, over 0 to 255, 108 to 168 and 108 to 178 of OpenCV's 8-bit CIELAB. A value
        is shared by the two bins it lies between, and each bin with its neighbours (1/4, 1/2, 1/4),
        so that a small shift changes little.
    """
    height, width = image.shape[:2]
    left, top = (
        int(np.clip(side, 0, end - 1)) for side, end in zip(box[:2], (width, height), strict=True)
    )
    right = int(np.clip(np.ceil(box[2]), left + 1, width))
    bottom = int(np.clip(np.ceil(box[3]), top + 1, height))
    small = cv2.resize(image[top:bottom, left:right], (24, 24), interpolation=cv2.INTER_AREA)
    lab = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.float64).reshape(3, -1, 3)
    place = np.clip((lab - _LAB_LOW) / (_LAB_HIGH - _LAB_LOW), 0, 1) * (_BINS - 1)
    values = place.transpose(0, 2, 1).reshape(9, -1)
    low = np.minimum(values.astype(int), _BINS - 2)
    upper = values - low
    row = np.arange(9)[:, None] * _BINS
    shares = np.bincount((row + low).ravel(), (1 - upper).ravel(), 9 * _BINS)
    shares += np.bincount((row + low + 1).ravel(), upper.ravel(), 9 * _BINS)
    padded = np.pad(shares.reshape(9, _BINS), ((0, 0), (1, 1)))
    shared = 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:]
    return np.asarray(shared / shared.sum(1, keepdims=True), np.float32)


def colour_likeness(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return how alike two looks are, 0 to 1: the mean Bhattacharyya coefficient."""
    return float(np.sqrt(first * second).sum(1).mean())
