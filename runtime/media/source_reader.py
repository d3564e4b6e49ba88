"""Picture files, videos and cameras as one stream of frames, in the order they were named."""

from collections.abc import Callable, Iterator, Sequence
from threading import Event

from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.camera import CameraReader
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.media.image import read_image
from emonet_deploy.runtime.media.inputs import Source
from emonet_deploy.runtime.media.video import VideoReader

__all__ = ["SourceReader"]


class SourceReader:
    """Iterates over the frames of many files; what cannot be read is counted and passed over.

    Attributes:
        unreadable: how many files gave no frame at all, so far; a camera that fails counts too.
        broken: how many frames of videos were broken or missing, so far.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        camera: int | str | None = None,
        *,
        every: int = 1,
        max_fps: float | None = None,
        say: Callable[[str], None] = lambda message: None,
        stop: Event | None = None,
    ) -> None:
        """Take what shall be read.

        Args:
            sources: pictures and videos.
            camera: number or address of a camera, read after the files until ``stop``.
            every: of videos and cameras, read only each so-many-th frame.
            max_fps: of videos and cameras, read at most so many frames of each second.
            say: is told, in one line each, what was passed over.
            stop: ends the stream when it is set.

        Raises:
            InputError: the camera is not there.
        """
        self._sources = sources
        self._say = say
        self._stop = stop or Event()
        self._every, self._max_fps = every, max_fps
        self._camera = (
            None
            if camera is None
            else CameraReader(camera, every=every, max_fps=max_fps, say=say, stop=self._stop)
        )
        self.unreadable = 0
        self.broken = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames.

        Raises:
            InputError: none of several files can be read, or the only one cannot, or the camera
                gives no picture.
        """
        for source in self._sources:
            try:
                for frame in self._of(source):
                    if self._stop.is_set():
                        return
                    yield frame
            except InputError as error:
                self.unreadable += 1
                if len(self._sources) == 1:
                    raise
                self._say(f"passed over: {error}")
        if self._sources and self.unreadable == len(self._sources):
            raise InputError(f"none of the {self.unreadable} files can be read; see above")
        if self._camera is not None:
            yield from self._live(self._camera)

    def _live(self, camera: CameraReader) -> Iterator[Frame]:
        seen = False
        try:
            for frame in camera:
                if self._stop.is_set():
                    return
                yield frame
                seen = True
        except InputError as error:
            # What a camera showed before it was unplugged is not thrown away.
            self.unreadable += 1
            if not seen:
                raise
            self._say(f"the recording ends here: {error}")

    def _of(self, source: Source) -> Iterator[Frame]:
        if source.problem is not None:
            raise InputError(source.problem)
        if not source.is_video:
            yield Frame(read_image(source.path), str(source.path))
            return
        reader = VideoReader(source.path, every=self._every, max_fps=self._max_fps)
        yield from reader
        if reader.broken:
            self.broken += reader.broken
            self._say(
                f"passed over: {reader.broken} broken or missing frames of {readable(reader.name)}"
            )
