"""What travels through the pipeline: a frame of a picture, a video or a camera."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture on its way through the pipeline.

    Attributes:
        image: uint8 H x W x 3, RGB.
        source: the file or camera it comes from; a new source starts new identities.
        index: number within the source, from 0; broken frames count.
        time: seconds since the source began, or None for a still picture. Only frames with a
            time are tracked and smoothed.
        fps: frames per second of its clip, None for a still picture.
    """

    image: NDArray[np.uint8]
    source: str = ""
    index: int = 0
    time: float | None = None
    fps: float | None = None
