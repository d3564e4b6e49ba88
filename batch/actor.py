"""The worker that holds a model: a class for ``map_batches`` of any Ray Data pipeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import pyarrow as pa

from emonet_deploy.batch.files.fetch import fetch, picture_of
from emonet_deploy.batch.listing import RunFolder
from emonet_deploy.batch.parts import Part
from emonet_deploy.batch.rows import Row, face_records, new_row, row_schema
from emonet_deploy.errors import InputError, one_line
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.media.inputs import Source
from emonet_deploy.runtime.media.video import VideoReader
from emonet_deploy.runtime.pipeline.model_and_detector import ModelAndDetector
from emonet_deploy.runtime.pipeline.pipeline import EmotionPipeline
from emonet_deploy.runtime.pipeline.predictor import Predictor
from emonet_deploy.runtime.pipeline.smoothing import smoother_of
from emonet_deploy.runtime.tracking.tracker import Tracker

__all__ = ["Faces", "ListedFaces", "Reading"]


@dataclass(frozen=True)
class Reading(ModelAndDetector):
    """How files are read, and what is kept over a clip; see ``ModelAndDetector``.

    Attributes:
        threads: one unless told otherwise: there is a worker for each processor.
        smooth: over the frames of a clip, see ``smoother_of``.
        memory: seconds after which a face that left is forgotten.
        every: look at each so-many-th frame of a clip only.
        fps: look at no more frames of a second than that.
        landmarks: write landmarks too.
    """

    threads: int | None = 1
    smooth: str = "authors"
    memory: float = 60.0
    every: int = 1
    fps: float | None = None
    landmarks: bool = False


class Faces:
    """Reads the files a batch names, and answers a row for each; it never drops one.

    What cannot be read (damaged, vanished, forbidden) is a row with ``error``.

    Example:
        files = ray.data.read_parquet("s3://lake/photos.parquet")  # a column `file`
        files.map_batches(
            Faces, fn_constructor_args=(Reading("emonet_8.fp32.onnx"),),
            batch_size=64, batch_format="pyarrow", concurrency=4, num_cpus=1,
        ).write_parquet("s3://lake/faces")
    """

    def __init__(self, reading: Reading) -> None:
        """Load the model and the detector.

        Raises:
            EmonetError: whatever loading them raises.
        """
        import cv2

        if reading.threads is not None:  # otherwise OpenCV chooses, as the model's library does
            cv2.setNumThreads(reading.threads)
        self._reading = reading
        self._session = reading.load_session()
        self._predictor = Predictor(self._session, reading.batch)
        self._detector = reading.load_detector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Read the files of a batch.

        Args:
            table: its column ``file`` names files or addresses; ``id``, where it has one, is
                passed on, otherwise it is the place in the batch.

        Returns:
            A table with the columns of ``row_schema``, a row for each.
        """
        files = table.column("file").to_pylist()
        ids = table.column("id").to_pylist() if "id" in table.column_names else range(len(files))
        return self.read(list(ids), files)

    def read(self, ids: Sequence[int], files: Sequence[str]) -> pa.Table:
        """Return the rows of files."""
        return self._read(ids, [Part(file) for file in files])

    def _read(self, ids: Sequence[int], parts: Sequence[Part]) -> pa.Table:
        rows = [new_row(i, part.file) for i, part in zip(ids, parts, strict=True)]
        with TemporaryDirectory(prefix="emonet-") as folder:
            for index, source in self._pictures(rows, Path(folder)).items():
                self._clip(rows[index], parts[index], source)
        return self._table(rows)

    def _table(self, rows: list[Row]) -> pa.Table:
        return pa.Table.from_pylist(rows, schema=row_schema(landmarks=self._reading.landmarks))

    def _pictures(self, rows: list[Row], folder: Path) -> dict[int, Source]:
        """Read the still pictures, faces of several in one batch; return the clips, by place."""
        clips: dict[int, Source] = {}

        def frames() -> Iterator[Frame]:
            for index, row in enumerate(rows):
                try:
                    source = fetch(row["file"], folder, index)
                    if source.is_video:
                        clips[index] = source
                        continue
                    yield Frame(picture_of(source, row["file"]), str(index))
                except InputError as error:
                    row["error"] = one_line(error)

        for result in self._pipeline().run(frames()):
            row = rows[int(result.frame.source)]
            row["frames"] = 1
            row["faces"] = face_records(result.faces, landmarks=self._reading.landmarks)
        return clips

    def _clip(self, row: Row, part: Part, source: Source) -> None:
        """Read a clip, or a part: identities and smoothing live within it."""
        reading, (start, stop) = self._reading, part.span
        try:
            reader = VideoReader(
                source.path, every=reading.every, max_fps=reading.fps, start=start, stop=stop
            )
            for result in self._pipeline().run(reader):
                index, time = result.frame.index, round(result.frame.time or 0.0, 6)
                row["frames"] += time >= part.fresh
                row["faces"] += face_records(result.faces, index, time, landmarks=reading.landmarks)
        except InputError as error:
            row["error"] = one_line(error)

    def _pipeline(self) -> EmotionPipeline:
        return EmotionPipeline(
            self._predictor,
            self._detector,
            crop=self._reading.crop,
            tracker=Tracker(memory=self._reading.memory),
            smoother=smoother_of(self._reading.smooth),
        )


class ListedFaces(Faces):
    """Reads files by their ids in the frozen list of a run, so that blocks hold numbers alone."""

    def __init__(self, reading: Reading, folder: RunFolder) -> None:
        """Load the list, the model and the detector.

        Raises:
            InputError: the model here is not the one that the run began with.
            EmonetError: whatever loading them raises.
        """
        folder.require_model(reading.model)
        super().__init__(reading)
        self._listed = folder.listed()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the rows of the files, or parts of them, whose ids the batch holds."""
        ids = table.column("id").to_pylist()
        return self._read(ids, [self._listed[i] for i in ids])
