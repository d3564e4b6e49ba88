"""A run in two stages: finders on CPUs of their own, and readers, on GPUs, of what they found.

Between them travel Arrow columns, crops and all, so that a reader decodes no picture. A clip stays
whole with its reader, since identities and smoothing live within it: finders pass it on by its id.
"""

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
import pyarrow as pa
import pyarrow.compute as pc

from emonet_deploy.batch.actor import ListedFaces, Reading
from emonet_deploy.batch.files.fetch import fetch, is_called_clip, picture_of
from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.batch.rows import Row, face_records, new_row
from emonet_deploy.errors import InputError, one_line
from emonet_deploy.runtime.pipeline.found_faces import Found, find_faces, read_found

__all__ = ["FaceFinder", "FoundFaces"]

_FOUND: Final = pa.schema(
    [
        ("id", pa.int64()),
        ("error", pa.string()),
        ("clip", pa.bool_()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("boxes", pa.list_(pa.list_(pa.float64(), 4))),
        ("scores", pa.list_(pa.float64())),
        ("matrices", pa.list_(pa.list_(pa.list_(pa.float64(), 3), 2))),
        ("crops", pa.large_binary()),
    ]
)

_MOST: Final = 64 << 20
"""Bytes of crops after which what was found goes on its way."""


class FaceFinder:
    """Decodes the pictures of a run, finds their faces and cuts them out.

    What cannot be read travels on with the reason.
    """

    def __init__(self, reading: Reading, folder: RunFolder) -> None:
        """Load the list and the detector.

        Raises:
            EmonetError: whatever loading them raises.
        """
        cv2.setNumThreads(1)  # the other processors have finders of their own
        self._detector = reading.load_detector()
        self._crop = reading.crop
        self._listed = folder.listed()

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield what is in the files whose ids a table holds, in their order."""
        found: list[dict[str, Any]] = []
        for number in table.column("id").to_pylist():
            found.append({"id": number, "clip": False, **self._find(self._listed[number].file)})
            if sum(len(row.get("crops", b"")) for row in found) >= _MOST:
                yield pa.Table.from_pylist(found, schema=_FOUND)
                found = []
        if found:
            yield pa.Table.from_pylist(found, schema=_FOUND)

    def _find(self, file: str) -> dict[str, Any]:
        if is_called_clip(file):
            return {"clip": True}  # which its reader fetches
        try:
            with TemporaryDirectory(prefix="emonet-") as folder:
                source = fetch(file, Path(folder), 0)
                if source.is_video:
                    return {"clip": True}
                return asdict(find_faces(picture_of(source, file), self._detector, self._crop))
        except InputError as error:
            return {"error": one_line(error)}


class FoundFaces(ListedFaces):
    """Reads the faces that finders found, and clips from their files; see ``ListedFaces``."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return a row for each of what ``FaceFinder`` yields, those of clips last."""
        clips = table.filter(table.column("clip"))
        others = table.filter(pc.invert(table.column("clip"))).to_pylist()
        rows = [new_row(each["id"], self._listed[each["id"]].file) for each in others]
        pictures: list[tuple[Row, Found]] = []
        for row, each in zip(rows, others, strict=True):
            row["error"] = each["error"]
            if each["error"] is None:
                pictures.append((row, Found(*(each[field.name] for field in fields(Found)))))
        read = read_found([found for _, found in pictures], self._predictor)
        for (row, _), faces in zip(pictures, read, strict=True):
            row["frames"] = 1
            row["faces"] = face_records(faces, landmarks=self._reading.landmarks)
        return pa.concat_tables([self._table(rows), super().__call__(clips)])
