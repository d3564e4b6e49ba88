"""Any data set as a CSV table, as people write them.

Columns, in any order: ``path``, ``valence``, ``arousal`` in [-1, 1], ``expression`` (AffectNet's
number 0 to 10 or a name; empty or absent where a data set has none, as AFEW-VA), and ``x0``,
``y0``, ``x1``, ``y1``, the least box around the landmarks in pixels (empty or absent where the
pictures are face crops already), or ``facial_landmarks`` (``x;y;x;y;...``) instead. Other common
names of these columns are known, further columns ignored. Commas, semicolons or tabs lie between
them; the text is UTF-8, or UTF-16 with its mark at the start. Paths start from the table's folder.

AffectNet's own tables of 2017 (``subDirectory_filePath``, ``facial_landmarks``) are read as they
are, where the pictures lie beside the table or in ``Manually_Annotated_Images``.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Final, TextIO

from emonet_deploy.benchmarks.datasets.base import (
    CLASS_OF,
    Dataset,
    LeftOut,
    Sample,
    number,
    path_guard,
    shown,
    unit_number,
)
from emonet_deploy.benchmarks.datasets.expressions import UNKNOWN, expression_number
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.emonet_ref.storage.path_access import (
    exists,
    open_file,
    why,
)
from emonet_deploy.errors import DatasetError, InputError
from emonet_deploy.runtime.pipeline.preprocess import landmark_box

__all__ = ["read_table"]

MAX_LINE: Final = 1 << 20
DELIMITERS: Final = ",;\t|"
MISSING: Final = (-2.0, -5.0)
"""What AffectNet and Aff-Wild2 write where there is no valence or arousal."""

_NAMES: Final[Mapping[str, str]] = {
    other: name
    for name, others in {
        "path": "path file filename file_name filepath file_path image image_path img picture "
        "subdirectory_filepath",
        "expression": "expression expr emotion label class exp",
        "valence": "valence val v",
        "arousal": "arousal aro a",
        "landmarks": "facial_landmarks landmarks lnd",
        "x0": "x0 xmin x_min left",
        "y0": "y0 ymin y_min top",
        "x1": "x1 xmax x_max right x2",
        "y1": "y1 ymax y_max bottom y2",
    }.items()
    for other in others.split()
}
_CORNERS: Final = ("x0", "y0", "x1", "y1")
_PICTURES: Final = (
    ".",
    "Manually_Annotated_Images",
    "Manually_Annotated/Manually_Annotated_Images",
    "../Manually_Annotated_Images",
    "../Manually_Annotated/Manually_Annotated_Images",
)

Row = Mapping[str, str]


def read_table(path: str | PathLike[str], nclass: int = 8) -> Dataset:
    """Read a table of samples.

    All rows are kept but those of an expression the model does not know (fear, disgust and
    contempt for 5 classes; 8 to 10, and their names, which are no emotion) and those marked to have
    no valence and arousal (-2, -5): the paper's cleaning is for AffectNet only. What is left out
    is counted. No picture is opened.

    Raises:
        DatasetError: no such table, a column is missing (the message says which there are), a
            value is impossible (the message names the line), or no row is left.
    """
    table = Path(path)
    samples: list[Sample] = []
    left_out: Counter[str] = Counter()
    pictures = inside = None
    try:
        with _open(table) as file:
            header = _line(file)
            delimiter = _delimiter(header)
            rows = csv.reader(
                chain([header], iter(partial(_line, file), "")), delimiter=delimiter, strict=True
            )
            columns = _columns(next(rows, []), table)
            for line in rows:
                if not line:
                    continue
                row = {name: line[at].strip() for name, at in columns.items() if at < len(line)}
                path = row.get("path", "")
                if inside is None:
                    pictures = _pictures(table.parent, path)
                    inside = path_guard(pictures)
                try:
                    samples.append(_sample(row, inside(path), nclass, delimiter))
                except LeftOut as reason:
                    left_out[str(reason)] += 1
                except (DatasetError, InputError) as error:
                    raise DatasetError(f"{table}, line {rows.line_num}: {error}") from error
    except OSError as error:
        raise DatasetError(f"cannot read {table}: {why(error)}; check --data") from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{table} is no text in UTF-8, or UTF-16 with its mark ({error.reason}); save it as one"
        ) from error
    except csv.Error as error:
        raise DatasetError(f"{table} is no CSV table: {error}; check its quotes") from error
    return Dataset(table.name, pictures or table.parent, nclass, tuple(samples), left_out)


def _open(table: Path) -> TextIO:
    file = open_file(table)
    wide = file.peek(2)[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
    return io.TextIOWrapper(file, encoding="utf-16" if wide else "utf-8-sig", newline="")


def _line(file: TextIO) -> str:
    line = file.readline(MAX_LINE)
    if len(line) == MAX_LINE:
        raise csv.Error(f"a line has more than {MAX_LINE} characters")
    return line


def _delimiter(header: str) -> str:
    return max(DELIMITERS, key=lambda mark: sum(_known(x) is not None for x in header.split(mark)))


def _known(column: str) -> str | None:
    word = re.sub(r"[\s-]+", "_", column.strip().strip('"').strip().lower())
    return _NAMES.get(word)


def _columns(header: Sequence[str], table: Path) -> dict[str, int]:
    """Return where each column that is read stands."""
    found: dict[str, int] = {}
    # Where the corners are called 1 and 2, x1 is the left one.
    names = {name.strip().lower(): ["x0", "y0"][at] for at, name in enumerate(("x1", "y1"))}
    from_one = {"x2", "y2"} <= {name.strip().lower() for name in header}
    for at, name in enumerate(header):
        known = names.get(name.strip().lower()) if from_one else None
        known = known or _known(name)
        if known is not None and known in found:
            raise DatasetError(
                f"{table} has two columns for {known}: {shown(header[found[known]])} and "
                f"{shown(name)}; rename the one that is not meant"
            )
        if known is not None:
            found[known] = at
    missing = sorted({"path", "valence", "arousal"} - found.keys())
    if missing:
        there = ", ".join(shown(name) for name in header[:20]) or "empty"
        raise DatasetError(f"{table} lacks the columns {', '.join(missing)}; its header is {there}")
    return found


def _pictures(folder: Path, path: str) -> Path:
    """Return the folder from which a table's first path leads to something, else the table's."""
    relative = path.replace("\\", "/")
    for name in _PICTURES:
        if relative and "\0" not in path and exists(folder / name / relative):
            return folder if name == "." else folder / name
    return folder


def _sample(row: Row, path: str, nclass: int, delimiter: str) -> Sample:
    if not row.get("path"):
        raise DatasetError("path is empty")
    expression = expression_number(row.get("expression", ""))
    if expression is not None and expression in UNKNOWN:
        raise LeftOut(f"labelled as {UNKNOWN[expression]}")
    if expression is not None and expression not in CLASS_OF[nclass]:
        raise LeftOut("of an expression that the model does not know")
    values = {name: _plain(row.get(name), delimiter) for name in ("valence", "arousal")}
    numbers = [number(value, name) for name, value in values.items()]
    if any(value in MISSING for value in numbers):
        raise LeftOut("without valence and arousal (-2 or -5)")
    valence, arousal = (unit_number(value, name) for name, value in values.items())
    known = NO_EXPRESSION if expression is None else CLASS_OF[nclass][expression]
    return Sample(path, known, valence, arousal, _box(row, delimiter))


def _plain(text: str | None, delimiter: str) -> str | None:
    """Return a number as Python reads it; it may have a comma where none separates columns."""
    if text is not None and delimiter != "," and re.fullmatch(r"[-+]?\d*,\d+", text):
        return text.replace(",", ".")
    return text


def _box(row: Row, delimiter: str) -> tuple[float, float, float, float] | None:
    if any(row.get(corner) for corner in _CORNERS):
        x0, y0, x1, y1 = (number(_plain(row.get(c), delimiter), c) for c in _CORNERS)
    elif row.get("landmarks"):
        values = [number(x, "facial_landmarks") for x in row["landmarks"].split(";") if x.strip()]
        if len(values) % 2:
            raise DatasetError("facial_landmarks has an odd number of values")
        x0, y0, x1, y1 = landmark_box(list(zip(values[::2], values[1::2], strict=True))).tolist()
    else:
        return None
    if x1 <= x0 or y1 <= y0:
        raise DatasetError(
            f"the box {x0:g}, {y0:g}, {x1:g}, {y1:g} has no area; x1 and y1 are its right and lower"
            " edge, not its size"
        )
    return x0, y0, x1, y1
