"""Any data set as a CSV table.

Columns, in any order: ``path``, ``valence``, ``arousal`` in [-1, 1], ``expression`` (AffectNet's
number 0 to 7 or a class name; empty or absent where a data set has none, as AFEW-VA), and ``x0``,
``y0``, ``x1``, ``y1``, the least box around the landmarks in pixels (empty or absent where the
pictures are face crops already). Further columns are ignored. Paths start from the table's folder.
"""

import csv
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Final

from emonet_deploy.benchmarks.datasets.base import (
    CLASS_OF,
    Dataset,
    Sample,
    number,
    path_guard,
    unit_number,
)
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.errors import DatasetError

__all__ = ["read_table"]

CORNERS: Final = ("x0", "y0", "x1", "y1")


def read_table(path: str | PathLike[str], nclass: int = 8) -> Dataset:
    """Read a CSV table of samples.

    All rows are kept but those of an expression the model does not know (fear, disgust and
    contempt for 5 classes): the paper's cleaning is for AffectNet only. No picture is opened.

    Raises:
        DatasetError: no such table, a column is missing, a value is impossible (the message names
            the line), or no row is left.
    """
    table = Path(path)
    inside = path_guard(table.parent)
    samples = []
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            missing = {"path", "valence", "arousal"} - set(rows.fieldnames or ())
            if missing:
                raise DatasetError(f"{table} lacks the columns {', '.join(sorted(missing))}")
            for row in rows:
                try:
                    sample = _sample(inside(row["path"] or ""), row, CLASS_OF[nclass])
                except DatasetError as error:
                    raise DatasetError(f"{table}, line {rows.line_num}: {error}") from error
                if sample is not None:
                    samples.append(sample)
    except OSError as error:
        raise DatasetError(f"cannot read {table}: {error.strerror}; check --data") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{table} is no CSV table in UTF-8: {error}") from error
    return Dataset(table.name, table.parent, nclass, tuple(samples))


def _sample(path: str, row: Mapping[str, str | None], class_of: Mapping[int, int]) -> Sample | None:
    if not path:
        raise DatasetError("path is empty")
    expression = _expression((row.get("expression") or "").strip().lower())
    if expression not in class_of and expression != NO_EXPRESSION:
        return None
    valence, arousal = (unit_number(row[name], name) for name in ("valence", "arousal"))
    return Sample(path, class_of.get(expression, NO_EXPRESSION), valence, arousal, _box(row))


def _expression(text: str) -> int:
    if not text:
        return NO_EXPRESSION
    if text in CLASS_NAMES[8]:
        return CLASS_NAMES[8].index(text)
    found = number(text, "expression")
    if found not in range(8):
        raise DatasetError(f"expression is {text}, which is none of 0 to 7")
    return int(found)


def _box(row: Mapping[str, str | None]) -> tuple[float, float, float, float] | None:
    if not any(row.get(corner) for corner in CORNERS):
        return None
    x0, y0, x1, y1 = (number(row.get(corner), corner) for corner in CORNERS)
    if x1 <= x0 or y1 <= y0:
        raise DatasetError(f"the box {x0:g}, {y0:g}, {x1:g}, {y1:g} has no area")
    return x0, y0, x1, y1
