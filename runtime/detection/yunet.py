"""The face detector YuNet, run by OpenCV.

Wu, Peng, Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence Research 2023.
The model (MIT licence) is fetched once from OpenCV's model zoo.
"""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emonet_deploy.emonet_ref.storage.atomic_write import sha256_file
from emonet_deploy.emonet_ref.storage.cache import cache_dir
from emonet_deploy.emonet_ref.storage.download import download
from emonet_deploy.emonet_ref.storage.path_access import is_file
from emonet_deploy.emonet_ref.storage.path_encoding import readable, utf8_path
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection.base import FAINT, Detection, network_size
from emonet_deploy.runtime.detection.face_orientation import quarter_turns
from emonet_deploy.runtime.media.frame import Frame

__all__ = ["YuNet", "cached_model", "fetch_model", "is_cached"]

_NAME = "face_detection_yunet_2023mar.onnx"
# The repository keeps the file in Git LFS: this address serves content, the raw one a pointer.
_URL = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/"
    f"models/face_detection_yunet/{_NAME}"
)
_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


class YuNet:
    """Finds the faces of a frame."""

    def __init__(
        self, model: str | os.PathLike[str], size: int | None = None, min_score: float = 0.4
    ) -> None:
        """Load the model.

        Args:
            model: the ONNX file of YuNet.
            size: longer side of the picture the network sees, see ``network_size``.
            min_score: lowest score of a face that is not faint.

        Raises:
            InputError: OpenCV cannot use the file.
        """
        self._size, self._min_score = size, min_score
        name = readable(os.fspath(model))
        if not is_file(model):
            raise InputError(f"there is no YuNet model at {name}; check the name")
        try:
            with utf8_path(model) as path:
                self._network = cv2.FaceDetectorYN.create(path, "", (32, 32), FAINT * min_score)
        except cv2.error as error:
            raise InputError(
                f"OpenCV cannot use {name} as YuNet model; take {_NAME} of OpenCV's model zoo"
            ) from error

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the faces of a frame, the surest first.

        Raises:
            InputError: the model is an ONNX file, but not YuNet.
        """
        height, width = frame.image.shape[:2]
        columns, rows = network_size(frame, self._size)
        small = cv2.resize(frame.image, (columns, rows), interpolation=cv2.INTER_AREA)
        try:
            self._network.setInputSize((columns, rows))
            found: Any = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1]
        except cv2.error as error:
            raise InputError(f"the model is not YuNet; take {_NAME}") from error
        if found is None:
            return []
        # Each row: left, top, width, height, five points, score.
        # The points are eyes, nose and corners of the mouth.
        rows_by_score = np.asarray(found, np.float64)[np.argsort(-found[:, 14], kind="stable")]
        along_x, along_y = width / columns, height / rows
        return [
            Detection(
                (x * along_x, y * along_y, (x + w) * along_x, (y + h) * along_y),
                score,
                score < self._min_score,
                turns=quarter_turns(np.reshape(points, (5, 2)), (w + h) / 2),
            )
            for x, y, w, h, *points, score in rows_by_score.tolist()
        ]


def cached_model() -> Path:
    """Return where the fetched model lies, or would lie."""
    return cache_dir() / _NAME


def is_cached() -> bool:
    """Return whether the model has been fetched, as far as the cache may be looked into."""
    try:
        return is_file(cached_model())
    except InputError:
        return False


def fetch_model(url: str = _URL) -> Path:
    """Return the model file, fetched and checked on the first call.

    Raises:
        InputError: it cannot be fetched, or what came is not the file.
    """
    path = cached_model()
    download(
        url,
        path,
        lambda file: sha256_file(file) == _SHA256,
        hint=f"check the network, or name your own copy of {_NAME} with --detector-model",
    )
    return path
