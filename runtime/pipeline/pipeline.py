"""Frames in, faces with emotions out, on any backend: what ``emonet predict`` runs."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import Crop
from emonet_deploy.runtime.detection.base import Box, Detection, Detector
from emonet_deploy.runtime.detection.load import load_detector
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.media.image import as_rgb_uint8
from emonet_deploy.runtime.pipeline.predictor import Prediction, Predictor
from emonet_deploy.runtime.pipeline.prefetch import prefetch
from emonet_deploy.runtime.pipeline.preprocess import crop_faces
from emonet_deploy.runtime.pipeline.smoothing import Smoother
from emonet_deploy.runtime.tracking.tracker import Tracker

__all__ = ["EmotionPipeline", "FaceResult", "FrameResult"]


@dataclass(frozen=True, eq=False)
class FaceResult:
    """One face of a frame.

    Attributes:
        identity: the same number for the same face within a clip; in a still picture just the
            position in the list.
        box: left, top, right, bottom in pixels of the frame, as the detector gave it.
        score: the detector's confidence in [0, 1].
        prediction: smoothed when asked for; its landmarks are in pixels of the frame.
    """

    identity: int
    box: Box
    score: float
    prediction: Prediction


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame with all its faces; the list may be empty."""

    frame: Frame
    faces: tuple[FaceResult, ...]


@dataclass(frozen=True, eq=False)
class _Found:
    frame: Frame
    named: list[tuple[int, Detection]]
    crops: list[NDArray[np.uint8]]
    matrices: list[NDArray[np.float64]]


class EmotionPipeline:
    """Detects, tracks, crops, predicts and smooths, each stage in a thread of its own.

    Example:
        >>> from emonet_deploy.runtime import Tracker, VideoReader, load_session
        >>> with load_session("artifacts/emonet_8.fp32.onnx") as session:
        ...     pipeline = EmotionPipeline(session, load_detector("none"), tracker=Tracker())
        ...     for result in pipeline.run(VideoReader("talk.mp4")):
        ...         print(result.frame.time, len(result.faces))
        0.0 1
        0.04 1
        0.08 1
        0.12 1
        0.16 1
        0.2 1
    """

    def __init__(
        self,
        predictor: Predictor | Session,
        detector: Detector | None = None,
        *,
        crop: Crop = "paper",
        tracker: Tracker | None = None,
        smoother: Smoother | None = None,
        live: bool = False,
    ) -> None:
        """Put the stages together.

        Args:
            predictor: its batch size is how many faces, of one or several frames, run at once. A
                session stands for a predictor with the usual batch size.
            detector: where the faces are; by default as ``load_detector`` chooses.
            crop: how a box becomes a crop, see ``crop_face``.
            tracker: gives faces an identity over the frames of a clip; without one, a face's
                identity is its position in the list.
            smoother: smooths predictions over time, per identity.
            live: for a camera: frames that come too fast are dropped, and a frame's faces never
                wait for those of the next.
        """
        self._predictor = Predictor(predictor) if isinstance(predictor, Session) else predictor
        self._detector = load_detector() if detector is None else detector
        self._crop: Crop = crop
        self._tracker = tracker
        self._smoother = smoother
        self._live = live
        self._source = ""

    def run(self, frames: Iterable[Frame | NDArray[np.uint8]]) -> Generator[FrameResult]:
        """Yield a result for every frame, in order, while later frames are being worked on.

        Memory does not grow with the number of frames: each stage is at most a few frames ahead of
        the next. Call it again for the next clip; run one clip at a time.

        Args:
            frames: of one clip or of several one after the other, or still pictures. A bare array
                among them is a still picture, as ``runtime.media.image.as_rgb_uint8`` takes it; of
                one alone make a list.

        Raises:
            InputError: this is a single picture, or a file's name.
            EmonetError: whatever reading the frames, detecting or predicting raises.
        """
        if isinstance(frames, (Frame, str, bytes, os.PathLike)) or _is_picture(frames):
            raise InputError(
                "a pipeline takes several frames; give [image] for one picture, and for files a "
                "SourceReader or VideoReader"
            )
        decoded = prefetch(_framed(frames), 1 if self._live else 4, latest=self._live)
        found = prefetch(self._find_all(decoded))
        with closing(prefetch(self._infer(found))) as results:
            yield from results

    def _find_all(self, frames: Generator[Frame]) -> Iterator[_Found]:
        with closing(frames):
            yield from map(self._find, frames)

    def _find(self, frame: Frame) -> _Found:
        detections = self._detector.detect(frame)
        if self._tracker is None or frame.time is None:
            detections = [found for found in detections if not found.faint]
            named = list(enumerate(detections))
        else:
            identities = self._tracker.update(frame, detections)
            named = [
                (identity, found)
                for identity, found in zip(identities, detections, strict=True)
                if identity is not None
            ]
        pairs = crop_faces(frame.image, (found for _, found in named), self._crop)
        return _Found(
            frame,
            named,
            [crop for crop, _ in pairs],
            [matrix for _, matrix in pairs],
        )

    def _infer(self, found: Generator[_Found]) -> Iterator[FrameResult]:
        with closing(found):
            yield from self._in_batches(found)

    def _in_batches(self, found: Iterable[_Found]) -> Iterator[FrameResult]:
        batch = self._predictor.batch_size
        crops: list[NDArray[np.uint8]] = []
        done: deque[Prediction] = deque()
        waiting: deque[_Found] = deque()
        for item in found:
            waiting.append(item)
            crops.extend(item.crops)
            # Frames without faces must not pile up behind one that waits for a full batch.
            full = self._live or len(waiting) >= 2 * batch
            while len(crops) >= batch or (crops and full):
                done.extend(self._predictor.predict_crops(crops[:batch]))
                del crops[:batch]
            yield from self._finished(waiting, done)
        done.extend(self._predictor.predict_crops(crops))
        yield from self._finished(waiting, done)

    def _finished(self, waiting: deque[_Found], done: deque[Prediction]) -> Iterator[FrameResult]:
        while waiting and len(waiting[0].named) <= len(done):
            item = waiting.popleft()
            if self._smoother is not None and item.frame.source != self._source:
                self._smoother.reset()
            self._source = item.frame.source
            faces = (self._face(item, row, done.popleft()) for row in range(len(item.named)))
            yield FrameResult(item.frame, tuple(faces))

    def _face(self, item: _Found, row: int, prediction: Prediction) -> FaceResult:
        prediction = prediction.placed(item.matrices[row])
        identity, found = item.named[row]
        if self._smoother is not None and item.frame.time is not None:
            prediction = self._smoother.smooth(identity, item.frame.time, prediction)
        return FaceResult(identity, found.box, found.score, prediction)


def _is_picture(frames: object) -> bool:
    """Tell one picture, whose rows would be taken for pictures, from an array of several."""
    return isinstance(frames, np.ndarray) and (
        frames.ndim < 3 or (frames.ndim == 3 and frames.shape[2] <= 4)
    )


def _framed(frames: Iterable[Frame | NDArray[np.uint8]]) -> Iterator[Frame]:
    for index, frame in enumerate(frames):
        yield frame if isinstance(frame, Frame) else Frame(as_rgb_uint8(frame), index=index)
