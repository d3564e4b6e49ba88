"""Annotated videos, written by OpenCV, or as H.264 with sound where PyAV is installed."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.storage.path_encoding import readable, utf8_path
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media import h264_writer as h264

__all__ = ["WRITABLE_VIDEOS", "VideoWriter", "write_video"]

# What OpenCV's wheels can encode everywhere; H.264 is not among it.
WRITABLE_VIDEOS: Final = {
    ".mp4": "mp4v",
    ".m4v": "mp4v",
    ".mov": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
}


class VideoWriter(Protocol):
    """Takes the frames of a video; made by ``write_video``."""

    def write(self, image: NDArray[np.uint8], time: float) -> None:
        """Append a frame.

        Args:
            image: uint8 H x W x 3, RGB, of the same size every time.
            time: seconds since the clip began.

        Raises:
            InputError: the video cannot be written.
        """


@contextmanager
def write_video(
    path: str | os.PathLike[str], fps: float, sound_of: Path | None = None
) -> Iterator[VideoWriter]:
    """Yield a writer; the file gets its name when the block succeeds.

    Args:
        path: its ending, one of ``WRITABLE_VIDEOS``, chooses the format. MP4, QuickTime and
            Matroska are H.264 where PyAV is installed, and MPEG-4 otherwise.
        fps: frames per second.
        sound_of: the clip whose sound goes along, where PyAV is installed.

    Raises:
        InputError: the ending is unknown, or the file cannot be written.
    """
    final = Path(path)
    codec = WRITABLE_VIDEOS.get(final.suffix.lower())
    if codec is None:
        raise InputError(
            f"cannot write {readable(str(final))}: a video's name ends in "
            f"{', '.join(WRITABLE_VIDEOS)}"
        )
    with atomic_write(final) as temporary:
        if codec == "mp4v" and h264.is_installed():
            with h264.H264Writer(temporary, final, fps, sound_of) as writer:
                yield writer
        else:
            with closing(_OpenCVWriter(temporary, final, codec, fps)) as plain:
                yield plain


class _OpenCVWriter:
    """Writes frames where their time stamps put them, at a constant rate.

    A frame that comes late leaves the one before it standing; one whose place is taken stands at
    the next, and is dropped if that is taken, too: the video keeps the clip's time even where
    frames were broken or came at an uneven pace.
    """

    def __init__(self, path: Path, final: Path, codec: str, fps: float) -> None:
        self._path, self._final, self._codec, self._fps = path, final, codec, fps
        self._writer: cv2.VideoWriter | None = None
        self._start = 0.0
        self._count = 0
        self._last: Any = None

    def write(self, image: NDArray[np.uint8], time: float) -> None:
        # Codecs want even sides: an odd one is widened by its last column or row.
        height, width = image.shape[:2]
        even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._writer is None:
            self._writer, self._start = self._open(even.shape[1], even.shape[0]), time
        place = round((time - self._start) * self._fps)
        longest = round(h264.MAX_STILL * self._fps)
        if place - self._count > longest:
            self._start += (place - self._count - longest) / self._fps
            place = self._count + longest
        if place == self._count - 1:
            place = self._count
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
        with utf8_path(self._path) as path:
            check = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        found = int(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        if found < self._count - 1:
            raise InputError(
                f"{readable(str(self._final))} holds {found} of {self._count} frames; free some "
                "space and repeat"
            )

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        code = cv2.VideoWriter.fourcc(*self._codec)
        with utf8_path(self._path) as path, _silence(self._codec == "VP80"):
            writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, code, self._fps, (width, height))
        if not writer.isOpened():
            raise InputError(
                f"cannot write {readable(str(self._final))} ({width} x {height} at {self._fps:g} "
                "frames per second); name a folder that can be written and a common size"
            )
        return writer


@contextmanager
def _silence(wanted: bool) -> Iterator[None]:
    """Keep standard error from OpenCV, which says of every WebM file that its tag is unusual."""
    if not wanted:
        yield
        return
    kept = os.dup(2)
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        os.close(nothing)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
