"""Intersection over union (IoU) of boxes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.runtime.detection.base import Box

__all__ = ["box_iou"]


def box_iou(
    first: Sequence[Box] | NDArray[np.float64], second: Sequence[Box] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the intersection over union (IoU) of each box of ``first`` with each of ``second``.

    Returns:
        float64 n x m in [0, 1]; 0 where both boxes are empty.
    """
    a = np.asarray(first, np.float64).reshape(-1, 1, 4)
    b = np.asarray(second, np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(sides, 0.0), axis=-1)
    area_a, area_b = (np.prod(np.maximum(x[..., 2:] - x[..., :2], 0.0), axis=-1) for x in (a, b))
    total = area_a + area_b - shared
    return np.asarray(np.divide(shared, total, out=np.zeros_like(shared), where=total > 0))
