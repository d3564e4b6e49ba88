"""Predictions on disk, one row per sample, so that an interrupted run goes on where it stopped.

Rows are appended to a CSV file as they are made. ``<file>.json`` beside it says what they were
made with: rows of another model, data set or protocol are never continued. A Parquet file is
written from ``<file>.partial.csv`` when the run is complete.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.datasets.base import Dataset
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.emonet_ref.storage.files import atomic_write
from emonet_deploy.errors import InputError

__all__ = ["COLUMNS", "PredictionFile"]

COLUMNS: Final = (
    "sample",
    "path",
    "expression_true",
    "expression",
    "valence_true",
    "valence",
    "arousal_true",
    "arousal",
)
"""``sample`` is the number in the data set; classes are the model's, empty where none is known."""
_BYTES: Final = "surrogateescape"  # Names of files that are no UTF-8 are written as their bytes.


class PredictionFile:
    """A file of predictions, open from ``with`` to its end; after success it is complete.

    Attributes:
        numbers: which samples it held when it was opened.
        values: their class, valence and arousal, N x 3.
    """

    def __init__(
        self, path: str | PathLike[str], dataset: Dataset, settings: Mapping[str, Any]
    ) -> None:
        """Read what is there already.

        Args:
            path: ends in ``.csv`` or ``.parquet``.
            dataset: what the rows are of.
            settings: what else decides the predictions, as JSON values: weights, flip ...

        Raises:
            InputError: another ending, rows made with other settings, or a damaged file.
            MissingDependencyError: Parquet needs pyarrow.
        """
        self.path = Path(path)
        self._dataset = dataset
        self._settings = {**settings, "dataset": dataset.fingerprint()}
        self._parquet = self.path.suffix.lower() == ".parquet"
        if not self._parquet and self.path.suffix.lower() != ".csv":
            raise InputError(f"{path}: predictions are written as .csv or .parquet; name it so")
        if self._parquet:
            with needs("eval", "write Parquet"):
                import pyarrow.parquet  # noqa: F401 - asked for before the long run, not after it
        self._rows = Path(f"{self.path}.partial.csv") if self._parquet else self.path
        self._sidecar = Path(f"{self.path}.json")
        try:
            self.numbers, self.values = self._resume()
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        text = json.dumps(self._settings, indent=2) + "\n"
        with atomic_write(self._sidecar) as temporary:
            temporary.write_text(text, encoding="utf-8")
        with atomic_write(self._rows) as temporary:
            # Written anew: the end of the old file may be half a row.
            rows = self._lines(self.numbers.tolist(), self.values, header=True)
            temporary.write_text(rows, encoding="utf-8", errors=_BYTES, newline="")
        self._file = self._rows.open("a", encoding="utf-8", errors=_BYTES, newline="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None and self._parquet:
            self._write_parquet()

    def append(self, numbers: Sequence[int], values: NDArray[np.float64]) -> None:
        """Add rows: sample numbers, and class, valence and arousal of each, N x 3."""
        try:
            self._file.write(self._lines(numbers, values))
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"cannot write {self._rows}: {error.strerror}; free some space and run again, "
                "nothing is lost"
            ) from error

    def _lines(
        self, numbers: Sequence[int], values: NDArray[np.float64], header: bool = False
    ) -> str:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        if header:
            writer.writerow(COLUMNS)
        for number, (expression, valence, arousal) in zip(numbers, values.tolist(), strict=True):
            truth = self._dataset.samples[number]
            known = "" if truth.expression == NO_EXPRESSION else truth.expression
            # Python writes floats so that reading gives the same bits back.
            row = (known, int(expression), truth.valence, valence, truth.arousal, arousal)
            writer.writerow((number, truth.path, *row))
        return text.getvalue()

    def _resume(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        found = [path for path in (self._rows, self.path) if path.exists()]
        if not found:
            return np.empty(0, np.int64), np.empty((0, 3))
        self._check_settings()
        read = _read_parquet if found[0].suffix.lower() == ".parquet" else _read_csv
        try:
            columns = read(found[0])
            numbers = np.array(columns["sample"], np.int64)
            values = np.column_stack(
                [
                    np.array(columns[name], np.float64)
                    for name in ("expression", "valence", "arousal")
                ]
            )
            samples = self._dataset.samples
            fitting = (
                len(np.unique(numbers)) == len(numbers)
                and bool(np.isfinite(values).all())
                and all(
                    0 <= number < len(samples) and samples[number].path == path
                    for number, path in zip(numbers.tolist(), columns["path"], strict=True)
                )
            )
        except (KeyError, ValueError, csv.Error) as error:
            raise self._damaged() from error
        if not fitting:
            raise self._damaged()
        return numbers, values.reshape(-1, 3)

    def _check_settings(self) -> None:
        try:
            before = json.loads(self._sidecar.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path} exists without the record {self._sidecar.name} that lets a run go "
                "on; name another file"
            ) from error
        keys = sorted(before.keys() | self._settings.keys())
        changed = [key for key in keys if before.get(key) != self._settings.get(key)]
        if changed:
            raise InputError(
                f"{self.path} holds predictions made with another {', '.join(changed)}; name "
                "another file, or delete it to start anew"
            )

    def _damaged(self) -> InputError:
        return InputError(f"{self.path} is damaged; delete it and its .json to start anew")

    def _write_parquet(self) -> None:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv
        from pyarrow import parquet

        types = {name: pa.float64() for name in COLUMNS} | {"path": pa.string()}
        types |= dict.fromkeys(("sample", "expression_true", "expression"), pa.int64())
        options = arrow_csv.ConvertOptions(column_types=types)
        parsing = arrow_csv.ParseOptions(newlines_in_values=True)
        # Files, not names: pyarrow takes no name that is not UTF-8.
        with self._rows.open("rb") as rows:
            table = arrow_csv.read_csv(rows, parse_options=parsing, convert_options=options)
        with atomic_write(self.path) as temporary, temporary.open("wb") as file:
            parquet.write_table(table.sort_by("sample"), file)
        self._rows.unlink()


def _read_csv(path: Path) -> dict[str, list[Any]]:
    # A run that was killed may have left half a row.
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    rows = list(csv.reader(io.StringIO(whole.decode("utf-8", _BYTES), newline=""), strict=True))
    if tuple(rows[:1]) != (list(COLUMNS),):
        raise ValueError
    columns = zip(*rows[1:], strict=True) if rows[1:] else ([] for _ in COLUMNS)
    return dict(zip(COLUMNS, map(list, columns), strict=True))


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    from pyarrow import parquet

    with path.open("rb") as file:
        columns: dict[str, list[Any]] = parquet.read_table(file).to_pydict()
    return columns
