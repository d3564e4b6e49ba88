"""Charts of an evaluation, as SVG that stands in a page: nothing to load, nothing to run."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.metrics.paper_metrics import Floats
from emonet_deploy.runtime.output.palette import CLASSES, IDENTITIES, Color
from emonet_deploy.runtime.output.svg import Circle, Line, Shape, Text, as_svg

__all__ = ["circumplex", "scatter"]

_SIDE: Final = 320
_MARGIN: Final = 36
_MAX_POINTS: Final = 3000
_INK: Final[Color] = (68, 68, 68)
_GRID: Final[Color] = (221, 221, 221)
_FRAME: Final[Color] = (153, 153, 153)
_DOTS, _GUIDE = IDENTITIES[-1], IDENTITIES[4]


def scatter(truth: Floats, prediction: Floats, title: str) -> str:
    """Plot predictions against truth, both in [-1, 1], with the line where they are equal."""
    chosen = _shown(len(truth))
    dots = (
        Circle(_x(g), _y(p), 2, _DOTS, opacity=0.45)
        for g, p in zip(truth[chosen].tolist(), prediction[chosen].tolist(), strict=True)
    )
    equal = Line(np.array([[_x(-1), _y(-1)], [_x(1), _y(1)]]), _GUIDE, 1)
    return _chart(title, "truth", "prediction", [equal, *dots])


def circumplex(valence: Floats, arousal: Floats, classes: NDArray[np.int64], title: str) -> str:
    """Plot samples in the plane of valence and arousal, in the colours of their classes."""
    chosen = _shown(len(valence))
    rows = zip(*(values[chosen].tolist() for values in (valence, arousal, classes)), strict=True)
    dots = (Circle(_x(v), _y(a), 2.5, CLASSES[c], opacity=0.7) for v, a, c in rows if c >= 0)
    rim = Circle(_x(0), _y(0), (_SIDE - 2 * _MARGIN) / 2, _GUIDE, width=1)
    return _chart(title, "valence", "arousal", [rim, *dots])


def _chart(title: str, horizontal: str, vertical: str, body: Sequence[Shape]) -> str:
    low, high = _MARGIN, _SIDE - _MARGIN
    frame = [[low, low], [high, low], [high, high], [low, high], [low, low]]
    middle = _SIDE / 2
    shapes: list[Shape] = [
        Line(np.array(frame, np.float64), _FRAME, 1),
        Line(np.array([[_x(-1), _y(0)], [_x(1), _y(0)]]), _GRID, 1),
        Line(np.array([[_x(0), _y(-1)], [_x(0), _y(1)]]), _GRID, 1),
        *body,
    ]
    for tick in (-1, 0, 1):
        shapes.append(Text(_x(tick), high + 14, str(tick), 11, _INK, "middle"))
        shapes.append(Text(low - 6, _y(tick) + 4, str(tick), 11, _INK, "end"))
    shapes.append(Text(middle, 20, title, 13, _INK, "middle"))
    shapes.append(Text(middle, _SIDE - 4, horizontal, 11, _INK, "middle"))
    shapes.append(Text(11, middle, vertical, 11, _INK, "middle", upwards=True))
    return as_svg(_SIDE, _SIDE, shapes, inline=True)


def _shown(n: int) -> NDArray[np.int64]:
    """Return which of n points are drawn: all, or ``_MAX_POINTS`` evenly spread over them."""
    return np.unique(np.linspace(0, n - 1, min(n, _MAX_POINTS)).round().astype(np.int64))


def _x(value: float) -> float:
    return _MARGIN + (value + 1) / 2 * (_SIDE - 2 * _MARGIN)


def _y(value: float) -> float:
    return _SIDE - _MARGIN - (value + 1) / 2 * (_SIDE - 2 * _MARGIN)
