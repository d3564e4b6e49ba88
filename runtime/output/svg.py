"""Lines, rectangles, circles and text, written as SVG, as a page, or as PNG by OpenCV."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.output.palette import Color, hex_color

__all__ = ["Circle", "Line", "Rectangle", "Shape", "Text", "as_html", "as_svg", "write_png"]

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
    tip: str = ""


@dataclass(frozen=True)
class Circle:
    """A disc, or with ``width`` a ring whose line is so wide; ``opacity`` is 0 to 1."""

    x: float
    y: float
    radius: float
    color: Color
    width: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Text:
    """A line of text; ``y`` is its baseline, ``size`` the height of its letters in pixels.

    ``upwards`` turns it by a quarter, around the same point.
    """

    x: float
    y: float
    text: str
    size: int
    color: Color
    anchor: Literal["start", "middle", "end"] = "start"
    upwards: bool = False


Shape = Line | Rectangle | Circle | Text


def as_svg(width: int, height: int, shapes: Sequence[Shape], *, inline: bool = False) -> str:
    """Return an SVG document on white ground.

    Args:
        width: of the picture, in the shapes' units.
        height: of the picture.
        shapes: drawn in their order.
        inline: for a place inside a page, at its own size; otherwise a file that fills its place.
    """
    body = "\n".join(map(_element, shapes))
    kind = f'width="{width}" height="{height}"' if inline else 'xmlns="http://www.w3.org/2000/svg"'
    return (
        f'<svg {kind} viewBox="0 0 {width} {height}" '
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
        InputError: there is no memory for it.
        OSError: the file cannot be written.
    """
    canvas = np.full((height * _PNG_SCALE, width * _PNG_SCALE, 3), 255, np.uint8)
    for shape in shapes:
        _paint(canvas, shape)
    done, data = cv2.imencode(".png", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
    if not done:
        raise InputError(f"cannot write a picture of {width} x {height} as PNG; end it in .svg")
    path.write_bytes(data.tobytes())


def _element(shape: Shape) -> str:
    color = hex_color(shape.color)
    match shape:
        case Line(points, _, width):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points.tolist())
            return (
                f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>'
            )
        case Rectangle(x, y, width, height, _, tip):
            title = f"<title>{escape(readable(tip))}</title>" if tip else ""
            return (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                f'fill="{color}">{title}</rect>'
            )
        case Circle(x, y, radius, _, width, opacity):
            ink = (
                f'fill="none" stroke="{color}" stroke-width="{width}"'
                if width
                else (f'fill="{color}"')
            )
            faint = f' opacity="{opacity:g}"' if opacity < 1 else ""
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" {ink}{faint}/>'
        case Text(x, y, text, size, _, anchor, upwards):
            turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if upwards else ""
            return (
                f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
                f'fill="{color}"{turn}>{escape(readable(text))}</text>'
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
        case Circle(x, y, radius, color, width, opacity):
            at_x, at_y, far = (round(v * _PNG_SCALE * (1 << _SHIFT)) for v in (x, y, radius))
            over = canvas.copy() if opacity < 1 else canvas
            thickness = max(1, round(width * _PNG_SCALE)) if width else -1
            cv2.circle(over, (at_x, at_y), far, color, thickness, cv2.LINE_AA, _SHIFT)
            if opacity < 1:
                cv2.addWeighted(over, opacity, canvas, 1 - opacity, 0, canvas)
        case Text(_, _, _, _, _, _, True):
            # Upwards is to the right in the picture turned by a quarter.
            turned = np.ascontiguousarray(np.rot90(canvas, -1))
            height = canvas.shape[0] / _PNG_SCALE
            _paint(turned, replace(shape, x=height - shape.y, y=shape.x, upwards=False))
            canvas[:] = np.rot90(turned)
        case Text(x, y, text, size, color, anchor):
            font, scale = cv2.FONT_HERSHEY_SIMPLEX, size / 30 * _PNG_SCALE
            text = readable(text)
            across = cv2.getTextSize(text, font, scale, 1)[0][0]
            left = x * _PNG_SCALE - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * across
            at = (round(left), round(y * _PNG_SCALE))
            cv2.putText(canvas, text, at, font, scale, color, 1, cv2.LINE_AA)
