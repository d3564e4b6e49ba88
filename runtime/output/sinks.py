"""What takes results while they come: the seam of all outputs, and those that are data files."""

import csv
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from emonet_deploy.emonet_ref.constants import NUM_LANDMARKS
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.storage.path_encoding import csv_path, readable
from emonet_deploy.runtime.pipeline.pipeline import FaceResult, FrameResult

__all__ = [
    "CsvSink",
    "JsonLinesSink",
    "JsonSink",
    "ParquetSink",
    "Sink",
    "face_rows",
    "face_values",
]

_PARQUET_GROUP = 4096  # Rows held in memory before they are written.

Row = dict[str, Any]
_NOTHING: Row = dict.fromkeys(
    ("face", "box", "score", "expression", "probabilities", "valence", "arousal", "landmarks")
)


class Sink(ABC):
    """Takes results in order; its files get their names when the ``with`` block succeeds.

    ::

        with CsvSink("faces.csv", classes) as sink:
            for result in pipeline.run(frames):
                sink.append(result)
    """

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            with self._stack:  # What fails to finish is not kept.
                self._finish()
        else:
            self._stack.__exit__(kind, error, traceback)

    @abstractmethod
    def append(self, result: FrameResult) -> None:
        """Take in a result.

        Raises:
            InputError: it cannot be written, or does not belong here.
        """

    def _open(self, stack: ExitStack) -> None:  # noqa: B027 - not every sink opens something
        """Open what is written to, so that ``stack`` closes it."""

    def _finish(self) -> None:  # noqa: B027 - or has something left
        """Write what is left, when all results were taken in."""


class _RowSink(Sink):
    """A file of rows, one per face."""

    def __init__(self, path: str | os.PathLike[str], *, landmarks: bool = False) -> None:
        """Name the file; with ``landmarks`` rows hold the 68 points too."""
        self._path, self._landmarks = Path(path), landmarks

    def append(self, result: FrameResult) -> None:
        """Write the rows of a result."""
        for row in face_rows(result, landmarks=self._landmarks):
            self._write(row)

    @abstractmethod
    def _write(self, row: Row) -> None: ...

    def _text(self, stack: ExitStack) -> TextIO:
        temporary = stack.enter_context(atomic_write(self._path))
        return stack.enter_context(open(temporary, "w", encoding="utf-8", newline=""))


class JsonLinesSink(_RowSink):
    """A line of JSON per face, on disk as soon as it is known."""

    def _open(self, stack: ExitStack) -> None:
        self._file = self._text(stack)

    def _write(self, row: Row) -> None:
        self._file.write(_json(row) + "\n")
        self._file.flush()


class JsonSink(_RowSink):
    """A JSON list of all faces."""

    def _open(self, stack: ExitStack) -> None:
        self._file = self._text(stack)
        self._before = "[\n"

    def _write(self, row: Row) -> None:
        self._file.write(self._before + _json(row))
        self._before = ",\n"

    def _finish(self) -> None:
        self._file.write("[]\n" if self._before == "[\n" else "\n]\n")


class CsvSink(_RowSink):
    """A CSV table; lists are spread over columns: x0 ... y1, p_<class>, x_0, y_0, s_0 ..."""

    def __init__(
        self, path: str | os.PathLike[str], classes: Sequence[str], *, landmarks: bool = False
    ) -> None:
        """Name the file and the classes, in the model's order."""
        super().__init__(path, landmarks=landmarks)
        self._columns = _columns(classes, landmarks=landmarks)

    def _open(self, stack: ExitStack) -> None:
        self._table = csv.DictWriter(self._text(stack), self._columns, extrasaction="ignore")
        self._table.writeheader()

    def _write(self, row: Row) -> None:
        self._table.writerow(_flat(row) | {"file": csv_path(row["file"])})


class ParquetSink(_RowSink):
    """A Parquet table with the columns of the CSV one."""

    def __init__(
        self, path: str | os.PathLike[str], classes: Sequence[str], *, landmarks: bool = False
    ) -> None:
        """Name the file and the classes, in the model's order.

        Raises:
            MissingDependencyError: pyarrow is not installed.
        """
        super().__init__(path, landmarks=landmarks)
        with needs("eval", "write Parquet files"):
            import pyarrow
            import pyarrow.parquet
        self._arrow = pyarrow
        kinds = {"file": pyarrow.string(), "expression": pyarrow.string()}
        kinds |= {"frame": pyarrow.int64(), "face": pyarrow.int64()}
        columns = _columns(classes, landmarks=landmarks)
        self._schema = pyarrow.schema([(n, kinds.get(n, pyarrow.float64())) for n in columns])

    def _open(self, stack: ExitStack) -> None:
        temporary = stack.enter_context(atomic_write(self._path))
        # Opened here: pyarrow takes no name that is not UTF-8.
        file = stack.enter_context(temporary.open("wb"))
        writer = self._arrow.parquet.ParquetWriter(file, self._schema)
        self._file = stack.enter_context(writer)
        self._waiting: list[Row] = []

    def _write(self, row: Row) -> None:
        self._waiting.append(_flat(row))
        if len(self._waiting) >= _PARQUET_GROUP:
            self._finish()

    def _finish(self) -> None:
        self._file.write_table(self._arrow.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting.clear()


def face_rows(result: FrameResult, *, landmarks: bool = False) -> Iterator[Row]:
    """Yield one row per face of a frame, or one row without a face, so that no frame is missing.

    Keys: ``file`` (see ``readable``), ``frame`` (from 0), ``time`` (seconds, None for a still
    picture), ``face`` (identity; it and all that follow are None without a face), ``box`` (left,
    top, right, bottom in pixels), ``score``, ``expression``, ``probabilities`` (by class name),
    ``valence``, ``arousal`` and, on request, ``landmarks`` (68 times x, y in pixels of the frame,
    score).
    """
    frame = result.frame
    time = None if frame.time is None else round(frame.time, 6)
    where = {"file": readable(frame.source), "frame": frame.index, "time": time}
    for face in result.faces or (None,):
        values = _NOTHING if face is None else face_values(face)
        yield where | {key: values[key] for key in values if landmarks or key != "landmarks"}


def face_values(face: FaceResult) -> Row:
    """Return what is said of a face; keys, units and rounding are those of ``face_rows``."""
    said = face.prediction
    return {
        "face": face.identity,
        "box": [round(side, 2) for side in face.box],
        "score": round(face.score, 4),
        "expression": said.expression,
        "probabilities": {name: round(p, 6) for name, p in said.probabilities.items()},
        "valence": round(said.valence, 6),
        "arousal": round(said.arousal, 6),
        "landmarks": said.landmarks.astype(float).round(2).tolist(),
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
    flat = dict(row)
    box, probabilities, points = (
        flat.pop(name, None) for name in ("box", "probabilities", "landmarks")
    )
    flat |= dict(zip(("x0", "y0", "x1", "y1"), box or (), strict=False))
    flat |= {f"p_{name}": p for name, p in (probabilities or {}).items()}
    for i, point in enumerate(points or ()):
        flat |= {f"{part}_{i}": value for part, value in zip("xys", point, strict=True)}
    return flat
