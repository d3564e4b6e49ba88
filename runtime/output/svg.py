"""Lines, rectangles and text, written as SVG, as a page, or as PNG by OpenCV."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.errors import InputError

__all__ = ["Line", "Rectangle", "Shape", "Text", "as_html", "as_svg", "write_png"]

Color = tuple[int, int, int]
_PNG_SCALE: Final = 2
_SHIFT: Final = 4  # OpenCV draws on a grid of 1/16 pixel.


@dataclass(frozen=True)
class Line:
    """A polyline through points, float64 n x 2."""

    points: NDArray[np.float64]
    color: Color
    width: float


@dataclass(frozen=True)
class Rectangle:
    """A filled rectangle; pointing at it on a page shows ``tip``."""

    x: float
    y: float
    width: float
    height: float
    color: Color
    tip: str


@dataclass(frozen=True)
class Text:
    """A line of text; ``y`` is its baseline, ``size`` the height of its letters in pixels."""

    x: float
    y: float
    text: str
    size: int
    color: Color
    anchor: Literal["start", "middle", "end"] = "start"


Shape = Line | Rectangle | Text


def as_svg(width: int, height: int, shapes: Sequence[Shape]) -> str:
    """Return an SVG document on white ground."""
    body = "\n".join(map(_element, shapes))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif">\n<rect width="{width}" height="{height}" fill="#fff"/>\n'
        f"{body}\n</svg>\n"
    )


def as_html(title: str, width: int, height: int, shapes: Sequence[Shape]) -> str:
    """Return a page that needs no other file."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        "</title><style>body{margin:2em auto;max-width:1200px}</style></head><body>\n"
        f"{as_svg(width, height, shapes)}</body></html>\n"
    )


def write_png(path: Path, width: int, height: int, shapes: Sequence[Shape]) -> None:
    """Write a PNG file, twice as fine as the shapes' units.

    Raises:
        InputError: the file cannot be written.
    """
    canvas = np.full((height * _PNG_SCALE, width * _PNG_SCALE, 3), 255, np.uint8)
    for shape in shapes:
        _paint(canvas, shape)
    if not cv2.imwrite(str(path), cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR)):
        raise InputError(f"cannot write {path.name}; free some space or name another place")


def _element(shape: Shape) -> str:
    color = "#{:02x}{:02x}{:02x}".format(*shape.color)
    match shape:
        case Line(points, _, width):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points.tolist())
            return (
                f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>'
            )
        case Rectangle(x, y, width, height, _, tip):
            return (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                f'fill="{color}"><title>{escape(tip)}</title></rect>'
            )
        case Text(x, y, text, size, _, anchor):
            return (
                f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
                f'fill="{color}">{escape(text)}</text>'
            )


def _paint(canvas: NDArray[np.uint8], shape: Shape) -> None:
    match shape:
        case Line(points, color, width):
            fine = np.rint(points * _PNG_SCALE * (1 << _SHIFT)).astype(np.int32)
            thickness = round(width * _PNG_SCALE)
            cv2.polylines(canvas, [fine], False, color, thickness, cv2.LINE_AA, _SHIFT)
        case Rectangle(x, y, width, height, color, _):
            x0, y0, x1, y1 = (round(side * _PNG_SCALE) for side in (x, y, x + width, y + height))
            cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), color, -1)
        case Text(x, y, text, size, color, anchor):
            font, scale = cv2.FONT_HERSHEY_SIMPLEX, size / 30 * _PNG_SCALE
            across = cv2.getTextSize(text, font, scale, 1)[0][0]
            left = x * _PNG_SCALE - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * across
            at = (round(left), round(y * _PNG_SCALE))
            cv2.putText(canvas, text, at, font, scale, color, 1, cv2.LINE_AA)
