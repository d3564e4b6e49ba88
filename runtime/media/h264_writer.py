"""Annotated videos as H.264, which browsers show, with the sound of the clip; by PyAV."""

import importlib.util
import os
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.storage.path_encoding import readable, utf8_path
from emonet_deploy.errors import InputError, one_line

__all__ = ["MAX_STILL", "H264Writer", "is_installed"]

MAX_STILL: Final = 10.0
"""Seconds a picture may stand; a longer jump of the time stamps is cut."""

_CLOCK: Final = 90_000  # Ticks of a second, as usual in video.
_ENCODERS: Final = ("libx264", "libopenh264", "h264")


def is_installed() -> bool:
    """Return whether PyAV is installed, with something that encodes H.264."""
    return _encoder() is not None


def _encoder() -> str | None:
    if importlib.util.find_spec("av") is None:
        return None
    try:
        import av
    except ImportError:  # there, but broken: OpenCV does it then
        return None
    return next((name for name in _ENCODERS if name in av.codecs_available), None)


class H264Writer:
    """Writes each frame at its own time, and then the clip's sound; a context manager."""

    def __init__(self, path: Path, final: Path, fps: float, sound_of: Path | None) -> None:
        """Take where to write.

        Args:
            path: the file written to; its ending names the container.
            final: what errors call it.
            fps: the usual frames per second.
            sound_of: the clip whose sound is copied, if it has some that the container takes.
        """
        self._path, self._final, self._fps, self._sound_of = path, final, fps, sound_of
        self._exit = ExitStack()
        self._video: Any = None
        self._start = 0.0
        self._last = -1

    def __enter__(self) -> Self:
        import av

        try:
            # PyAV opens the file when it writes its head, so its name must last.
            path = self._exit.enter_context(utf8_path(self._path))
            self._file = self._exit.enter_context(av.open(path, "w", format=self._format()))
        except av.error.FFmpegError as error:
            raise self._failure(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        import av

        with self._exit:
            if error is None and self._video is not None:
                try:
                    self._file.mux(self._video.encode(None))
                    self._copy_sound()
                except av.error.FFmpegError as failure:
                    raise self._failure(failure) from failure

    def write(self, image: NDArray[np.uint8], time: float) -> None:
        """Append a frame, see ``VideoWriter``."""
        import av

        # Half the colours are kept, so codecs want even sides: an odd one is widened.
        height, width = image.shape[:2]
        even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        try:
            if self._video is None:
                self._start = time
                self._begin(even.shape[1], even.shape[0])
            frame = av.VideoFrame.from_ndarray(np.asarray(even, np.uint8), format="rgb24")
            # Time only goes forward, and a wild jump of it is cut.
            at = round((time - self._start) * _CLOCK)
            longest = self._last + round(MAX_STILL * _CLOCK)
            if self._last >= 0 and at > longest:
                self._start += (at - longest) / _CLOCK
                at = longest
            self._last = max(self._last + 1, at)
            frame.pts, frame.time_base = self._last, Fraction(1, _CLOCK)
            self._file.mux(self._video.encode(frame))
        except (av.error.FFmpegError, ValueError) as error:
            raise self._failure(error) from error

    def _begin(self, width: int, height: int) -> None:
        rate = Fraction(self._fps).limit_denominator(1001)
        self._video = self._file.add_stream(_encoder() or "h264", rate=rate)
        self._video.width, self._video.height = width, height
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = Fraction(1, _CLOCK)
        self._sound = self._open_sound()

    def _open_sound(self) -> Any:  # noqa: ANN401 - a stream of PyAV
        """Return the clip's stream of sound and ours; streams are declared before the first."""
        import av

        if self._sound_of is None:
            return None
        try:
            with utf8_path(self._sound_of) as path:
                clip = self._exit.enter_context(av.open(path))
            source = next(iter(clip.streams.audio), None)
            if source is None or source.codec_context.name not in self._file.supported_codecs:
                return None
            return clip, source, self._file.add_stream_from_template(source)
        except (av.error.FFmpegError, ValueError, InputError):
            return None

    def _copy_sound(self) -> None:
        if self._sound is None:
            return
        clip, source, stream = self._sound
        end = self._last / _CLOCK + 1 / self._fps
        for packet in clip.demux(source):
            if packet.dts is None:
                continue
            # Frames begin at 0, so the sound does where the first frame was.
            packet.pts -= round(self._start / packet.time_base)
            packet.dts -= round(self._start / packet.time_base)
            if packet.pts * packet.time_base > end:
                break
            if packet.dts >= 0:
                packet.stream = stream
                self._file.mux(packet)

    def _format(self) -> str:
        return {".mkv": "matroska", ".mov": "mov"}.get(self._final.suffix.lower(), "mp4")

    def _failure(self, error: Exception) -> InputError:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
        return InputError(
            f"cannot write {readable(str(self._final))}: {reason or one_line(error)}; free some "
            "space or name another place"
        )
