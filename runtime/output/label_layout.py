"""Where labels go in a picture: near their face, clear of all faces and of each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.runtime.detection.base import Box

__all__ = ["Layout", "Spot"]

Spot = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

_LEVELS = 10  # How many times its own size a label may be away from its face.


class Layout:
    """The free places of one picture; each that is taken is free no more."""

    def __init__(self, width: int, height: int, faces: Sequence[Box]) -> None:
        """Take the size of the picture and the boxes of its faces, in pixels."""
        self._size = width, height
        self._taken = np.rint(np.array(faces, np.float64).reshape(-1, 4))

    def take(
        self,
        width: int,
        height: int,
        box: Box,
        prefer: tuple[float, float],
        *,
        away: float = np.inf,
    ) -> Spot | None:
        """Return the nearest free place to a face and take it, None where there is none.

        Args:
            width: of what is placed, in pixels.
            height: likewise.
            box: of the face it belongs to.
            prefer: of places that are equally near, that with its left upper corner closest to
                this point.
            away: how many pixels it may be away from the face.
        """
        spots = self._around(width, height, box)
        if not len(spots):
            return None
        lapped = np.minimum(spots[:, None, 2:], self._taken[None, :, 2:])
        lapped -= np.maximum(spots[:, None, :2], self._taken[None, :, :2])
        free = ~(lapped.min(-1) > 0).any(1)
        gaps = np.maximum(np.asarray(box[:2]) - spots[:, 2:], spots[:, :2] - np.asarray(box[2:]))
        distance = np.linalg.norm(np.maximum(gaps, 0), axis=1)
        distance[~free | (distance > away)] = np.inf
        best = int((distance + 0.01 * np.linalg.norm(spots[:, :2] - prefer, axis=1)).argmin())
        if not np.isfinite(distance[best]):
            return None
        return self._take(spots[best])

    def take_inside(self, width: int, height: int, box: Box) -> Spot:
        """Return a place at the top of a face's own box, within the picture, and take it."""
        x = np.clip(round(box[0]), 0, max(0, self._size[0] - width))
        y = np.clip(round(box[1]), 0, max(0, self._size[1] - height))
        return self._take(np.array([x, y, x + width, y + height], np.float64))

    def _take(self, spot: NDArray[np.float64]) -> Spot:
        self._taken = np.vstack((self._taken, spot))
        left, top, right, bottom = spot.astype(int).tolist()
        return left, top, right, bottom

    def _around(self, width: int, height: int, box: Box) -> NDArray[np.float64]:
        x0, y0, x1, y1 = np.rint(box).tolist()
        steps = np.arange(_LEVELS)
        above, below = y0 - height * (steps + 1), y1 + height * steps
        ys = np.concatenate((above, below, [y0, y1 - height]))
        left, right = x0 - width * (steps[:3] + 1), x1 + width * steps[:3]
        xs = np.concatenate(([x0, x1 - width, (x0 + x1 - width) // 2], right, left))
        limit = np.subtract(self._size, (width, height))
        if limit.min() < 0:
            return np.empty((0, 4))
        # Those that reach over the border are moved inside.
        corners = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).clip((0, 0), limit)
        return np.concatenate((corners, corners + np.array((width, height))), axis=1)
