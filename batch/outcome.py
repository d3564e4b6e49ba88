"""What a run has come to: how many rows and faces, and what could not be read."""

from dataclasses import dataclass

from emonet_deploy.batch.listing import RunFolder

__all__ = ["Outcome", "count_rows"]


@dataclass(frozen=True)
class Outcome:
    """What a run has come to.

    Attributes:
        files: of the list.
        rows: that lie there; as many as files when the run is complete.
        faces: in them.
        unreadable: how many files could not be read.
        reasons: of the first of those: file, reason.
    """

    files: int
    rows: int
    faces: int
    unreadable: int
    reasons: tuple[tuple[str, str], ...]


def count_rows(out: str, named: int = 20) -> Outcome:
    """Return what lies in a run's folder, read group by group.

    Args:
        out: of the run.
        named: how many unreadable files are named.

    Raises:
        InputError: no run lies there.
    """
    folder = RunFolder.of(out)
    rows = faces = unreadable = 0
    reasons: list[tuple[str, str]] = []
    with folder.existing():
        files = folder.listed().file_count
        for batch in folder.rows().to_batches(columns=["file", "error", "faces"]):
            rows += batch.num_rows
            faces += len(batch.column("faces").flatten())
            error = batch.column("error")
            bad = batch.filter(error.is_valid())
            unreadable += bad.num_rows
            some = bad.slice(0, named - len(reasons))
            reasons += zip(*(some.column(c).to_pylist() for c in ("file", "error")), strict=True)
    return Outcome(files, rows, faces, unreadable, tuple(reasons))
