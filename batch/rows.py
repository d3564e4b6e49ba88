"""What a run writes: one row per source file, its faces nested in it."""

from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa

from emonet_deploy.runtime.output.sinks import face_values
from emonet_deploy.runtime.pipeline.pipeline import FaceResult

__all__ = ["Row", "face_records", "new_row", "row_schema"]

Row = dict[str, Any]

_POINT: Final = pa.list_(pa.float64())


def row_schema(*, landmarks: bool = False) -> pa.Schema:
    """Return the columns of a row.

    ``id`` is the file's place in the frozen list, ``file`` its name, ``frames`` how many of its
    frames were read, ``error`` why it could not be read (else null), and ``faces`` what was found:
    for each face of each frame ``frame`` (from 0), ``time`` (seconds, null for a still picture),
    ``face`` (identity), ``box`` (left, top, right, bottom in pixels), ``score``, ``expression``,
    ``probabilities`` (of each class by name), ``valence``, ``arousal`` and, on request,
    ``landmarks`` (68 times x, y, score). Units and rounding are those of ``emonet predict --json``.
    """
    face = [
        ("frame", pa.int64()),
        ("time", pa.float64()),
        ("face", pa.int64()),
        ("box", pa.list_(pa.float64())),
        ("score", pa.float64()),
        ("expression", pa.string()),
        ("probabilities", pa.map_(pa.string(), pa.float64())),
        ("valence", pa.float64()),
        ("arousal", pa.float64()),
    ]
    if landmarks:
        face.append(("landmarks", pa.list_(_POINT)))
    return pa.schema(
        [
            ("id", pa.int64()),
            ("file", pa.string()),
            ("frames", pa.int64()),
            ("error", pa.string()),
            ("faces", pa.list_(pa.struct(face))),
        ]
    )


def new_row(number: int, file: str) -> Row:
    """Return the row of a file of which nothing is known yet."""
    return {"id": number, "file": file, "frames": 0, "error": None, "faces": []}


def face_records(
    faces: Iterable[FaceResult],
    frame: int = 0,
    time: float | None = None,
    *,
    landmarks: bool = False,
) -> list[Row]:
    """Return the faces of a frame as they are nested in a row.

    Args:
        faces: of it.
        frame: its number within its clip.
        time: in seconds, rounded to six digits; None for a still picture.
        landmarks: keep them.
    """
    records = []
    for face in faces:
        values = face_values(face)
        values["probabilities"] = list(values["probabilities"].items())
        if not landmarks:
            del values["landmarks"]
        records.append({"frame": frame, "time": time, **values})
    return records
