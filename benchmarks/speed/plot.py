"""Speed against accuracy as one picture: an SVG that needs no library and no explanation."""

import math
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from emonet_deploy.benchmarks.speed.bench import BenchRow
from emonet_deploy.benchmarks.speed.table import label

__all__ = ["plot"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 480, 80, 220, 60, 60
NINES: Final = 7
"""Where the vertical scale ends: 1 - 10^-7 is as good as equal."""

COLORS: Final = {"fp32": "#1f5fa8", "fp16": "#2a8a4a", "int8": "#b5481d"}


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

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 28, title, size=16),
    ]
    for count in range(low, NINES + 1):
        parts.append(_line(LEFT, y(count), WIDTH - RIGHT, y(count)))
        parts.append(_text(LEFT - 8, y(count) + 4, f"{1 - 10.0**-count:.7g}", anchor="end"))
    step = float(f"{right / 5:.0e}")
    for speed in (step * i for i in range(int(right / step) + 1)):
        parts.append(_line(x(speed), TOP, x(speed), HEIGHT - BOTTOM))
        parts.append(_text(x(speed), HEIGHT - BOTTOM + 20, f"{speed:g}", anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 14, "images per second (more is better)", anchor="middle"))
    parts.append(_text(LEFT, TOP - 12, "CCC with the PyTorch reference (higher is better)"))
    taken: list[float] = []
    for row, nines in sorted(shown, key=lambda item: item[0].throughput):
        color = COLORS[row.precision]
        at_x, at_y = x(row.throughput), y(nines)
        parts.append(f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="5" fill="{color}"/>')
        text_y = at_y + 4
        while any(abs(text_y - other) < 15 for other in taken):
            text_y += 15
        taken.append(text_y)
        name = f"{label(row)} {row.precision}, batch {row.batch}, {row.speedup:.2f}x"
        parts.append(_line(at_x, at_y, at_x + 12, text_y - 4, color))
        parts.append(_text(at_x + 14, text_y, name, color=color, size=12))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _nines(row: BenchRow) -> float | None:
    if row.ccc_valence is None or row.ccc_arousal is None:
        return None
    distance = 1 - min(row.ccc_valence, row.ccc_arousal)
    return min(max(-math.log10(max(distance, 10.0**-NINES)), 0.0), NINES)


def _line(x1: float, y1: float, x2: float, y2: float, color: str = "#ddd") -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{color}"/>'


def _text(
    x: float, y: float, text: str, anchor: str = "start", size: int = 13, color: str = "#222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{color}">{escape(text)}</text>'
    )
