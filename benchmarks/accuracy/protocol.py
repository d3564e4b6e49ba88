"""The paper's test protocol on any session: crop, run, mirror, average, clip.

Pictures are read and cropped in threads, a few batches ahead of the model, so that decoding
overlaps with inference and memory does not grow with the number of samples.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.accuracy.predictions_file import PredictionFile
from emonet_deploy.benchmarks.datasets.base import Dataset, Sample
from emonet_deploy.benchmarks.metrics.paper_metrics import Labels
from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.errors import DatasetError, InputError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.detection.box_check import box_problem
from emonet_deploy.runtime.media.image import read_image
from emonet_deploy.runtime.metadata import ModelInfo
from emonet_deploy.runtime.pipeline.artifact_interfaces import (
    mirror,
    prepare,
    read_head,
)
from emonet_deploy.runtime.pipeline.preprocess import crop_box, stretch_face

__all__ = [
    "Evaluation",
    "Missing",
    "crop_sample",
    "evaluate",
    "evaluation_of",
    "predict_samples",
]


@dataclass(frozen=True)
class Missing:
    """A sample whose picture could not be used."""

    path: str
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """Predictions beside the truth, sample by sample.

    Attributes:
        dataset: everything that was to be predicted.
        numbers: which of its samples were, ascending.
        truth: of these samples.
        prediction: of these samples; valence and arousal are clipped to [-1, 1].
        missing: the other samples.
        flip: whether valence and arousal are means over the crop and its mirror image.
        fresh: how many of the predictions were made now, rather than read from a file.
        seconds: how long that took.
    """

    dataset: Dataset
    numbers: NDArray[np.int64]
    truth: Labels
    prediction: Labels
    missing: tuple[Missing, ...]
    flip: bool
    fresh: int
    seconds: float


@dataclass(frozen=True)
class _Batch:
    numbers: list[int]
    images: Array
    mirrored: Array | None
    missing: list[Missing]


def evaluate(
    session: Session,
    dataset: Dataset,
    *,
    flip: bool = True,
    batch: int = 8,
    workers: int = 4,
    predictions: PredictionFile | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Predict every sample of a data set.

    Args:
        session: of either interface; one with processing embedded clips before it can be
            averaged over the flip, which differs where the network leaves [-1, 1].
        dataset: what to predict, for as many classes as the session has.
        flip: average valence and arousal over the crop and its mirror image, as the published
            figures do. The class is that of the crop itself, always.
        batch: samples run at once; with flip the session runs twice for each batch.
        workers: threads that read pictures.
        predictions: where rows are kept as they are made; what it already holds is not run again.
        progress: told after each batch how many samples are done, and of how many.

    Raises:
        DatasetError: not one picture could be used.
        InputError: session and data set differ in their classes, or an option makes no sense.
        BackendError: the session failed; the rows made so far are kept.
    """
    if session.info.nclass != dataset.nclass:
        raise InputError(
            f"the model has {session.info.nclass} classes and the data set was read for "
            f"{dataset.nclass}; use the same --nclass for both"
        )
    if batch < 1 or workers < 1:
        raise InputError("--batch and --workers must be at least 1")
    n = len(dataset)
    # Class, valence and arousal of each sample; NaN where there is none yet.
    table = np.full((n, 3), np.nan)
    missing: list[Missing] = []
    started, fresh = time.perf_counter(), 0
    keeping: AbstractContextManager[Any] = predictions or nullcontext()
    with keeping:
        if predictions is not None:
            table[predictions.numbers] = predictions.values
        todo = np.flatnonzero(np.isnan(table[:, 0])).tolist()
        for loaded in _load_ahead(session, dataset, todo, flip, batch, workers):
            missing += loaded.missing
            if loaded.numbers:
                values = _predict(session, loaded)
                table[loaded.numbers] = values
                fresh += len(values)
                if predictions is not None:
                    predictions.append(loaded.numbers, values)
            progress(int(np.count_nonzero(~np.isnan(table[:, 0]))) + len(missing), n)
    return evaluation_of(dataset, table, missing, flip, fresh, time.perf_counter() - started)


def evaluation_of(
    dataset: Dataset,
    table: NDArray[np.float64],
    missing: Sequence[Missing],
    flip: bool,
    fresh: int,
    seconds: float,
) -> Evaluation:
    """Put predictions beside the truth.

    Args:
        dataset: what was predicted.
        table: class, valence and arousal of each sample, N x 3; NaN where there is none.
        missing: the samples without, and why.
        flip: see ``Evaluation``, for ``fresh`` and ``seconds`` as well.
        fresh: of the predictions.
        seconds: they took.

    Raises:
        DatasetError: there is not one prediction.
    """
    numbers = np.flatnonzero(~np.isnan(table[:, 0]))
    if not numbers.size:
        raise DatasetError(
            f"not one of the {len(dataset)} pictures could be used; the first: {missing[0].reason}"
        )
    found = table[numbers]
    return Evaluation(
        dataset=dataset,
        numbers=numbers,
        truth=dataset.labels()[numbers],
        prediction=Labels(found[:, 0].astype(np.int64), found[:, 1], found[:, 2]),
        missing=tuple(missing),
        flip=flip,
        fresh=fresh,
        seconds=seconds,
    )


def predict_samples(
    session: Session, dataset: Dataset, numbers: list[int], flip: bool
) -> tuple[list[int], NDArray[np.float64], list[Missing]]:
    """Read and run the samples with these numbers as one batch, as ``evaluate`` does.

    Returns:
        The numbers of those that could be used; class, valence and arousal of each, N x 3; the
        others.
    """
    loaded = _load(dataset, numbers, session.info, flip)
    values = _predict(session, loaded) if loaded.numbers else np.empty((0, 3))
    return loaded.numbers, values, loaded.missing


def crop_sample(dataset: Dataset, sample: Sample) -> NDArray[np.uint8]:
    """Read a sample's picture and cut its face out, uint8 256 x 256 x 3.

    Raises:
        InputError: the picture cannot be used, or the face cannot be where the box is.
    """
    picture = read_image(dataset.pictures / sample.path)
    if sample.box is None:
        return stretch_face(picture)
    height, width = picture.shape[:2]
    problem = box_problem(sample.box, width, height)
    if problem is not None:
        raise InputError(f"{readable(sample.path)}: {problem}")
    return crop_box(picture, sample.box)[0]


def _load_ahead(
    session: Session, dataset: Dataset, todo: list[int], flip: bool, batch: int, workers: int
) -> Iterator[_Batch]:
    """Yield batches in order; as many as there are workers, and one more, are on their way."""
    ahead: deque[Future[_Batch]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read")
    try:
        for start in range(0, len(todo), batch):
            numbers = todo[start : start + batch]
            ahead.append(pool.submit(_load, dataset, numbers, session.info, flip))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _load(dataset: Dataset, numbers: list[int], info: ModelInfo, flip: bool) -> _Batch:
    crops, kept, missing = [], [], []
    for number in numbers:
        sample = dataset.samples[number]
        try:
            crops.append(crop_sample(dataset, sample))
            kept.append(number)
        except InputError as error:
            reason = str(error)
            named = reason if sample.path in reason else f"{sample.path}: {reason}"
            missing.append(Missing(sample.path, named))
    if not crops:
        return _Batch(kept, np.empty(0, np.uint8), None, missing)
    images = prepare(info, np.stack(crops))
    mirrored = mirror(info, images) if flip else None
    return _Batch(kept, images, mirrored, missing)


def _predict(session: Session, loaded: _Batch) -> NDArray[np.float64]:
    """Return class, valence and arousal of each picture, N x 3."""
    head = read_head(session.run(loaded.images))
    emotion = head.emotion
    if loaded.mirrored is not None:
        emotion = (emotion + read_head(session.run(loaded.mirrored)).emotion) / 2
    return np.column_stack([head.expression, emotion.clip(-1, 1)])
