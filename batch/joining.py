"""The rows of a clip's segments as one row, in which a face keeps its number from end to end.

Each segment counts its faces from 0. The frames that two segments share tell who is who: a face of
the later one is that of the earlier one whose boxes it overlaps most there. What was out of sight
then is a new face: no looks are compared over a cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from posixpath import basename

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emonet_deploy.batch.files.filesystems import file_exists, replace_file
from emonet_deploy.batch.listing import RunFolder, parquet_bytes
from emonet_deploy.batch.parts import Part
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.detection.iou import box_iou
from emonet_deploy.runtime.tracking.matching import best_pairs

__all__ = ["join_parts", "join_run"]


def join_run(folder: RunFolder) -> None:
    """Write the rows of a run's files out of those of their parts; go on where that ended.

    One clip is in memory at a time, and what was written together with its segments.

    Args:
        folder: of a run all parts of which have their rows.

    Raises:
        BackendError: rows are missing.
        OSError: rows cannot be read or written.
    """
    system, listed = folder.system, folder.listed()
    clips = list(listed.cut_clips())
    cut = np.zeros(len(listed), bool)
    for clip in clips:
        cut[clip.start : clip.stop] = True
    place = np.full(len(listed), -1)
    files = folder.written_files()

    @lru_cache(maxsize=2)
    def read(number: int) -> pa.Table:
        with system.open_input_file(files[number]) as file:
            return pq.read_table(file)

    def write(name: str, table: pa.Table) -> None:
        replace_file(system, folder.file(f"rows/{name}"), parquet_bytes(table))

    system.create_dir(folder.file("rows"), recursive=True)
    for number, path in enumerate(files):
        with system.open_input_file(path) as file:
            ids = pq.read_table(file, columns=["id"]).column("id").to_numpy()
        place[ids] = number
        name = basename(path)
        if not cut[ids].all() and not file_exists(system, folder.file(f"rows/{name}")):
            write(name, read(number).filter(pa.array(~cut[ids])))
    if (place < 0).any():
        raise BackendError("rows of some segments are missing", hint="start it again")
    for clip in clips:
        name = f"clip-{clip.start}.parquet"
        if not file_exists(system, folder.file(f"rows/{name}")):
            rows = [read(place[i]).filter(pc.field("id") == i) for i in clip]
            write(name, join_parts([listed[i] for i in clip], rows))


def join_parts(parts: Sequence[Part], rows: Sequence[pa.Table]) -> pa.Table:
    """Return the row of a clip; it has the id of its first part.

    Args:
        parts: of the clip, in order.
        rows: of each, a table of one row; see ``row_schema``.
    """
    known, joined, count = None, [], 0
    for part, row in zip(parts, rows, strict=True):
        faces = row.column("faces").combine_chunks().flatten()
        seen = _Seen.of(faces)
        fresh = pc.struct_field(faces, "time").to_numpy() >= part.fresh
        called = seen.numbers[fresh].tolist()
        names = _names(known, seen, called, count)
        count = max([count, *(name + 1 for name in names.values())])
        numbers = np.array([names[number] for number in called], np.int64)
        known = _Seen(seen.frames[fresh], numbers, seen.boxes[fresh])
        joined.append(_numbered(faces.filter(pa.array(fresh)), numbers))
    faces, schema = pa.concat_arrays(joined), rows[0].schema
    columns = dict(zip(rows[0].column_names, rows[0].columns, strict=True)) | {
        "frames": [sum(row.column("frames")[0].as_py() for row in rows)],
        "error": [next(filter(None, (row.column("error")[0].as_py() for row in rows)), None)],
        "faces": pa.ListArray.from_arrays([0, len(faces)], faces, schema.field("faces").type),
    }
    return pa.table(columns, schema=schema)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Faces of a segment, one after the other: frames, numbers, boxes (n x 4)."""

    frames: NDArray[np.int64]
    numbers: NDArray[np.int64]
    boxes: NDArray[np.float64]

    @classmethod
    def of(cls, faces: pa.StructArray) -> "_Seen":
        return cls(
            pc.struct_field(faces, "frame").to_numpy(),
            pc.struct_field(faces, "face").to_numpy(),
            pc.struct_field(faces, "box").flatten().to_numpy().reshape(-1, 4),
        )


def _names(known: _Seen | None, seen: _Seen, fresh: Sequence[int], count: int) -> dict[int, int]:
    """Return what the clip calls the faces of a segment, by what that calls them.

    Args:
        known: the segment before, named as the clip does; None for the first, which names.
        seen: the segment.
        fresh: its faces in frames that only it has.
        count: of names so far.
    """
    if known is None:
        return {number: number for number in fresh}
    names = _matched(known, seen)
    for number in dict.fromkeys(fresh):
        if number not in names:
            names[number], count = count, count + 1
    return names


def _matched(known: _Seen, seen: _Seen) -> dict[int, int]:
    rows, row = np.unique(known.numbers, return_inverse=True)
    columns, column = np.unique(seen.numbers, return_inverse=True)
    shared = np.zeros((len(rows), len(columns)))
    for frame in np.intersect1d(known.frames, seen.frames):
        one, other = known.frames == frame, seen.frames == frame
        shared[np.ix_(row[one], column[other])] += box_iou(known.boxes[one], seen.boxes[other])
    return {int(columns[j]): int(rows[i]) for i, j in best_pairs(shared, 0.0)}


def _numbered(faces: pa.StructArray, numbers: NDArray[np.int64]) -> pa.StructArray:
    """Return faces with other numbers."""
    arrays = dict(zip(faces.type.names, faces.flatten(), strict=True)) | {"face": pa.array(numbers)}
    return pa.StructArray.from_arrays(list(arrays.values()), fields=list(faces.type))
