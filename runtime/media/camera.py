"""Cameras, by number or by address, as endless streams of frames."""

import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.media.frame_sampling import Pace

__all__ = ["CameraReader", "camera_name"]

_PATIENCE: Final = 10_000  # Milliseconds for a network camera to answer.
_WAITS: Final = (1.0, 2.0, 4.0, 8.0, 15.0)  # Seconds before each attempt to connect again.


class CameraReader:
    """Iterates over the frames of a camera, until it is stopped or gone for good.

    Attributes:
        name: ``camera 0``, or with an address, of which a password is hidden.
        fps: frames per second as the camera says, 25 when it says nothing sensible.
        broken: how often a network camera was lost and found again, so far.
    """

    def __init__(
        self,
        source: int | str,
        *,
        every: int = 1,
        max_fps: float | None = None,
        say: Callable[[str], None] = lambda message: None,
        stop: Event | None = None,
    ) -> None:
        """Connect to a camera.

        Args:
            source: its number, or its address: rtsp://, http:// ...
            every: yield only each so-many-th frame.
            max_fps: yield at most so many frames of each second.
            say: is told when a network camera is lost and found.
            stop: ends the waiting for a lost one.

        Raises:
            InputError: there is no such camera, nothing answers, or what answers is a clip.
        """
        self.name = camera_name(source)
        self._source, self._pace = source, Pace(every, max_fps)
        self._say, self._stop = say, stop or Event()
        self.broken = 0
        capture = self._open()
        if capture is None:
            hint = "number and its permissions" if isinstance(source, int) else "address"
            raise InputError(f"{self.name} is not there or in use", hint=f"check its {hint}")
        self._capture = capture
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if np.isfinite(fps) and 0.1 <= fps <= 240 else 25.0
        if isinstance(source, str) and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 1:
            # Of a camera only the newest frames count; of a clip all do.
            raise InputError(
                f"{self.name} is a clip, not a camera", hint="download it and name the file"
            )

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; a network camera that is lost is connected to again.

        Raises:
            InputError: the camera stops answering.
        """
        start, index = time.monotonic(), 0
        fps = self._pace.rate(self.fps)
        try:
            while True:
                good, image = self._capture.read()
                if not good:
                    if self._stop.is_set():
                        return
                    if not self._found_again():
                        raise InputError(f"{self.name} stopped answering", hint="check its cable")
                    continue
                now = time.monotonic() - start
                if self._pace.wants(index, now):
                    frame = cv2.cvtColor(np.asarray(image, np.uint8), cv2.COLOR_BGR2RGB)
                    yield Frame(np.asarray(frame, np.uint8), self.name, index, now, fps)
                index += 1
        finally:
            self._capture.release()

    def _open(self) -> cv2.VideoCapture | None:
        if isinstance(self._source, int):
            capture = cv2.VideoCapture(self._source)
        else:
            limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
            parameters = [value for limit in limits for value in (limit, _PATIENCE)]
            capture = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG, parameters)
        return capture if capture.isOpened() else None

    def _found_again(self) -> bool:
        if isinstance(self._source, int):
            return False
        self._capture.release()
        self._say(f"{self.name} stopped answering; trying again")
        for seconds in _WAITS:
            if self._stop.wait(seconds):
                return False
            capture = self._open()
            if capture is not None:
                self._capture = capture
                self.broken += 1
                self._say(f"{self.name} is back")
                return True
        return False


def camera_name(source: int | str) -> str:
    """Return what a camera is called, without the password its address may hold."""
    if isinstance(source, int):
        return f"camera {source}"
    parts = urlsplit(source)
    _, at, host = parts.netloc.rpartition("@")
    return f"camera {urlunsplit(parts._replace(netloc=f'***@{host}' if at else host))}"
