"""From what a user names (files, folders, patterns) to the pictures and videos to read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emonet_deploy.errors import InputError

__all__ = ["VIDEO_SUFFIXES", "Source", "expand_inputs"]

# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".ogv", ".ts", ".webm", ".wmv",
))
_PICTURE_SUFFIXES = frozenset((
    ".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
))
# fmt: on


@dataclass(frozen=True)
class Source:
    """A file to read, and the relative name under which its annotated copy is saved."""

    path: Path
    name: Path

    @property
    def is_video(self) -> bool:
        """Whether the name says video; everything else is read as a picture."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def expand_inputs(names: Iterable[str]) -> Iterator[Source]:
    """Yield the files that names, folders (recursively) and glob patterns stand for, in order.

    Within a folder, files are sorted by path, and those that are neither picture nor video by
    their suffix are passed over; a file that is named itself is always taken.

    Raises:
        InputError: a name does not exist, or a folder or pattern holds no picture or video.
    """
    for name in names:
        path = Path(name)
        if path.is_dir():
            yield from _some(_in_folder(path), f"folder {name} holds no picture or video")
        elif path.exists():
            yield Source(path, Path(path.name))
        elif any(character in name for character in "*?["):
            yield from _some(_matching(path), f"nothing matches {name}")
        else:
            raise InputError(f"{name} does not exist; check the name")


def _some(sources: Iterable[Source], otherwise: str) -> Iterator[Source]:
    empty = True
    for source in sources:
        empty = False
        yield source
    if empty:
        raise InputError(f"{otherwise}; name files the toolkit can read")


def _in_folder(folder: Path) -> Iterator[Source]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in VIDEO_SUFFIXES | _PICTURE_SUFFIXES and path.is_file():
            yield Source(path, path.relative_to(folder))


def _matching(pattern: Path) -> Iterator[Source]:
    root = Path(pattern.anchor)
    for path in sorted(root.glob(str(pattern.relative_to(root)))):
        if path.is_file():
            yield Source(path, Path(path.name))
