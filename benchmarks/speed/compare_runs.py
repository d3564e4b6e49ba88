"""What changed between two runs of ``emonet bench``, beyond the noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emonet_deploy.benchmarks.speed.bench import BenchRow
from emonet_deploy.benchmarks.speed.table import label
from emonet_deploy.emonet_ref.storage.bounded_json import parse_json
from emonet_deploy.emonet_ref.storage.path_access import read_text, why
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.output.table_formats import Table

__all__ = ["Change", "change_table", "changes_since"]

_MAX_BYTES: Final = 64 << 20
_IDENTITY: Final = ("backend", "provider", "precision", "target", "threads", "batch")


@dataclass(frozen=True)
class Change:
    """One row against its counterpart in the older run.

    Attributes:
        row: as measured now.
        before: speed-up over the reference in the older run.
        noise: share by which speed-ups may differ by chance, from both runs' percentiles.
    """

    row: BenchRow
    before: float
    noise: float

    @property
    def ratio(self) -> float:
        """Speed-up now over speed-up then; above 1 is faster."""
        return self.row.speedup / self.before

    @property
    def real(self) -> bool:
        """Whether the change is larger than the noise."""
        return abs(self.ratio - 1) > self.noise


def changes_since(old: Path, rows: Sequence[BenchRow]) -> list[Change]:
    """Return each row that the older run has too, with what became of it.

    Speed-ups over the reference are compared, not times: the reference is timed in turns with
    the others in each run, so that a slower machine slows both. The noise of a row is taken to be
    the width from its median to its 90th percentile, shrunk by the root of its number of calls.

    Raises:
        InputError: the older file cannot be read, or is not of ``emonet bench``.
    """
    try:
        found = parse_json(read_text(old, _MAX_BYTES))["rows"]
        before = {tuple(row.get(key) for key in _IDENTITY): row for row in found}
        changes = []
        for row in rows:
            then = before.get(tuple(getattr(row, key) for key in _IDENTITY))
            if then is not None:
                noise = _noise(then) + _noise(row.to_dict())
                changes.append(Change(row, float(then["speedup"]), noise))
        return changes
    except OSError as error:
        raise InputError(f"cannot read {old}: {why(error)}; check --compare") from error
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise InputError(f"{old} is not a JSON result of `emonet bench`") from error


def change_table(changes: Sequence[Change]) -> Table:
    """Return a line for each change; then and now are speed-ups."""
    cells = [
        (
            label(change.row),
            change.row.precision,
            str(change.row.batch),
            f"{change.before:.2f}",
            f"{change.row.speedup:.2f}",
            f"{change.noise:.1%}",
            ("faster" if change.ratio > 1 else "slower") if change.real else "same",
        )
        for change in changes
    ]
    return Table(("engine", "precision", "batch", "then", "now", "noise", "verdict"), cells)


def _noise(row: Mapping[str, Any]) -> float:
    # 1.28 standard deviations lie between median and 90th percentile; twice the standard error.
    spread = (row["p90_ms"] / row["p50_ms"] - 1) / 1.28
    return float(2 * spread / row["n"] ** 0.5)
