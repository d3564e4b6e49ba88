"""Video files as streams of frames, as players show them: upright, in shape, at their times."""

import os
from collections.abc import Iterator
from math import inf
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.storage.path_access import open_file, why
from emonet_deploy.emonet_ref.storage.path_encoding import readable, utf8_path
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.content import HEAD, describe_content
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.media.frame_sampling import Pace
from emonet_deploy.runtime.media.video_truncation import is_cut_short

__all__ = ["VideoReader"]

_MAX_FAILURES = 300  # In a row; a broken stretch is shorter, a lying header is not waited for.
_PROBED = 48  # Frames whose times tell the real rate.
_MAX_FPS = 240.0
# By their four characters; OpenCV's wheels decode none of them.
_UNDECODABLE: Final = {"AV01": "AV1", "VVC1": "H.266", "VVI1": "H.266", "EVC1": "EVC"}


class VideoReader:
    """Iterates over the frames of a video file, once.

    Attributes:
        name: the path.
        fps: frames per second: what the file says where its frames keep to it, else what their
            times say; 25 when neither says anything sensible.
        announced: how many frames the file promises, which may be an estimate; 0 when unknown.
        broken: how many frames could not be decoded, or are missing since the file is cut short,
            so far.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        every: int = 1,
        max_fps: float | None = None,
        start: float = 0.0,
        stop: float = inf,
    ) -> None:
        """Open a file.

        Args:
            source: its path.
            every: yield only each so-many-th frame; those between are not converted.
            max_fps: yield at most so many frames of each second.
            start: yield frames from that second on. Those before are decoded all the same, so that
                numbers, times and choice of frames are those of the whole clip.
            stop: yield frames before that second.

        Raises:
            InputError: there is no such file, or OpenCV cannot decode it.
        """
        self.name = os.fspath(source)
        self._path = Path(source)
        self._pace = Pace(every, max_fps)
        self._start, self._stop = start, stop
        shown = readable(self.name)
        try:
            with open_file(source) as file:
                head = file.read(HEAD)
        except FileNotFoundError as error:
            raise InputError(f"{shown} does not exist; check the name") from error
        except OSError as error:
            raise InputError(f"cannot read {shown}: {why(error)}; check it") from error
        self._is_avi = head[:4] == b"RIFF"
        probe = self._open()
        if probe is None:
            what = describe_content(head)
            if what in {"a video", "of another kind"}:
                what = "damaged, cut off or in an unknown format"
            raise InputError(
                f"cannot open {shown} as a video: it is {what}", hint="try to convert it to MP4"
            )
        spacing, offset = _probe(probe)
        said = _number(probe.get(cv2.CAP_PROP_FPS), 0.1, 100_000)
        self._is_steady = bool(said and spacing and abs(said * spacing - 1) < 0.1)
        # A rate like 1000 or 90000 that no frames keep to is that of a clock.
        if not self._is_steady:
            said = 1 / spacing if spacing else said if said <= _MAX_FPS else 0.0
        self.fps = min(said or 25.0, 4 * _MAX_FPS)
        announced = _number(probe.get(cv2.CAP_PROP_FRAME_COUNT), 1, 1e9)
        self.announced = int(announced - offset) if announced > offset else int(announced)
        self.broken = 0
        self._aspect = _pixel_aspect(probe)
        code = int(probe.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        self._codec = readable(code.to_bytes(4, "little").decode("latin-1")).strip()
        probe.release()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames and close the file; broken ones are counted and passed over.

        Raises:
            InputError: not a single frame can be decoded.
        """
        capture = self._open()
        if capture is None:
            raise InputError(f"{readable(self.name)} is gone; check the name")
        index, failures, first, last = 0, 0, 0.0, -1.0
        fps = self._pace.rate(self.fps)
        try:
            while failures < _MAX_FAILURES:
                if not capture.grab():
                    failures += 1
                    if index + failures > self.announced:
                        break
                    continue
                stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                # Damaged files repeat stamps or run backwards; time does neither.
                last = stamp if np.isfinite(stamp) and stamp > last else last + 1 / self.fps
                at = round(last, 6)  # as it is written
                if at >= self._stop:
                    return
                wanted = self._pace.wants(index + failures, last) and at >= self._start
                good, image = capture.retrieve() if wanted else (True, None)
                if not good:
                    failures += 1
                    continue
                self.broken += failures
                index, failures = index + failures, 0
                first = first if index else last
                if image is not None:
                    yield Frame(_as_shown(image, self._aspect), self.name, index, last, fps)
                index += 1
        finally:
            capture.release()
        if index == 0:
            raise InputError(self._undecodable())
        self.broken += self._missing(index, last - first)

    def _open(self) -> cv2.VideoCapture | None:
        with utf8_path(self._path) as path:
            capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            return None
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # not by itself before OpenCV 4.12
        return capture

    def _missing(self, index: int, span: float) -> int:
        """Return how many frames a file lacks at its end, or nowhere in time.

        The announced number is only believed of files that are cut short and of AVI, which counts
        its frames: elsewhere it is often duration times rate, or counts frames that were cut out.
        """
        if not self._is_steady or not (self._is_avi or is_cut_short(self._path)):
            return 0
        # Frames that were dropped while recording leave a gap in time.
        missing = self.announced - max(index, round(span * self.fps) + 1)
        # Headers without an index only estimate their length, so one frame less is no loss.
        return missing if missing > 1 else 0

    def _undecodable(self) -> str:
        name = readable(self.name)
        codec = _UNDECODABLE.get(self._codec.upper())
        if codec is not None:
            return (
                f"{name} is coded as {codec}, which OpenCV cannot decode here; convert it to "
                f"H.264, as with ffmpeg -i {self._path.name!r} {self._path.stem + '_h264.mp4'!r}"
            )
        coded = f" of its codec {self._codec}" if self._codec.isprintable() and self._codec else ""
        return (
            f"{name} holds no frame{coded} that can be decoded; check the file, or convert it to "
            "H.264"
        )


def _probe(capture: cv2.VideoCapture) -> tuple[float, float]:
    """Return the usual seconds between frames, 0 where unknown, and how many frames it skips.

    The latter is where the clip begins in a longer recording, whose length it may announce.
    """
    stamps: list[float] = []
    offset, failures = 0.0, 0
    while len(stamps) < _PROBED and failures < _PROBED:
        if not capture.grab():
            failures += 1
            continue
        if not stamps:
            offset = _number(capture.get(cv2.CAP_PROP_PTS), 0, 1e9)
        stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    steps = [step for step in np.diff(stamps).tolist() if np.isfinite(step) and step > 0]
    # Pauses lower no rate.
    usual = [step for step in steps if step <= 2 * median(steps)]
    return (fmean(usual) if usual else 0.0), offset


def _number(value: float, low: float, high: float) -> float:
    """Return a property of a video, 0 where it makes no sense."""
    return value if np.isfinite(value) and low <= value <= high else 0.0


def _pixel_aspect(capture: cv2.VideoCapture) -> float:
    """Return width by height of a pixel, of the picture as it is read."""
    across = _number(capture.get(cv2.CAP_PROP_SAR_NUM), 1, 1e6)
    down = _number(capture.get(cv2.CAP_PROP_SAR_DEN), 1, 1e6)
    if not (across and down and 1 / 8 <= across / down <= 8):
        return 1.0
    # OpenCV turns the picture upright, but not the shape of its pixels.
    turned = round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
    return down / across if turned else across / down


def _as_shown(image: Any, aspect: float) -> NDArray[np.uint8]:  # noqa: ANN401 - OpenCV's Mat
    """Return a frame as RGB, with square pixels; the picture grows, so that nothing is lost."""
    frame = cv2.cvtColor(np.asarray(image, np.uint8), cv2.COLOR_BGR2RGB)
    if aspect != 1:
        height, width = frame.shape[:2]
        wide = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        frame = cv2.resize(frame, wide, interpolation=cv2.INTER_LINEAR)
    return np.asarray(frame, np.uint8)
