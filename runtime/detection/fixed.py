"""Detectors that search nothing: the whole picture, ready crops, boxes known from a CSV file."""

import csv
import os
from pathlib import Path

import numpy as np

from emonet_deploy.emonet_ref.constants import INPUT_SIZE
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection.base import Detection, Detector
from emonet_deploy.runtime.media.frame import Frame

__all__ = ["KnownBoxes", "ReadyOrDetected", "WholePicture"]


class WholePicture:
    """The detector ``none``: every picture is one face crop, used as it is."""

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the frame's whole area as one face."""
        height, width = frame.image.shape[:2]
        return [Detection((0.0, 0.0, float(width), float(height)), 1.0, ready=True)]


class ReadyOrDetected:
    """The detector ``auto``: a still picture of 256 x 256 pixels is a ready crop, as the network
    wants it; in any other the faces are searched.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the faces of a frame, the surest first."""
        if frame.time is None and frame.image.shape[:2] == (INPUT_SIZE, INPUT_SIZE):
            return WholePicture().detect(frame)
        return self._detector.detect(frame)


class KnownBoxes:
    """Boxes read from a CSV file with the columns file, frame (optional), x0, y0, x1, y1.

    ``file`` is compared with a frame's source, first as written, then by its last part; a frame
    without a row has no face.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the file.

        Raises:
            InputError: the file cannot be read, a column is missing or a value is no number.
        """
        self._boxes: dict[tuple[str, int], list[Detection]] = {}
        columns = ("file", "x0", "y0", "x1", "y1")
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                missing = [name for name in columns if name not in (reader.fieldnames or ())]
                if missing:
                    raise InputError(
                        f"{path} lacks the column {missing[0]}; its first line must name "
                        "file, x0, y0, x1, y1 and, for videos, frame"
                    )
                for row in reader:
                    self._add(row, f"{path}, line {reader.line_num}")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"cannot read the boxes in {path}: {error}") from error

    def _add(self, row: dict[str, str | None], where: str) -> None:
        try:
            sides = [row[name] or "" for name in ("x0", "y0", "x1", "y1")]
            if not any(sides):  # A frame without a face, as ``emonet predict --csv`` writes it.
                return
            x0, y0, x1, y1 = map(float, sides)
            index = int(row.get("frame") or 0)
        except ValueError as error:
            raise InputError(f"{where}: a box needs four numbers ({error})") from error
        if not (np.isfinite([x0, y0, x1, y1]).all() and x1 > x0 and y1 > y0):
            raise InputError(f"{where}: the box has no area; x0 < x1 and y0 < y1 are needed")
        key = (row["file"] or "", index)
        self._boxes.setdefault(key, []).append(Detection((x0, y0, x1, y1), 1.0))

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the boxes the file gives for this frame, in its order."""
        for name in (frame.source, Path(frame.source).name):
            if (name, frame.index) in self._boxes:
                return self._boxes[name, frame.index]
        return []
