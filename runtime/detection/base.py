"""What a face detector is, and what it returns."""

from dataclasses import dataclass
from typing import Final, Protocol

from emonet_deploy.runtime.media.frame import Frame

__all__ = ["FAINT", "Box", "Detection", "Detector", "network_size", "shrinkage"]

FAINT: Final = 0.4
"""The share of a detector's lowest score down to which faint detections are reported."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the frame; it may reach over the border."""


@dataclass(frozen=True)
class Detection:
    """One face found in a frame.

    Attributes:
        box: left, top, right, bottom in pixels.
        score: the detector's confidence in [0, 1].
        faint: the score alone is too low to believe in a face. A tracker takes such a detection
            where it already follows one; elsewhere it is dropped.
        ready: the whole picture is the face crop, to be resized but not cropped.
        turns: by how many quarters the picture is turned clockwise for the face to be upright.
    """

    box: Box
    score: float
    faint: bool = False
    ready: bool = False
    turns: int = 0


class Detector(Protocol):
    """Anything that finds faces; called from one thread at a time."""

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the faces of a frame, the surest first."""
        ...


def network_size(frame: Frame, size: int | None) -> tuple[int, int]:
    """Return width and height, in pixels, at which a network shall see a frame.

    Without a ``size`` for the longer side it is 640 for a still picture, which may show many
    people, and 384 for a frame of a clip, where speed counts. Pictures are never enlarged.
    """
    height, width = frame.image.shape[:2]
    scale = 1 / shrinkage(frame, size)
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrinkage(frame: Frame, size: int | None) -> float:
    """Return how many times smaller a network sees a frame, from 1; see ``network_size``."""
    longest = size or (640 if frame.time is None else 384)
    return float(max(1.0, max(frame.image.shape[:2]) / longest))
