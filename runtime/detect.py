"""Where the faces of a frame are: detectors by name, and boxes that are known already."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.contract import INPUT_SIZE
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.frames import Frame

__all__ = [
    "DETECTORS",
    "FAINT",
    "Box",
    "Detection",
    "Detector",
    "KnownBoxes",
    "ReadyOrDetected",
    "WholePicture",
    "default_detector",
    "load_detector",
    "network_size",
    "overlap",
]

FAINT: Final = 0.4
"""The share of a detector's lowest score down to which faint detections are reported."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the frame; it may reach over the border."""

DETECTORS: Final = ("auto", "centerface", "yunet", "none")


@dataclass(frozen=True)
class Detection:
    """One face found in a frame.

    Attributes:
        box: left, top, right, bottom in pixels.
        score: the detector's confidence in [0, 1].
        faint: the score alone is too low to believe in a face. A tracker takes such a detection
            where it already follows one; elsewhere it is dropped.
        ready: the whole picture is the face crop, to be resized but not cropped.
    """

    box: Box
    score: float
    faint: bool = False
    ready: bool = False


class Detector(Protocol):
    """Anything that finds faces; called from one thread at a time."""

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the faces of a frame, the surest first."""
        ...


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


def default_detector() -> str | None:
    """Return the detector ``auto`` stands for here, or None when none is at hand."""
    from emonet_deploy.runtime import centerface, yunet

    if centerface.is_installed():
        return "centerface"
    return "yunet" if yunet.cached_model().is_file() else None


def load_detector(
    name: str = "auto",
    *,
    model: str | os.PathLike[str] | None = None,
    size: int | None = None,
    min_score: float = 0.4,
) -> Detector:
    """Return the detector of that name, ready to run.

    Args:
        name: one of ``DETECTORS``. ``centerface`` needs the extra ``faces``; ``yunet`` a model
            file, which is fetched once; ``none`` takes each picture as one face; ``auto`` is
            CenterFace where the extra is installed, else YuNet where its file is cached, and takes
            still pictures of 256 x 256 pixels as ready crops.
        model: YuNet's model file, instead of the cached one.
        size: the longer side of the picture the network sees, in pixels; a larger picture is
            scaled down for detection only. A smaller value is faster and misses small faces. By
            default as in ``network_size``.
        min_score: below this score a detection is faint, see ``Detection``.

    Raises:
        MissingDependencyError: what the detector needs is not installed.
        InputError: the model file or the size cannot be used, or ``auto`` finds no detector.
    """
    from emonet_deploy.runtime import centerface, yunet

    if size is not None and size < 32:
        raise InputError(f"a detection size of {size} pixels is too small; give at least 32")
    if not 0 < min_score < 1:
        raise InputError(f"a lowest score of {min_score} makes no sense; give one between 0 and 1")
    match name:
        case "none":
            return WholePicture()
        case "centerface":
            return centerface.CenterFace(size, min_score)
        case "yunet":
            return yunet.YuNet(model or yunet.fetch_model(), size, min_score)
        case "auto":
            found = "yunet" if model is not None else default_detector()
            if found is None:
                raise InputError(
                    "no face detector is at hand; pip install 'emonet-deploy[faces]', or take "
                    "--detector yunet (fetches its model once), or --detector none for ready crops"
                )
            return ReadyOrDetected(
                load_detector(found, model=model, size=size, min_score=min_score)
            )
        case _:
            raise InputError(f"unknown detector {name!r}; choose {', '.join(DETECTORS)}")


def network_size(frame: Frame, size: int | None) -> tuple[int, int]:
    """Return width and height, in pixels, at which a network shall see a frame.

    Without a ``size`` for the longer side it is 640 for a still picture, which may show many
    people, and 384 for a frame of a clip, where speed counts. Pictures are never enlarged.
    """
    height, width = frame.image.shape[:2]
    longest = size or (640 if frame.time is None else 384)
    scale = min(1.0, longest / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def overlap(
    first: Sequence[Box] | NDArray[np.float64], second: Sequence[Box] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the intersection over union of each box of ``first`` with each of ``second``."""
    a = np.asarray(first, np.float64).reshape(-1, 1, 4)
    b = np.asarray(second, np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(sides, 0.0), axis=-1)
    area_a, area_b = (np.prod(np.maximum(x[..., 2:] - x[..., :2], 0.0), axis=-1) for x in (a, b))
    total = area_a + area_b - shared
    return np.asarray(np.divide(shared, total, out=np.zeros_like(shared), where=total > 0))
