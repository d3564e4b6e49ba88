"""Detectors that search nothing: the whole picture, ready crops, boxes known from a CSV file."""

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emonet_deploy.emonet_ref.constants import INPUT_SIZE
from emonet_deploy.emonet_ref.storage.path_access import open_file
from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection.base import Box, Detection, Detector
from emonet_deploy.runtime.detection.box_check import box_problem
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
    r"""Boxes from a CSV file with the columns file (or path), frame (optional), x0, y0, x1, y1.

    ``file`` is compared with a frame's source as written, and else from its end: a row of
    ``img/x.jpg`` (or ``img\x.jpg``) is of ``/data/img/x.jpg``, and of ``x.jpg`` where no other
    row is. A frame without a row has no face; a box that cannot be of a face there is left out.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        """Read the file.

        Args:
            path: of the file.
            say: is told which boxes are left out.

        Raises:
            InputError: the file cannot be read, a column is missing or a value is no number.
        """
        self._path, self._say = path, say
        self._boxes: dict[str, dict[int, list[_Row]]] = {}
        self._used, self._misplaced = False, 0
        try:
            raw = open_file(path)  # no device, which has no end
            with io.TextIOWrapper(raw, "utf-8-sig", "surrogateescape", newline="") as file:
                reader = csv.DictReader(file)
                there = set(reader.fieldnames or ())
                # As tables of samples call it, so that one table serves eval and predict.
                self._file = "path" if "path" in there and "file" not in there else "file"
                columns = (self._file, *_SIDES)
                missing = [name for name in columns if name not in there]
                if missing:
                    raise InputError(
                        f"{path} lacks the column {missing[0]}",
                        hint="its first line must name file, x0, y0, x1, y1 and, for videos, frame",
                    )
                for row in reader:
                    self._add(row, reader.line_num)
        except (OSError, UnicodeError, csv.Error) as error:
            raise InputError(f"cannot read the boxes in {path}: {error}") from error
        self._by_name: dict[str, list[str]] = {}
        for file_name in self._boxes:
            self._by_name.setdefault(_parts(file_name)[-1], []).append(file_name)
        self._named: dict[str, str | None] = {}

    def _add(self, row: dict[str, str | None], line: int) -> None:
        where = f"{self._path}, line {line}"
        try:
            sides = [row[name] or "" for name in _SIDES]
            if not any(sides):  # A frame without a face, as ``emonet predict --csv`` writes it.
                return
            x0, y0, x1, y1 = map(float, sides)
            index = float(row.get("frame") or 0)
            if not index.is_integer():
                raise ValueError(f"{index} is no number of a frame")
        except (ValueError, OverflowError) as error:
            raise InputError(f"{where}: a box needs four numbers ({error})") from error
        if not (np.isfinite([x0, y0, x1, y1]).all() and x1 > x0 and y1 > y0):
            raise InputError(f"{where}: the box has no area; x0 < x1 and y0 < y1 are needed")
        frames = self._boxes.setdefault(readable(row[self._file] or ""), {})
        frames.setdefault(int(index), []).append(_Row((x0, y0, x1, y1), line))

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the boxes the file gives for this frame, in its order."""
        name = self._name_of(frame.source)
        height, width = frame.image.shape[:2]
        found = []
        for row in self._boxes[name].get(frame.index, ()) if name is not None else ():
            self._used = True
            problem = box_problem(row.box, width, height)
            if problem is None:
                found.append(Detection(row.box, 1.0))
            else:
                self._misplaced += 1
                if self._misplaced <= _TOLD:
                    source = readable(frame.source)
                    self._say(f"passed over: {self._path}, line {row.line}: in {source}, {problem}")
        return found

    def require(self, sources: Sequence[str]) -> None:
        """Make sure that the file is about the inputs.

        Raises:
            InputError: none of its boxes belongs to any of these files.
        """
        if self._boxes and not any(self._name_of(source) is not None for source in sources):
            raise self._foreign(readable(sources[0]) if sources else "no file")

    def problem(self) -> str | None:
        """Return what was wrong with the boxes, when all frames were seen; None if nothing."""
        if self._misplaced:
            return (
                f"{self._misplaced} of {self._count()} boxes of {self._path} cannot be of faces in "
                "their pictures; give pixels of the very pictures: left, top, right, bottom"
            )
        if self._boxes and not self._used:
            return str(self._foreign("other frames"))
        return None

    def _count(self) -> int:
        return sum(len(rows) for frames in self._boxes.values() for rows in frames.values())

    def _foreign(self, what: str) -> InputError:
        count = self._count()
        return InputError(
            f"none of the {count} boxes of {self._path} belongs to an input: it names "
            f"{next(iter(self._boxes))}, the input is {what}",
            hint="name files in it as on the command line",
        )

    def _name_of(self, source: str) -> str | None:
        """Return which file of the table a source is, None for none or no single one."""
        if source not in self._named:
            self._named[source] = self._find(readable(source))
        return self._named[source]

    def _find(self, source: str) -> str | None:
        if source in self._boxes:
            return source
        here, whole = _parts(source), _parts(readable(os.path.abspath(source)))
        alike = [name for name in self._by_name.get(whole[-1], ()) if _is_end(name, here, whole)]
        longest = max((len(_parts(name)) for name in alike), default=0)
        # Of a.jpg and img/a.jpg the latter says more.
        best = [name for name in alike if len(_parts(name)) == longest]
        return best[0] if len(best) == 1 else None


_SIDES = ("x0", "y0", "x1", "y1")
_TOLD = 20  # Misplaced boxes that are named; the rest is counted.


@dataclass(frozen=True)
class _Row:
    box: Box
    line: int


def _parts(name: str) -> tuple[str, ...]:
    """Return the folders and the file of a path, as written on any system."""
    return tuple(p for p in name.replace("\\", "/").split("/") if p not in {"", "."}) or ("",)


def _is_end(name: str, here: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    """Return whether a name in the table ends a source's path, or the source ends the name.

    Absolute paths of another machine count from two parts on.
    """
    parts = _parts(name)
    if whole[-len(parts) :] == parts or parts[-len(here) :] == here:
        return True
    absolute = name.startswith(("/", "\\")) or name[1:2] == ":"
    return absolute and parts[-2:] == whole[-2:]
