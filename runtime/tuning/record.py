"""What ``emonet tune`` measured, as a file beside the artifacts: ``emonet_8.tune.json``."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from emonet_deploy import __version__
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.storage.bounded_json import parse_json
from emonet_deploy.emonet_ref.storage.path_access import read_text, why
from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.choices import Optimize
from emonet_deploy.runtime.tuning.configuration import Configuration, Measured
from emonet_deploy.runtime.tuning.machine import Machine

__all__ = ["TuningRecord", "read_record", "record_path", "write_record"]

_MAX_RECORD: Final = 1 << 20
_TIMES: Final = {"p25_ms": float, "p50_ms": float, "n": int, "final": bool, "date": str}


@dataclass(frozen=True)
class TuningRecord:
    """What was measured on one machine with one checkpoint.

    Attributes:
        nclass: of the checkpoint.
        checkpoint: its identity, as a ``ModelInfo`` has it.
        machine: where it was measured.
        rows: all that was measured.
        choice: for each purpose the row that is used.
        toolkit: which version wrote it.
    """

    nclass: int
    checkpoint: str
    machine: Machine
    rows: tuple[Measured, ...]
    choice: Mapping[Optimize, Measured] = field(default_factory=dict)
    toolkit: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON; a row has the fields of its configuration and its times."""
        return {
            "nclass": self.nclass,
            "checkpoint": self.checkpoint,
            "toolkit": self.toolkit,
            "machine": asdict(self.machine),
            "choice": {purpose: _to_dict(row) for purpose, row in self.choice.items()},
            "rows": [_to_dict(row) for row in self.rows],
        }


def record_path(folder: Path, nclass: int) -> Path:
    """Return where the record of a folder of artifacts lies."""
    return folder / f"emonet_{nclass}.tune.json"


def read_record(path: Path) -> TuningRecord | None:
    """Read a record; None when there is no such file.

    Raises:
        ArtifactError: it cannot be read, or is no such record.
    """
    try:
        text = read_text(path, _MAX_RECORD)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {why(error)}") from error
    try:
        raw = parse_json(text)
        machine = raw["machine"]
        return TuningRecord(
            nclass=_of(raw, "nclass", int),
            checkpoint=_of(raw, "checkpoint", str),
            machine=Machine(
                _of(machine, "cpu", str),
                tuple(str(name) for name in machine["instructions"]),
                _of(machine, "processors", int),
                None if machine["gpu"] is None else _of(machine, "gpu", str),
            ),
            rows=tuple(_row(row) for row in raw["rows"]),
            choice={
                purpose: _row(raw["choice"][purpose])
                for purpose in get_args(Optimize)
                if purpose in raw["choice"]
            },
            toolkit=_of(raw, "toolkit", str),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(
            f"{path} is damaged or of another version; make it again with `emonet tune`"
        ) from error


def write_record(path: Path, record: TuningRecord) -> None:
    """Write a record, all or nothing.

    Raises:
        ArtifactError: it cannot be written.
    """
    with atomic_write(path, ArtifactError) as temporary:
        text = json.dumps(record.to_dict(), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _to_dict(row: Measured) -> dict[str, Any]:
    return asdict(row.configuration) | {
        "p25_ms": row.p25_ms,
        "p50_ms": row.p50_ms,
        "images_per_second": row.images_per_second,
        "n": row.n,
        "final": row.final,
        "date": row.date,
    }


def _row(raw: Mapping[str, Any]) -> Measured:
    words = {}
    for name, kind in get_type_hints(Configuration).items():
        value = raw[name]
        choices = get_args(kind)
        fits = (
            type(value) is kind
            if isinstance(kind, type)
            else value in choices or type(value) in choices
        )
        if not fits:
            raise ValueError(name)
        words[name] = value
    if Path(words["file"]).name != words["file"]:  # a name, never a way out of the folder
        raise ValueError("file")
    times = {name: _of(raw, name, kind) for name, kind in _TIMES.items()}
    sane = all(isfinite(times[name]) and times[name] > 0 for name in ("p25_ms", "p50_ms"))
    if not sane or words["batch"] < 1:
        raise ValueError("p50_ms")
    return Measured(Configuration(**words), **times)


def _of(raw: Mapping[str, Any], name: str, kind: type[Any]) -> Any:  # noqa: ANN401 - of that kind
    value = raw[name]
    if type(value) is not kind:
        raise ValueError(name)
    return value
