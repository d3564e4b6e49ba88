"""Videos and cameras as streams of frames, and annotated videos written back."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.storage.files import atomic_write
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.frame import Frame

__all__ = ["WRITABLE_VIDEOS", "VideoReader", "VideoWriter", "write_video"]

# What OpenCV's wheels can encode everywhere; H.264 is not among it.
WRITABLE_VIDEOS: Final = {
    ".mp4": "mp4v",
    ".m4v": "mp4v",
    ".mov": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
}
_MAX_FAILURES = 300  # In a row; a broken stretch is shorter, a lying header is not waited for.
_MAX_REPEATS = 10.0  # Seconds a picture may stand; a longer jump of the time stamps is cut.


class VideoReader:
    """Iterates over the frames of a video file or a camera, once.

    Attributes:
        fps: frames per second, as the file or camera says, 25 when it says nothing sensible.
        announced: how many frames the header promises; 0 when unknown, as with cameras.
        broken: how many frames could not be decoded or were missing at the end, so far.
    """

    def __init__(self, source: str | os.PathLike[str] | int) -> None:
        """Open a file by its path or a camera by its number.

        Raises:
            InputError: there is no such file or camera, or OpenCV cannot decode it.
        """
        self.name = f"camera {source}" if isinstance(source, int) else os.fspath(source)
        self._live = isinstance(source, int)
        if isinstance(source, int):
            self._capture = cv2.VideoCapture(source)
        elif Path(source).is_file():
            self._capture = cv2.VideoCapture(os.fspath(source), cv2.CAP_FFMPEG)
        else:
            raise InputError(f"{self.name} does not exist; check the name")
        if not self._capture.isOpened():
            raise InputError(
                f"{self.name} is not there or in use; check its number and its permissions"
                if self._live
                else f"cannot open {self.name} as a video: it is damaged, cut off or in an "
                "unknown format; try to convert it to MP4"
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if np.isfinite(fps) and 0.1 <= fps <= 1000 else 25.0
        announced = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.announced = int(announced) if 0 < announced < 1e9 and not self._live else 0
        self.broken = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames and close the file; broken ones are counted and passed over.

        Raises:
            InputError: not a single frame can be decoded, or the camera stops answering.
        """
        index, failures, last = 0, 0, -1.0
        start = time.monotonic()
        try:
            while failures < _MAX_FAILURES:
                good, image = self._capture.read()
                if not good:
                    failures += 1
                    if self._live or index + failures > self.announced:
                        break
                    continue
                self.broken += failures
                index, failures = index + failures, 0
                last = self._time(index, last, start)
                yield Frame(
                    cv2.cvtColor(np.asarray(image, np.uint8), cv2.COLOR_BGR2RGB),  # type: ignore[arg-type]
                    self.name,
                    index,
                    last,
                    self.fps,
                )
                index += 1
        finally:
            self._capture.release()
        if index == 0:
            raise InputError(f"{self.name} holds no frame that can be decoded; check the file")
        if self._live:
            raise InputError(f"{self.name} stopped answering; check its cable")
        # Headers without an index only estimate their length, so one frame less is no loss.
        missing = self.announced - index
        self.broken += missing if missing > 1 else 0

    def _time(self, index: int, last: float, start: float) -> float:
        if self._live:
            return time.monotonic() - start
        stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        # Damaged files repeat stamps or run backwards; time does neither.
        return stamp if np.isfinite(stamp) and stamp > last else last + 1 / self.fps


class VideoWriter:
    """Writes frames where their time stamps put them; made by ``write_video``."""

    def __init__(self, path: Path, final: Path, fps: float) -> None:
        self._path, self._final, self._fps = path, final, fps
        self._writer: cv2.VideoWriter | None = None
        self._start = 0.0
        self._count = 0
        self._last: Any = None

    def write(self, image: NDArray[np.uint8], at: float) -> None:
        """Append a frame.

        A frame that comes late leaves the one before it standing, and of two frames for one place
        the later is dropped: the video keeps the clip's time even where frames were broken or came
        at an uneven pace.

        Args:
            image: uint8 H x W x 3, RGB, of the same size every time.
            at: seconds since the clip began.

        Raises:
            InputError: the video cannot be written.
        """
        # Codecs want even sides: an odd one is widened by its last column or row.
        height, width = image.shape[:2]
        even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._writer is None:
            self._writer, self._start = self._open(even.shape[1], even.shape[0]), at
        place = round((at - self._start) * self._fps)
        longest = round(_MAX_REPEATS * self._fps)
        if place - self._count > longest:
            self._start += (place - self._count - longest) / self._fps
            place = self._count + longest
        picture = cv2.cvtColor(even, cv2.COLOR_RGB2BGR)
        while self._count <= place:
            self._writer.write(self._last if self._count < place else picture)
            self._count += 1
        self._last = picture

    def close(self) -> None:
        """Finish the file.

        Raises:
            InputError: the file lacks frames, as on a full disk.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        check = cv2.VideoCapture(os.fspath(self._path), cv2.CAP_FFMPEG)
        found = int(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        if found < self._count - 1:
            raise InputError(
                f"{self._final} holds {found} of {self._count} frames; free some space and repeat"
            )

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        codec = WRITABLE_VIDEOS[self._final.suffix.lower()]
        writer = cv2.VideoWriter(
            os.fspath(self._path),
            cv2.CAP_FFMPEG,
            cv2.VideoWriter.fourcc(*codec),
            self._fps,
            (width, height),
        )
        if not writer.isOpened():
            raise InputError(
                f"cannot write {self._final} ({width} x {height} at {self._fps:g} frames per "
                "second); name a folder that can be written and a common size"
            )
        return writer


@contextmanager
def write_video(path: str | os.PathLike[str], fps: float) -> Iterator[VideoWriter]:
    """Yield a writer; the file gets its name when the block succeeds.

    Args:
        path: its ending, one of ``WRITABLE_VIDEOS``, chooses the format.
        fps: frames per second.

    Raises:
        InputError: the ending is unknown, or the file cannot be written.
    """
    final = Path(path)
    if final.suffix.lower() not in WRITABLE_VIDEOS:
        raise InputError(
            f"cannot write {final}: a video's name ends in {', '.join(WRITABLE_VIDEOS)}"
        )
    with atomic_write(final) as temporary:
        writer = VideoWriter(temporary, final, fps)
        try:
            yield writer
        finally:
            writer.close()
