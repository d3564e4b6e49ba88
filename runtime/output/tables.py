"""Results as data: one row per face, written while they come."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from emonet_deploy.emonet_ref.constants import NUM_LANDMARKS
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.emonet_ref.storage.files import atomic_write
from emonet_deploy.runtime.pipeline.pipeline import FaceResult, FrameResult

__all__ = [
    "Write",
    "face_rows",
    "write_csv_rows",
    "write_json_rows",
    "write_jsonl_rows",
    "write_parquet_rows",
]

Row = dict[str, Any]
Write = Callable[[Row], None]
Path = str | os.PathLike[str]

_ESCAPED = "backslashreplace"
"""For bytes of a file's name that are not UTF-8; in JSON it gives JSON's own escape for them."""

_PARQUET_GROUP = 4096  # Rows held in memory before they are written.


def face_rows(result: FrameResult, *, landmarks: bool = False) -> Iterator[Row]:
    """Yield one row per face of a frame, or one row without a face, so that no frame is missing.

    Keys: ``file``, ``frame`` (from 0), ``time`` (seconds, None for a still picture), ``face``
    (identity; it and all that follow are None without a face), ``box`` (left, top, right, bottom in
    pixels), ``score``, ``expression``, ``probabilities`` (by class name), ``valence``, ``arousal``
    and, on request, ``landmarks`` (68 times x, y in pixels of the frame, score).
    """
    frame = result.frame
    time = None if frame.time is None else round(frame.time, 6)
    where = {"file": frame.source, "frame": frame.index, "time": time}
    for face in result.faces or (None,):
        row = where | _values(face)
        if landmarks:
            points = None if face is None else face.prediction.landmarks.round(2).tolist()
            row["landmarks"] = points
        yield row


@contextmanager
def write_jsonl_rows(path: Path) -> Iterator[Write]:
    """Yield a function that appends a row as a line of JSON."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors=_ESCAPED) as file,
    ):

        def write(row: Row) -> None:
            file.write(_json(row) + "\n")
            file.flush()

        yield write


@contextmanager
def write_json_rows(path: Path) -> Iterator[Write]:
    """Yield a function that appends a row to a JSON list."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors=_ESCAPED) as file,
    ):
        between = "[\n"

        def write(row: Row) -> None:
            nonlocal between
            file.write(between + _json(row))
            between = ",\n"

        yield write
        file.write("\n]\n" if between != "[\n" else "[]\n")


@contextmanager
def write_csv_rows(
    path: Path, classes: Sequence[str], *, landmarks: bool = False
) -> Iterator[Write]:
    """Yield a function that appends a row to a CSV table; see ``_flat`` for its columns."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        columns = _columns(classes, landmarks=landmarks)
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        yield lambda row: writer.writerow(_flat(row))


@contextmanager
def write_parquet_rows(
    path: Path, classes: Sequence[str], *, landmarks: bool = False
) -> Iterator[Write]:
    """Yield a function that appends a row to a Parquet table with the columns of the CSV one.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    with needs("eval", "write Parquet files"):
        import pyarrow
        import pyarrow.parquet

    kinds = {"file": pyarrow.string(), "expression": pyarrow.string()}
    kinds |= {"frame": pyarrow.int64(), "face": pyarrow.int64()}
    schema = pyarrow.schema(
        [
            (name, kinds.get(name, pyarrow.float64()))
            for name in _columns(classes, landmarks=landmarks)
        ]
    )
    waiting: list[Row] = []
    with atomic_write(path) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema) as file:

        def write(row: Row) -> None:
            waiting.append(_flat(row))
            if len(waiting) >= _PARQUET_GROUP:
                write_group()

        def write_group() -> None:
            file.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))
            waiting.clear()

        yield write
        write_group()


def _values(face: FaceResult | None) -> Row:
    if face is None:
        keys = ("face", "box", "score", "expression", "probabilities", "valence", "arousal")
        return dict.fromkeys(keys)
    said = face.prediction
    return {
        "face": face.identity,
        "box": [round(side, 2) for side in face.box],
        "score": round(face.score, 4),
        "expression": said.expression,
        "probabilities": {name: round(p, 6) for name, p in said.probabilities.items()},
        "valence": round(said.valence, 6),
        "arousal": round(said.arousal, 6),
    }


def _json(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def _columns(classes: Sequence[str], *, landmarks: bool) -> list[str]:
    names = ["file", "frame", "time", "face", "x0", "y0", "x1", "y1", "score", "expression"]
    names += ["valence", "arousal", *(f"p_{name}" for name in classes)]
    if landmarks:
        names += [f"{part}_{i}" for i in range(NUM_LANDMARKS) for part in ("x", "y", "s")]
    return names


def _flat(row: Row) -> Row:
    """Spread lists and dictionaries over columns: x0 ... y1, p_<class>, x_0, y_0, s_0 ..."""
    flat = dict(row)
    flat["file"] = row["file"].encode("utf-8", _ESCAPED).decode()
    box, probabilities, points = (
        flat.pop(name, None) for name in ("box", "probabilities", "landmarks")
    )
    flat |= dict(zip(("x0", "y0", "x1", "y1"), box or (), strict=False))
    flat |= {f"p_{name}": p for name, p in (probabilities or {}).items()}
    for i, point in enumerate(points or ()):
        flat |= {f"{part}_{i}": value for part, value in zip("xys", point, strict=True)}
    return flat
