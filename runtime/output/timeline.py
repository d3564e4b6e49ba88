"""Valence, arousal and expression of a clip over time, as a picture: SVG, PNG or a page."""

import os
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.output.palette import CLASSES, Color, identity_color
from emonet_deploy.runtime.output.sinks import Sink
from emonet_deploy.runtime.output.svg import (
    Line,
    Rectangle,
    Shape,
    Text,
    as_html,
    as_svg,
    write_png,
)
from emonet_deploy.runtime.pipeline.pipeline import FrameResult

__all__ = ["TIMELINE_SUFFIXES", "TimelineSink", "check_timeline"]

TIMELINE_SUFFIXES: Final = (".svg", ".png", ".html")

_WIDTH, _LEFT, _RIGHT = 1000, 86, 24
_PLOT, _STRIP, _GAP, _TOP = 150, 18, 34, 44
_POINTS = 1000  # A line has no more: the picture shows no more.
_BREAK = 1.0  # Seconds without the face after which its line is interrupted.
_INK: Final[Color] = (40, 40, 40)
_GRID: Final[Color] = (222, 222, 222)


class TimelineSink(Sink):
    """Collects the results of one clip, 32 bytes for a face of a frame, and draws them at the end.

    The ending of the file, one of ``TIMELINE_SUFFIXES``, names the format.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name the file.

        Raises:
            InputError: its ending is none of ``TIMELINE_SUFFIXES``.
        """
        check_timeline(path)
        self._path = Path(path)
        self._faces: dict[int, array[float]] = {}
        self._classes: tuple[str, ...] = ()
        self._source = ""
        self._span = (0.0, 0.0)

    def append(self, result: FrameResult) -> None:
        """Take in the faces of a frame.

        Raises:
            InputError: the frame is a still picture or belongs to another clip than the first.
        """
        time = result.frame.time
        if time is None or (self._source and result.frame.source != self._source):
            raise InputError("a timeline shows one video; name one video, or leave --timeline out")
        if not self._source:
            self._source, self._span = result.frame.source, (time, time)
        self._span = (self._span[0], time)
        for face in result.faces:
            said = face.prediction
            self._classes = self._classes or tuple(said.probabilities)
            values = self._faces.setdefault(face.identity, array("d"))
            number = self._classes.index(said.expression)
            values.extend((time, said.valence, said.arousal, number))

    def _open(self, stack: ExitStack) -> None:
        self._temporary = stack.enter_context(atomic_write(self._path))

    def _finish(self) -> None:
        height, shapes = self._draw()
        match self._path.suffix.lower():
            case ".svg":
                self._temporary.write_text(as_svg(_WIDTH, height, shapes), encoding="utf-8")
            case ".png":
                write_png(self._temporary, _WIDTH, height, shapes)
            case _:
                title = f"Timeline of {Path(self._source).name}"
                page = as_html(title, _WIDTH, height, shapes)
                self._temporary.write_text(page, encoding="utf-8")

    def _draw(self) -> tuple[int, list[Shape]]:
        faces = {
            identity: np.array(values).reshape(-1, 4)
            for identity, values in sorted(self._faces.items())
        }
        strips = _TOP + 2 * (_PLOT + _GAP)
        bottom = strips + max(1, len(faces)) * _STRIP
        shapes: list[Shape] = [
            Text(_LEFT, 26, f"EmoNet: {Path(self._source).name}", 16, _INK),
            *self._axes(strips, bottom),
        ]
        if not faces:
            shapes.append(Text(_LEFT + 8, strips + 13, "no face in this clip", 12, _INK))
        for row, (identity, values) in enumerate(faces.items()):
            color = identity_color(identity)
            for panel, column in ((0, 1), (1, 2)):
                top = _TOP + panel * (_PLOT + _GAP)
                for part in _parts(values):
                    x, y = self._x(part[:, 0]), top + (1 - part[:, column]) / 2 * _PLOT
                    shapes.append(Line(np.stack((x, y), 1), color, 1.6))
            shapes += self._strip(values, strips + row * _STRIP)
            label = f"face {identity}"
            shapes.append(Text(_LEFT - 8, strips + row * _STRIP + 13, label, 12, color, "end"))
        shapes += self._legend(bottom + 52)
        return bottom + 76, shapes

    def _x(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        start, end = self._span
        share = (time - start) / max(end - start, 1e-9)
        return np.asarray(_LEFT + share * (_WIDTH - _LEFT - _RIGHT))

    def _axes(self, strips: int, bottom: int) -> Iterator[Shape]:
        right = float(_WIDTH - _RIGHT)
        for panel, name in enumerate(("valence", "arousal")):
            top = _TOP + panel * (_PLOT + _GAP)
            for value in (-1, 0, 1):
                y = top + (1 - value) / 2 * _PLOT
                yield Line(np.array([[_LEFT, y], [right, y]]), _GRID, 1.0)
                yield Text(_LEFT - 8, y + 4, f"{value:+d}" if value else "0", 12, _INK, "end")
            yield Text(16, top + _PLOT / 2 + 4, name, 12, _INK)
        yield Text(_LEFT, strips - 8, "expression", 12, _INK)
        for time in _ticks(*self._span):
            x = float(self._x(np.array([time]))[0])
            yield Line(np.array([[x, _TOP], [x, bottom]]), _GRID, 1.0)
            yield Text(x, bottom + 18, f"{time:g} s", 12, _INK, "middle")

    def _strip(self, values: NDArray[np.float64], top: int) -> Iterator[Shape]:
        """Yield one rectangle for each stretch of one expression."""
        for part in _parts(values):
            changes = np.flatnonzero(np.diff(part[:, 3])) + 1
            starts = np.concatenate(([0], changes))
            for first, last in zip(starts, np.append(changes, len(part) - 1), strict=True):
                begin, end = part[first, 0], part[last, 0]
                x0, x1 = self._x(np.array([begin, end])).tolist()
                number = int(part[first, 3])
                tip = f"{self._classes[number]}, {begin:.2f} to {end:.2f} s"
                color = CLASSES[number]
                yield Rectangle(x0, top + 2, max(x1 - x0, 1.0), _STRIP - 4, color, tip)

    def _legend(self, y: float) -> Iterator[Shape]:
        for number, name in enumerate(self._classes):
            x = float(_LEFT + number * (_WIDTH - _LEFT - _RIGHT) / len(self._classes))
            yield Rectangle(x, y - 10, 12, 12, CLASSES[number], name)
            yield Text(x + 18, y, name, 12, _INK)


def check_timeline(path: str | os.PathLike[str]) -> None:
    """Raise ``InputError`` unless the ending of ``path`` is one of ``TIMELINE_SUFFIXES``."""
    if Path(path).suffix.lower() not in TIMELINE_SUFFIXES:
        raise InputError(f"cannot write {path}: a timeline ends in .svg, .png or .html")


def _parts(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Split a face's rows where it was away, and thin them to what a picture can show."""
    step = -(-len(values) // _POINTS)
    parts = np.split(values, np.flatnonzero(np.diff(values[:, 0]) > _BREAK) + 1)
    return [_thinned(part, step) for part in parts]


def _thinned(part: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """Return the means of ``step`` rows each; the expression is that of each first row."""
    starts = np.arange(0, len(part), step)
    sizes = np.diff(np.append(starts, len(part)))[:, None]
    means = np.asarray(np.add.reduceat(part, starts) / sizes, np.float64)
    means[:, (0, 3)] = part[starts][:, (0, 3)]
    return means


def _ticks(start: float, end: float) -> list[float]:
    """Return at most about ten round times between ``start`` and ``end``."""
    span = max(end - start, 1e-3)
    power = 10.0 ** np.floor(np.log10(span / 8))
    step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= 10)
    first = int(np.ceil(start / step - 1e-9))
    last = int(np.floor(end / step + 1e-9))
    return [round(i * step, 6) for i in range(first, last + 1)]
