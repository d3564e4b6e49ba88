"""Charts as inline SVG: nothing to load, nothing to run."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.metrics.paper_metrics import Floats

__all__ = ["COLORS", "circumplex", "confusion_table", "scatter"]

COLORS: Final = (
    "#8c8c8c", "#e6a100", "#3566b8", "#d9538b", "#6b3fa0", "#3a8f47", "#c8372d", "#6f5b3e",
)  # fmt: skip
"""One for each of the eight classes, in their order."""

SIDE: Final = 320
MARGIN: Final = 36
MAX_POINTS: Final = 3000


def scatter(truth: Floats, prediction: Floats, title: str) -> str:
    """Plot predictions against truth, both in [-1, 1], with the line where they are equal."""
    points = zip(truth[shown(len(truth))], prediction[shown(len(truth))], strict=True)
    dots = "".join(f'<circle cx="{_x(g)}" cy="{_y(p)}" r="2"/>' for g, p in points)
    line = f'<path d="M{_x(-1)} {_y(-1)}L{_x(1)} {_y(1)}" class="line"/>'
    return _frame(title, "truth", "prediction", f'{line}<g class="dots">{dots}</g>')


def circumplex(
    valence: Floats, arousal: Floats, classes: NDArray[np.int64], names: Sequence[str], title: str
) -> str:
    """Plot samples in the plane of valence and arousal, coloured by class."""
    chosen = shown(len(valence))
    dots = "".join(
        f'<circle cx="{_x(v)}" cy="{_y(a)}" r="2.5" fill="{COLORS[c]}"/>'
        for v, a, c in zip(valence[chosen], arousal[chosen], classes[chosen].tolist(), strict=True)
        if c >= 0
    )
    radius = (SIDE - 2 * MARGIN) / 2
    circle = f'<circle cx="{_x(0)}" cy="{_y(0)}" r="{radius:.1f}" class="line" fill="none"/>'
    legend = "".join(
        f'<span><i style="background:{COLORS[i]}"></i>{escape(name)}</span>'
        for i, name in enumerate(names)
    )
    picture = _frame(title, "valence", "arousal", f'{circle}<g fill-opacity="0.7">{dots}</g>')
    return f'<div>{picture}<p class="legend">{legend}</p></div>'


def confusion_table(confusion: NDArray[np.int64], names: Sequence[str]) -> str:
    """Return the confusion matrix, each row shaded by the share of its true class."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for name, row in zip(names, confusion.tolist(), strict=True):
        total = sum(row)
        cells = "".join(
            f'<td style="background:rgb(53 102 184/{n / total if total else 0:.2f})">{n}</td>'
            for n in row
        )
        recall = f"{row[names.index(name)] / total:.3f}" if total else "-"
        rows.append(f"<tr><th>{escape(name)}</th>{cells}<td>{recall}</td></tr>")
    return f"<table><tr><th>true \\ predicted</th>{head}<th>recall</th></tr>{''.join(rows)}</table>"


def shown(n: int) -> NDArray[np.int64]:
    """Return which of n points are drawn: all, or ``MAX_POINTS`` evenly spread over them."""
    return np.unique(np.linspace(0, n - 1, min(n, MAX_POINTS)).round().astype(np.int64))


def _x(value: float) -> str:
    return f"{MARGIN + (value + 1) / 2 * (SIDE - 2 * MARGIN):.1f}"


def _y(value: float) -> str:
    return f"{SIDE - MARGIN - (value + 1) / 2 * (SIDE - 2 * MARGIN):.1f}"


def _frame(title: str, horizontal: str, vertical: str, body: str) -> str:
    ticks = "".join(
        f'<text x="{_x(t)}" y="{SIDE - MARGIN + 14}" text-anchor="middle">{t:g}</text>'
        f'<text x="{MARGIN - 6}" y="{_y(t)}" text-anchor="end" dy="4">{t:g}</text>'
        for t in (-1, 0, 1)
    )
    middle = math.floor(SIDE / 2)
    inner = SIDE - 2 * MARGIN
    return (
        f'<svg viewBox="0 0 {SIDE} {SIDE}" width="{SIDE}" height="{SIDE}" role="img">'
        f"<title>{escape(title)}</title>"
        f'<rect x="{MARGIN}" y="{MARGIN}" width="{inner}" height="{inner}" class="frame"/>'
        f'<path d="M{_x(-1)} {_y(0)}H{_x(1)}M{_x(0)} {_y(-1)}V{_y(1)}" class="axis"/>{body}{ticks}'
        f'<text x="{middle}" y="20" text-anchor="middle" class="title">{escape(title)}</text>'
        f'<text x="{middle}" y="{SIDE - 4}" text-anchor="middle">{escape(horizontal)}</text>'
        f'<text transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">'
        f"{escape(vertical)}</text></svg>"
    )
