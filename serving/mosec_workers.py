"""The stages of ``emonet serve`` as mosec's workers: find faces, then read them in batches.

Whatever can be wrong with a picture comes out in the first stage, where each picture is alone:
an error in the second one fails every picture of its batch. Each worker is a process of its own;
mosec makes it without arguments, so its settings come from its environment.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import cv2
import numpy as np

from emonet_deploy.emonet_ref.constants import INPUT_SIZE
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.errors import BackendError, InputError
from emonet_deploy.runtime.detection.base import Detector
from emonet_deploy.runtime.detection.without_search import WholePicture
from emonet_deploy.runtime.pipeline.found_faces import Found, read_found
from emonet_deploy.runtime.pipeline.predictor import Predictor
from emonet_deploy.serving.find_and_answer import Answer, answer, find
from emonet_deploy.serving.worker_settings import (
    CROP_ROUTE,
    FACES_ROUTE,
    Settings,
)

with needs("serve", "serve models"):
    import msgspec
    from mosec import ServerError, ValidationError, Worker

__all__ = ["Find", "Read", "Take"]


@dataclass(frozen=True)
class _Request:
    """A request between the stages; ``started`` is a reading of the system's monotonic clock."""

    found: Found
    route: str
    size: int
    started: float

    def log(self, status: int, error: str = "") -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "route": self.route,
            "status": status,
            "ms": round(1000 * (time.monotonic() - self.started), 1),
            "bytes": self.size,
            "faces": len(self.found.boxes),
        }
        # In one piece: the lines of several processes must not mix.
        sys.stdout.write(json.dumps(line | ({"error": error} if error else {})) + "\n")
        sys.stdout.flush()


class Find(Worker):
    """Decodes a picture, finds its faces and cuts them out; one picture at a time."""

    req_mime_type = "application/octet-stream"
    route: ClassVar[str] = FACES_ROUTE

    def __init__(self) -> None:
        cv2.setNumThreads(1)  # The other processors have workers of their own.
        self._settings = Settings.of_environment()
        self._detector = self._load_detector()
        _say_ready(self)

    def _load_detector(self) -> Detector:
        return self._settings.load_detector()

    def deserialize(self, data: Any) -> Any:  # noqa: ANN401 - mosec's own signature
        """Take the body as it is: decoding it has a time limit only in ``forward``."""
        return data

    def forward(self, data: Any) -> _Request:  # noqa: ANN401 - bytes, which OpenAPI takes as text
        """Answer 422 for what is no picture that can be used."""
        started = time.monotonic()
        try:
            found = find(data, self._detector, self._settings.crop)
        except InputError as error:
            if self._settings.access_log:
                nothing = Found(0, 0, [], [], [], b"")
                _Request(nothing, self.route, len(data), started).log(422, str(error))
            raise ValidationError(str(error)) from error
        return _Request(found, self.route, len(data), started)

    def serialize_ipc(self, data: _Request) -> bytes:
        """Encode what goes to the next stage."""
        return msgspec.msgpack.encode(data)


class Take(Find):
    """Takes a picture that is a face crop."""

    route: ClassVar[str] = CROP_ROUTE

    def _load_detector(self) -> Detector:
        return WholePicture()


class Read(Worker):
    """Reads the faces of several pictures in one batch."""

    resp_mime_type = "application/json"

    def __init__(self) -> None:
        settings = Settings.of_environment()
        self._log = settings.access_log
        self._predictor = Predictor(settings.load_session(), settings.batch)
        # A whole batch before the first request, which else would pay for what is made lazily.
        nobody = np.zeros((INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
        self._predictor.predict_crops([nobody] * settings.batch)
        _say_ready(self)

    def deserialize_ipc(self, data: bytes) -> _Request:
        """Decode what the stage before sent."""
        return msgspec.msgpack.decode(data, type=_Request)

    def forward(self, data: list[_Request]) -> list[Answer]:
        """Answer 500 for all of them when the model fails."""
        try:
            answers = self._read([request.found for request in data])
        except BackendError as error:
            self._log_all(data, 500, str(error))
            raise ServerError("the model failed; the server's log says why") from error
        self._log_all(data, 200)
        return answers

    def _read(self, pictures: Sequence[Found]) -> list[Answer]:
        faces = read_found(pictures, self._predictor)
        return list(map(answer, pictures, faces))

    def _log_all(self, requests: Sequence[_Request], status: int, error: str = "") -> None:
        if self._log:
            for request in requests:
                request.log(status, error)

    def serialize(self, data: Answer) -> bytes:
        """Encode an answer as JSON."""
        return msgspec.json.encode(data)


def _say_ready(worker: Worker) -> None:
    """Tell who is there: one that died is replaced, and this is the only sign of it."""
    sys.stderr.write(f"{type(worker).__name__} {os.getpid()} is ready\n")
