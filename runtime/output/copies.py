"""Annotated copies of pictures and videos, written while results come."""

import mimetypes
import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.storage.path_access import is_dir, is_file
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.camera import camera_name
from emonet_deploy.runtime.media.inputs import Source, is_media_suffix
from emonet_deploy.runtime.media.video_writer import WRITABLE_VIDEOS, VideoWriter, write_video
from emonet_deploy.runtime.output.annotate import Annotator, enlarged
from emonet_deploy.runtime.output.sinks import Sink
from emonet_deploy.runtime.pipeline.pipeline import FrameResult

__all__ = ["CopiesSink", "plan_copies", "write_picture"]

_WRITABLE_PICTURES: Final = frozenset(
    (".bmp", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
)
_WORDS: Final = re.compile(r"[^\w.-]+")


def plan_copies(
    target: Path, sources: Sequence[Source], camera: int | str | None
) -> dict[str, Path]:
    """Return where the annotated copy of each source goes, by the name its frames carry.

    Args:
        target: a file for a single source, told by its ending; otherwise a folder, in which copies
            keep the name (and the sub-folder, if a folder was named) of their source, with ``.mp4``
            or ``.png`` in place of endings that cannot be written; behind them where two sources
            differ in nothing else.
        sources: pictures and videos.
        camera: its number or address; its video is called ``camera_<number>.mp4``.

    Raises:
        InputError: nothing can be written with that ending, two copies would get the same name, or
            several shall go into one file.
    """
    there = [source for source in sources if source.problem is None]
    names = {str(source.path): source.name for source in there}
    videos = {str(source.path) for source in there if source.is_video}
    if camera is not None:
        names[camera_name(camera)] = Path(f"camera_{_WORDS.sub('_', camera_name(camera)[7:])}.mp4")
        videos.add(camera_name(camera))
    suffix = target.suffix.lower()
    if suffix in _WRITABLE_PICTURES | WRITABLE_VIDEOS.keys() and not is_dir(target):
        if len(names) != 1:
            raise InputError(f"{target} is one file for {len(names)} inputs; name a folder")
        if bool(videos) != (suffix in WRITABLE_VIDEOS):
            kind = "a video; end it in .mp4" if videos else "a picture; end it in .png or .jpg"
            raise InputError(f"{target} cannot hold {kind}")
        return {next(iter(names)): target}
    if _is_file_name(target):
        raise InputError(
            f"cannot write {target}: end a video in {', '.join(WRITABLE_VIDEOS)}, a picture in "
            f"{', '.join(sorted(_WRITABLE_PICTURES))}, or name a folder"
        )
    plan = {name: target / _writable(path, name in videos) for name, path in names.items()}
    taken = Counter(plan.values())
    plan = {
        name: path if taken[path] == 1 else target / _writable(names[name], name in videos, True)
        for name, path in plan.items()
    }
    if len(set(plan.values())) < len(plan):
        twice = next(path for path, count in Counter(plan.values()).items() if count > 1)
        raise InputError(f"two inputs would both be saved as {twice}; name their common folder")
    return plan


def _writable(name: Path, is_video: bool, behind: bool = False) -> Path:
    """Return a name with an ending that can be written, in place of its own or behind it."""
    if name.suffix.lower() in (WRITABLE_VIDEOS if is_video else _WRITABLE_PICTURES):
        return name
    suffix = ".mp4" if is_video else ".png"
    return name.with_name(name.name + suffix) if behind else name.with_suffix(suffix)


def _is_file_name(target: Path) -> bool:
    """Return whether a name's ending is that of some kind of file, rather than a folder's."""
    known = is_media_suffix(target.suffix) or mimetypes.guess_type(target.name)[0] is not None
    return known and not is_dir(target)


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
            clip = Path(frame.source)
            sound = clip if is_file(clip) else None
            self._video = self._copy.enter_context(write_video(path, frame.fps, sound))
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
    try:
        done, data = cv2.imencode(final.suffix.lower(), picture)
    except cv2.error:  # of a format that there is not
        done = False
    if not done:
        raise InputError(f"cannot write a picture as {final}; end it in .png or .jpg")
    with atomic_write(final) as temporary:
        temporary.write_bytes(data.tobytes())
