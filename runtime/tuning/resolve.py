"""``--engine auto``: the recorded choice, when it holds for this machine and these files."""

from dataclasses import dataclass
from pathlib import Path

from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.errors import ArtifactError
from emonet_deploy.runtime.choices import Optimize
from emonet_deploy.runtime.tuning.choose import choose
from emonet_deploy.runtime.tuning.configuration import Configuration, Measured, Wanted
from emonet_deploy.runtime.tuning.machine import Machine, library_versions
from emonet_deploy.runtime.tuning.record import TuningRecord, read_record, record_path

__all__ = ["Resolved", "holds", "resolve_tuned", "row_for"]


@dataclass(frozen=True)
class Resolved:
    """What a record says.

    Attributes:
        way: how to run EmoNet; None where the record does not tell.
        path: of its file; None where there is no way.
        note: a sentence for the user, empty where there is no record.
    """

    way: Configuration | None = None
    path: Path | None = None
    note: str = ""


def resolve_tuned(
    folder: Path,
    nclass: int,
    identity: str,
    checkpoint: Path,
    purpose: Optimize,
    wanted: Wanted,
) -> Resolved:
    """Return the way that a folder's record chose, if it still holds.

    Args:
        folder: of the artifacts and the record.
        nclass: of the checkpoint.
        identity: of the checkpoint.
        checkpoint: its file.
        purpose: what it is wanted for.
        wanted: what else the user asks for; with anything beyond ``Wanted()`` it is the fastest of
            the recorded rows that are so.
    """
    path = record_path(folder, nclass)
    try:
        record = read_record(path)
    except ArtifactError as error:
        return Resolved(note=f"note: {error.message}")
    if record is None:
        return Resolved()
    ignored = f"note: {path} is not used:"
    if record.checkpoint != identity:
        return Resolved(note=f"{ignored} it is of the checkpoint {record.checkpoint}")
    if difference := Machine.here().differs(record.machine):
        return Resolved(note=f"{ignored} it is {difference}; `emonet tune` measures this one")
    row = row_for(record, purpose, wanted)
    if row is None:
        return Resolved(note=f"{ignored} nothing in it is what was asked for")
    way = row.configuration
    file = folder / way.file if way.file else checkpoint
    if problem := holds(way, file):
        return Resolved(note=f"{ignored} {problem}; `emonet tune` measures anew what has changed")
    threads = "" if way.threads is None else f" with {way.threads} threads"
    return Resolved(
        way,
        file,
        f"tuned for {purpose}: {way.backend} on {file.name}{threads} "
        f"({row.cost:.1f} ms an image when measured, {path.name})",
    )


def row_for(record: TuningRecord, purpose: Optimize, wanted: Wanted) -> Measured | None:
    """Return the row that a record chooses for a purpose, or the fastest of those wanted."""
    chosen = record.choice.get(purpose)
    if chosen is not None and wanted.allows(chosen.configuration):
        return chosen
    return choose(
        row
        for row in record.rows
        if row.configuration.purpose == purpose and wanted.allows(row.configuration)
    )


def holds(way: Configuration, file: Path) -> str:
    """Return why a measured time holds no more; empty where file and libraries are the same."""
    try:
        if sha256_file(file) != way.sha256:
            return f"{file.name} has changed since"
    except OSError:
        return f"{file.name} is not there"
    here = library_versions(way.backend)
    if here != way.libraries:
        return f"it ran on {way.libraries}, and here is {here or 'no ' + way.backend}"
    return ""
