"""What an id of a run stands for: a file, or a part of a clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Listed", "Part", "list_table"]


@dataclass(frozen=True)
class Part:
    """A file, or a stretch of a clip.

    Attributes:
        file: name or address.
        start: seconds of the clip from which it is read; None for a file that is read whole.
        stop: seconds before which it is read; None for all that is left.
        fresh: the second from which its frames count: those before are of the part before too.
    """

    file: str
    start: float | None = None
    stop: float | None = None
    fresh: float = 0.0

    @property
    def span(self) -> tuple[float, float]:
        """The seconds between which it is read."""
        return self.start or 0.0, inf if self.stop is None else self.stop


def list_table(parts: Sequence[str | Part]) -> pa.Table:
    """Return parts as a list with an id for each; the columns of seconds only where needed.

    Args:
        parts: files by their names, or parts, those of a file one after the other.
    """
    known = [part if isinstance(part, Part) else Part(part) for part in parts]
    columns: dict[str, pa.Array] = {
        "id": pa.array(range(len(known)), pa.int64()),
        "file": pa.array([part.file for part in known], pa.string()),
    }
    if any(isinstance(part, Part) for part in parts):
        columns["start"] = pa.array([part.start for part in known], pa.float64())
        columns["stop"] = pa.array([part.stop for part in known], pa.float64())
    return pa.table(columns)


@dataclass(frozen=True)
class Listed:
    """The list of a run; see ``list_table``."""

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, number: int) -> Part:
        """Return what an id stands for."""
        start, stop = self._seconds("start", number), self._seconds("stop", number)
        fresh = self._seconds("stop", number - 1) if start else None
        return Part(self.table.column("file")[number].as_py(), start, stop, fresh or 0.0)

    @property
    def file_count(self) -> int:
        """How many files its ids stand for."""
        return int(np.count_nonzero(~(self._starts() > 0)))

    def cut_clips(self) -> Iterator[range]:
        """Yield the ids of each clip that has several parts."""
        starts = self._starts()
        begins = np.append(np.flatnonzero(~(starts > 0)), len(self))
        for place in np.flatnonzero(np.diff(begins) > 1).tolist():
            yield range(int(begins[place]), int(begins[place + 1]))

    def _starts(self) -> NDArray[np.float64]:
        """Return where each part starts, NaN for whole files."""
        if "start" not in self.table.column_names:
            return np.full(len(self), np.nan)
        return np.asarray(self.table.column("start").to_numpy(), np.float64)

    def _seconds(self, name: str, number: int) -> float | None:
        if name not in self.table.column_names:
            return None
        value: float | None = self.table.column(name)[number].as_py()
        return value
