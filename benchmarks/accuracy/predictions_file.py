"""Predictions on disk, one row per sample, so that an interrupted run goes on where it stopped.

Rows are appended to a CSV file as they are made. ``<file>.json`` beside it says what they were
made with: rows of another model, data set or protocol are never continued. A Parquet file is
written from ``<file>.partial.csv`` when the run is complete.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.datasets.base import Dataset, shown
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write, exclusive, require_writable
from emonet_deploy.emonet_ref.storage.bounded_json import parse_json
from emonet_deploy.emonet_ref.storage.path_access import (
    exists,
    read_bytes,
    read_text,
    why,
)
from emonet_deploy.emonet_ref.storage.path_encoding import csv_path
from emonet_deploy.errors import InputError

__all__ = ["COLUMNS", "PredictionFile"]

_MAX_SETTINGS: Final = 1 << 20
_MAX_ROWS: Final = 1 << 30
_LISTED: Final = 5

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
        require_writable(self._rows)
        with exclusive(self._rows):
            self.numbers, self.values = self._resume()
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(exclusive(self._rows))
            self._begin()
            self._held = stack.pop_all()
        return self

    def _begin(self) -> None:
        # Once more: another process may have gone on since.
        self.numbers, self.values = self._resume()
        text = json.dumps(self._settings, indent=2) + "\n"
        with atomic_write(self._sidecar) as temporary:
            temporary.write_text(text, encoding="utf-8")
        with atomic_write(self._rows) as temporary:
            # Written anew: the end of the old file may be half a row.
            rows = self._lines(self.numbers.tolist(), self.values, header=True)
            temporary.write_text(rows, encoding="utf-8", errors=_BYTES, newline="")
        try:
            self._file = self._rows.open("a", encoding="utf-8", errors=_BYTES, newline="")
        except OSError as error:
            raise InputError(f"cannot write {self._rows}: {why(error)}") from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._held:
            try:
                self._file.close()
            except OSError as failure:
                raise self._full(failure) from failure
            if kind is None and self._parquet:
                self._write_parquet()

    def append(self, numbers: Sequence[int], values: NDArray[np.float64]) -> None:
        """Add rows: sample numbers, and class, valence and arousal of each, N x 3."""
        try:
            self._file.write(self._lines(numbers, values))
            self._file.flush()
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> InputError:
        return InputError(
            f"cannot write {self._rows}: {why(error)}; free some space and run again, nothing is"
            " lost"
        )

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
            writer.writerow((number, csv_path(truth.path), *row))
        return text.getvalue()

    def _resume(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        found = [path for path in (self._rows, self.path) if exists(path)]
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
            ).reshape(-1, 3)
            fitting = len(np.unique(numbers)) == len(numbers) and self._fit(
                numbers, columns["path"], values
            )
        except OSError as error:
            raise InputError(f"cannot read {found[0]}: {why(error)}") from error
        except (KeyError, ValueError, TypeError, OverflowError, csv.Error) as error:
            raise self._damaged() from error
        if not fitting:
            raise self._damaged()
        return numbers, values

    def _fit(
        self, numbers: NDArray[np.int64], paths: Sequence[str], values: NDArray[np.float64]
    ) -> bool:
        """Tell whether rows are of the data set's samples and could be a model's."""
        samples = self._dataset.samples
        known = all(
            0 <= number < len(samples) and csv_path(samples[number].path) == path
            for number, path in zip(numbers.tolist(), paths, strict=True)
        )
        expressions, emotions = values[:, 0], values[:, 1:]
        classes = np.isin(expressions, np.arange(self._dataset.nclass))
        return known and bool(classes.all()) and bool((np.abs(emotions) <= 1).all())

    def _check_settings(self) -> None:
        try:
            before = parse_json(read_text(self._sidecar, _MAX_SETTINGS))
            if not isinstance(before, dict):
                raise ValueError("it is no set of settings")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path} exists without the record {self._sidecar.name} that lets a run go "
                "on; name another file"
            ) from error
        keys = sorted(before.keys() | self._settings.keys())
        changed = [key for key in keys if before.get(key) != self._settings.get(key)]
        if changed:
            names = [key if key.isidentifier() else shown(key) for key in changed]
            raise InputError(
                f"{self.path} holds predictions made with another {', '.join(names[:_LISTED])}; "
                "name another file, or delete it to start anew"
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
    whole, _, _ = read_bytes(path, _MAX_ROWS).rpartition(b"\n")
    rows = list(csv.reader(io.StringIO(whole.decode("utf-8", _BYTES), newline=""), strict=True))
    if tuple(rows[:1]) != (list(COLUMNS),):
        raise ValueError
    columns = zip(*rows[1:], strict=True) if rows[1:] else ([] for _ in COLUMNS)
    return dict(zip(COLUMNS, map(list, columns), strict=True))


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(pa.BufferReader(read_bytes(path, _MAX_ROWS)))
        columns: dict[str, list[Any]] = table.to_pydict()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    return columns
