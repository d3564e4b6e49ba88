"""A run as one HTML page that needs nothing but itself: what was read, and what it says."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from emonet_deploy.batch.choices import Grouping
from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.batch.outcome import count_rows
from emonet_deploy.batch.summary import Summary, summary_rows, summary_table
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.runtime.output.html_page import write_page
from emonet_deploy.runtime.output.palette import CLASSES, Color, hex_color
from emonet_deploy.runtime.output.svg import Circle, Line, Rectangle, Shape, Text, as_svg
from emonet_deploy.runtime.output.table_formats import Table

__all__ = ["write_report"]

LISTED: Final = 500
"""How many groups, and how many unreadable files, are shown."""

_BARS: Final = 40
_NAMES: Final = max(CLASS_NAMES.values(), key=len)
_INK: Final[Color] = (68, 68, 68)
_GRID: Final[Color] = (221, 221, 221)


def write_report(folder: Path, out: str, by: Grouping) -> Path:
    """Write ``index.html`` into a folder and return its path.

    Args:
        folder: made where it is missing.
        out: of a run, complete or not.
        by: what a group is.

    Raises:
        InputError: no run lies there, or the file cannot be written.
    """
    run, groups = count_rows(out, LISTED), summary_rows(out, by)
    facts = [
        ("Results", out), ("Files", run.files), ("Rows", run.rows), ("Faces", run.faces),
        ("Unreadable files", run.unreadable), *sorted(RunFolder.of(out).settings().items()),
    ]  # fmt: skip
    largest = sorted(groups, key=lambda group: -group.faces)
    used = sorted({name for group in groups for name in group.shares}, key=_NAMES.index)
    return write_page(
        folder,
        __package__,
        "report.html.jinja",
        facts=Table((), [(name, "-" if value is None else value) for name, value in facts], "ll"),
        by=by,
        count=len(groups),
        groups=summary_table(largest[:LISTED]),
        legend=[(name, hex_color(_color(name))) for name in used],
        bars=_bars(largest[:_BARS]),
        plane=_plane(largest[:LISTED]),
        transitions=_transitions(groups),
        reasons=Table(("file", "reason"), run.reasons, "ll"),
    )


def _color(expression: str) -> Color:
    return CLASSES[_NAMES.index(expression)]


def _bars(groups: Sequence[Summary]) -> str:
    """Draw the shares of the expressions in each group, the group's name beside them."""
    left, width, height = 300, 560, 18
    shapes: list[Shape] = []
    for row, group in enumerate(groups):
        y, x = 4 + row * height, float(left)
        name = readable(group.group)
        shown = name if len(name) <= 42 else f"...{name[-39:]}"
        shapes.append(Text(left - 8, y + 12, shown, 11, _INK, "end"))
        for expression in sorted(group.shares, key=_NAMES.index):
            share = group.shares[expression]
            tip = f"{name}: {expression} {share:.1%} of {group.faces}"
            shapes.append(Rectangle(x, y, share * width, height - 4, _color(expression), tip))
            x += share * width
    return as_svg(left + width + 8, 8 + len(groups) * height, shapes, inline=True)


def _plane(groups: Sequence[Summary]) -> str:
    """Draw each group's mean in the plane of valence and arousal, in its expression's colour."""
    side, margin = 360, 36
    inner = side - 2 * margin

    def at(value: float, sign: int) -> float:
        return margin + (1 + sign * value) / 2 * inner

    shapes: list[Shape] = [
        Line(np.array([[at(-1, 1), at(0, -1)], [at(1, 1), at(0, -1)]]), _GRID, 1),
        Line(np.array([[at(0, 1), at(-1, -1)], [at(0, 1), at(1, -1)]]), _GRID, 1),
        Circle(side / 2, side / 2, inner / 2, _GRID, width=1),
        Text(side / 2, side - 8, "valence", 11, _INK, "middle"),
        Text(12, side / 2, "arousal", 11, _INK, "middle", upwards=True),
    ]
    shapes += [
        Circle(at(g.valence, 1), at(g.arousal, -1), 4, _color(g.expression), opacity=0.7)
        for g in groups
    ]
    return as_svg(side, side, shapes, inline=True)


def _transitions(groups: Sequence[Summary]) -> Table:
    total: Counter[str] = Counter()
    for group in groups:
        total.update(group.transitions)
    return Table(("change of expression", "times"), total.most_common(LISTED))
