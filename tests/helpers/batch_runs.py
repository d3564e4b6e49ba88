"""Folders of runs of ``emonet batch``, as they would have been written."""

import pyarrow as pa
import pyarrow.parquet as pq

from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.batch.rows import row_schema


def written(tmp_path, rows):
    """Return the folder of a complete run with these rows."""
    out = RunFolder.of(str(tmp_path / "run"))
    out.freeze([row["file"] for row in rows], {})
    (tmp_path / "run" / "rows").mkdir()
    pq.write_table(
        pa.Table.from_pylist(rows, schema=row_schema()), tmp_path / "run" / "rows" / "a-0.parquet"
    )
    out.finish()
    return str(tmp_path / "run")


def face(frame, identity, expression, valence, time=None):
    """Return a face as a row nests it."""
    return {
        "frame": frame, "time": time, "face": identity, "box": [0, 0, 1, 1], "score": 1.0,
        "expression": expression, "probabilities": [(expression, 1.0)], "valence": valence,
        "arousal": 0.5,
    }  # fmt: skip


def clip_rows():
    """Return the rows of a clip of two faces over an hour, and of a picture that is gone."""
    seen = [
        face(0, 0, "happy", 0.5, 0.0), face(0, 1, "sad", -0.5, 0.0),
        face(1, 0, "sad", 0.0, 3700.0), face(1, 1, "sad", -0.25, 3700.0),
    ]  # fmt: skip
    clip = {"id": 0, "file": "/d/a.mp4", "frames": 2, "error": None, "faces": seen}
    return [clip, {"id": 1, "file": "/d/b.jpg", "frames": 0, "error": "gone", "faces": []}]
