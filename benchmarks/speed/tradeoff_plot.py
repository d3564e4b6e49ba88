"""Speed against accuracy as one picture: an SVG that needs no library and no explanation."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from emonet_deploy.benchmarks.speed.bench import BenchRow
from emonet_deploy.benchmarks.speed.table import label
from emonet_deploy.runtime.output.palette import Color
from emonet_deploy.runtime.output.svg import Circle, Line, Shape, Text, as_svg
from emonet_deploy.runtime.precision_specs import PRECISIONS

__all__ = ["plot"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 480, 80, 220, 60, 60
NINES: Final = 7
"""Where the vertical scale ends: 1 - 10^-7 is as good as equal."""

_INK: Final[Color] = (34, 34, 34)
_GRID: Final[Color] = (221, 221, 221)


def plot(rows: Sequence[BenchRow], title: str) -> str:
    """Return an SVG: images per second to the right, concordance with the reference upwards.

    The vertical scale counts the nines of the CCC of valence or arousal, whichever is lower; rows
    without a concordance are left out.
    """
    shown = [(row, nines) for row in rows if (nines := _nines(row)) is not None]
    right = 1.1 * max((row.throughput for row, _ in shown), default=1.0)
    # Where all agree best there is still a scale to show it on.
    low = min(math.floor(min((nines for _, nines in shown), default=0)), NINES - 1)

    def x(speed: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * speed / right

    def y(nines: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (nines - low) / (NINES - low)

    bottom, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    middle = (LEFT + end) / 2
    shapes: list[Shape] = [Text(LEFT, 28, title, 16, _INK)]
    for count in range(low, NINES + 1):
        shapes.append(_line(LEFT, y(count), end, y(count)))
        shapes.append(Text(LEFT - 8, y(count) + 4, f"{1 - 10.0**-count:.7g}", 13, _INK, "end"))
    step = float(f"{right / 5:.0e}")
    for speed in (step * i for i in range(int(right / step) + 1)):
        shapes.append(_line(x(speed), TOP, x(speed), bottom))
        shapes.append(Text(x(speed), bottom + 20, f"{speed:g}", 13, _INK, "middle"))
    below, above = "images per second (more is better)", "CCC with the PyTorch reference"
    shapes.append(Text(middle, HEIGHT - 14, below, 13, _INK, "middle"))
    shapes.append(Text(LEFT, TOP - 12, f"{above} (higher is better)", 13, _INK))
    taken: list[float] = []
    for row, nines in sorted(shown, key=lambda item: item[0].throughput):
        color = PRECISIONS[row.precision].color
        at_x, at_y = x(row.throughput), y(nines)
        text_y = at_y + 4
        while any(abs(text_y - other) < 15 for other in taken):
            text_y += 15
        taken.append(text_y)
        name = f"{label(row)} {row.precision}, batch {row.batch}, {row.speedup:.2f}x"
        shapes.append(Circle(at_x, at_y, 5, color))
        shapes.append(_line(at_x, at_y, at_x + 12, text_y - 4, color))
        shapes.append(Text(at_x + 14, text_y, name, 12, color))
    return as_svg(WIDTH, HEIGHT, shapes)


def _nines(row: BenchRow) -> float | None:
    if row.ccc_valence is None or row.ccc_arousal is None:
        return None
    distance = 1 - min(row.ccc_valence, row.ccc_arousal)
    return min(max(-math.log10(max(distance, 10.0**-NINES)), 0.0), NINES)


def _line(x1: float, y1: float, x2: float, y2: float, color: Color = _GRID) -> Line:
    return Line(np.array([[x1, y1], [x2, y2]]), color, 1)
