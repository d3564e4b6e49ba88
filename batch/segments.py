"""Long clips cut into segments that overlap, so that several workers read one clip."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from emonet_deploy.batch.files.fetch import fetch, is_called_clip
from emonet_deploy.batch.parts import Part
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.video import VideoReader

__all__ = ["Segments", "cut_files"]


@dataclass(frozen=True)
class Segments:
    """How clips are cut.

    Attributes:
        segment: seconds from the start of a segment to that of the next.
        overlap: seconds that a segment goes on into the next; there, identities are found again,
            and smoothing begins.
    """

    segment: float
    overlap: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.segment:
            raise InputError(
                f"segments of {self.segment:g} s cannot overlap by {self.overlap:g} s",
                hint="the overlap is shorter than a segment",
            )

    def of(self, file: str, duration: float) -> list[Part]:
        """Return the parts of a clip.

        Args:
            file: its name or address.
            duration: in seconds, which may be an estimate: the last part is read to the end.
        """
        count = ceil((duration - self.overlap) / self.segment)
        if count < 2:
            return [Part(file)]
        starts = [i * self.segment for i in range(count)]
        stops = [start + self.overlap for start in starts[1:]]
        return [Part(file, start, stop) for start, stop in zip(starts, [*stops, None], strict=True)]


def cut_files(files: Sequence[str], segments: Segments) -> list[Part]:
    """Return the parts of files: pictures, short clips and what cannot be read are whole.

    Clips are opened one after the other; one in an object store is copied here for that.

    Args:
        files: names or addresses. Clips are those that are called so.
        segments: how they are cut.
    """
    return [part for file in files for part in segments.of(file, _duration(file))]


def _duration(file: str) -> float:
    """Return the seconds that a clip lasts, as far as it says so; 0 for what is none."""
    if not is_called_clip(file):
        return 0.0
    try:
        with TemporaryDirectory(prefix="emonet-") as folder:
            reader = VideoReader(fetch(file, Path(folder), 0).path)
    except InputError:  # of which its row will tell
        return 0.0
    return reader.announced / reader.fps
