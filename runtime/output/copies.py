"""Annotated copies of pictures and videos, written while results come."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.storage.files import atomic_write
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.inputs import Source
from emonet_deploy.runtime.media.video import WRITABLE_VIDEOS, VideoWriter, write_video
from emonet_deploy.runtime.output.annotate import Annotator, enlarged
from emonet_deploy.runtime.output.sinks import Sink
from emonet_deploy.runtime.pipeline.pipeline import FrameResult

__all__ = ["CopiesSink", "plan_copies", "write_picture"]

_WRITABLE_PICTURES: Final = frozenset(
    (".bmp", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
)


def plan_copies(target: Path, sources: Sequence[Source], camera: int | None) -> dict[str, Path]:
    """Return where the annotated copy of each source goes, by the name its frames carry.

    Args:
        target: a file for a single source, told by its ending; otherwise a folder, in which copies
            keep the name (and the sub-folder, if a folder was named) of their source, with ``.mp4``
            or ``.png`` in place of endings that cannot be written.
        sources: pictures and videos.
        camera: its number; its video is called ``camera_<number>.mp4``.

    Raises:
        InputError: two copies would get the same name, or several shall go into one file.
    """
    names = {str(source.path): source.name for source in sources}
    videos = {str(source.path) for source in sources if source.is_video}
    if camera is not None:
        names[f"camera {camera}"] = Path(f"camera_{camera}.mp4")
        videos.add(f"camera {camera}")
    if target.suffix.lower() in _WRITABLE_PICTURES | WRITABLE_VIDEOS.keys():
        if len(names) != 1:
            raise InputError(f"{target} is one file for {len(names)} inputs; name a folder")
        if bool(videos) != (target.suffix.lower() in WRITABLE_VIDEOS):
            kind = "a video; end it in .mp4" if videos else "a picture; end it in .png or .jpg"
            raise InputError(f"{target} cannot hold {kind}")
        return {next(iter(names)): target}
    plan: dict[str, Path] = {}
    for name, relative in names.items():
        writable = WRITABLE_VIDEOS if name in videos else _WRITABLE_PICTURES
        if relative.suffix.lower() not in writable:
            relative = relative.with_suffix(".mp4" if name in videos else ".png")
        plan[name] = target / relative
    if len(set(plan.values())) < len(plan):
        twice = next(path for path in plan.values() if list(plan.values()).count(path) > 1)
        raise InputError(f"two inputs would both be saved as {twice}; name their common folder")
    return plan


class CopiesSink(Sink):
    """Draws each result and writes it to the copy of its source."""

    def __init__(self, plan: dict[str, Path], *, landmarks: bool = True) -> None:
        """Take where each copy goes, see ``plan_copies``."""
        self._plan = plan
        self._annotator = Annotator(landmarks=landmarks)
        self._source: str | None = None
        self._video: VideoWriter | None = None

    def append(self, result: FrameResult) -> None:
        """Write a result; the frames of a video come one after the other.

        Raises:
            InputError: the copy cannot be written.
        """
        frame = result.frame
        if frame.source != self._source:
            self._copy.close()
            self._source, self._video = frame.source, None
        if frame.time is None or frame.fps is None:
            picture = self._annotator.draw(enlarged(result))
            write_picture(self._plan[frame.source], picture)
            return
        if self._video is None:
            path = self._plan[frame.source]
            self._video = self._copy.enter_context(write_video(path, frame.fps))
        self._video.write(self._annotator.draw(result), frame.time)

    def _open(self, stack: ExitStack) -> None:
        self._copy = stack.enter_context(ExitStack())  # the copy of the source at hand


def write_picture(path: str | os.PathLike[str], image: NDArray[np.uint8]) -> None:
    """Write an RGB picture in the format its ending names.

    Raises:
        InputError: it cannot be written.
    """
    final = Path(path)
    picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(final.suffix.lower(), picture)
    if not done:
        raise InputError(f"cannot write a picture as {final}; end it in .png or .jpg")
    with atomic_write(final) as temporary:
        temporary.write_bytes(data.tobytes())
