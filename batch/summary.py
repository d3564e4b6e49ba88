"""What the rows of a run say together: means, shares and changes, by person, clip, hour, folder."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from posixpath import dirname
from typing import Any

from emonet_deploy.batch.choices import Grouping
from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.runtime.output.table_formats import Table

__all__ = ["Summary", "summary_rows", "summary_table"]


@dataclass(frozen=True)
class Summary:
    """The faces of one group.

    Attributes:
        group: file and identity, file, file and hour of the clip, or folder.
        faces: how many, over all frames.
        valence: their mean, in [-1, 1].
        arousal: their mean, in [-1, 1].
        shares: of the expressions, by name; they sum to 1.
        changes: how often the expression of an identity differs from that in its frame before.
        transitions: those changes: ``"neutral > happy"`` -> how often.
    """

    group: str
    faces: int
    valence: float
    arousal: float
    shares: dict[str, float]
    changes: int
    transitions: dict[str, int]

    @property
    def expression(self) -> str:
        """The most frequent one."""
        return max(self.shares, key=self.shares.__getitem__)

    def as_dict(self) -> dict[str, Any]:
        """Return its fields by name, as JSON takes them."""
        return asdict(self)


@dataclass
class _Sums:
    expressions: Counter[str] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)
    valence: float = 0.0
    arousal: float = 0.0


def summary_rows(out: str, by: Grouping) -> list[Summary]:
    """Return a summary for each group in which there is a face, in the order of their names.

    Args:
        out: of a run, complete or not.
        by: what a group is.

    Raises:
        InputError: no run lies there.
    """
    sums: dict[str, _Sums] = {}
    for file, faces in _files(out):
        before: dict[int, str] = {}
        for face in faces:
            # Still pictures have no identities: their faces are not the same from one to the next.
            group = sums.setdefault(_group(file, face, by), _Sums())
            group.expressions[face["expression"]] += 1
            group.valence += face["valence"]
            group.arousal += face["arousal"]
            last = before.get(face["face"])
            if last is not None and last != face["expression"]:
                group.transitions[f"{last} > {face['expression']}"] += 1
            before[face["face"]] = face["expression"]
    return [_summary(name, sums[name]) for name in sorted(sums)]


def summary_table(groups: Sequence[Summary]) -> Table:
    """Return a line for each group: what it has most of, and how often that changes."""
    return Table(
        ("group", "faces", "valence", "arousal", "expression", "share", "changes"),
        [
            (
                group.group, str(group.faces), f"{group.valence:+.3f}", f"{group.arousal:+.3f}",
                group.expression, f"{group.shares[group.expression]:.0%}", str(group.changes),
            )
            for group in groups
        ],
    )  # fmt: skip


def _files(out: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    folder = RunFolder.of(out)
    with folder.existing():
        # A clip's row holds all its faces: few rows at a time.
        for batch in folder.rows().to_batches(columns=["file", "faces"], batch_size=64):
            for row in batch.to_pylist():
                yield row["file"], row["faces"]


def _group(file: str, face: dict[str, Any], by: Grouping) -> str:
    if by == "person":
        return f"{file} #{face['face']}"
    if by == "hour":
        return f"{file} h{int((face['time'] or 0.0) // 3600)}"
    return dirname(file) if by == "folder" else file


def _summary(name: str, sums: _Sums) -> Summary:
    faces = sums.expressions.total()
    return Summary(
        name,
        faces,
        sums.valence / faces,
        sums.arousal / faces,
        {expression: count / faces for expression, count in sorted(sums.expressions.items())},
        sums.transitions.total(),
        dict(sorted(sums.transitions.items())),
    )
