"""From what a user names (files, folders, patterns, lists) to the pictures and videos to read."""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from emonet_deploy.emonet_ref.storage.path_access import is_dir, is_file
from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.runtime.media.content import HEAD, describe_content, media_kind

__all__ = ["VIDEO_SUFFIXES", "Source", "expand_inputs", "is_junk", "is_media_suffix", "read_list"]

# fmt: off
VIDEO_SUFFIXES: Final = frozenset((
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264",
    ".h265", ".hevc", ".ivf", ".m1v", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov", ".mp4", ".mpe",
    ".mpeg", ".mpg", ".mts", ".mxf", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm",
    ".wmv", ".y4m",
))
_PICTURE_SUFFIXES: Final = frozenset((
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2", ".jpe",
    ".jpeg", ".jpg", ".mpo", ".pgm", ".png", ".pjpeg", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
))
# Other things have these endings, too: TypeScript, for one.
_AMBIGUOUS: Final = frozenset((".mts", ".rm", ".ts"))
# Begin like pictures or videos, but are camera raw or sound.
_NEITHER: Final = frozenset((
    ".aac", ".ari", ".arw", ".cr2", ".cr3", ".dng", ".m4a", ".m4b", ".mka", ".nef", ".oga", ".ogg",
    ".opus", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw", ".weba", ".wma",
))
_JUNK_FOLDERS: Final = frozenset((
    "__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot",
    "$recycle.bin", "system volume information", "lost+found",
))
# fmt: on


@dataclass(frozen=True)
class Source:
    """A file to read, and the relative name under which its annotated copy is saved.

    Attributes:
        path: of the file.
        name: relative to the folder that was named.
        kind: what it is, where that was looked up; otherwise its ending says it.
        problem: why there is nothing to read, if so.
    """

    path: Path
    name: Path
    kind: Literal["picture", "video"] | None = None
    problem: str | None = None

    @property
    def is_video(self) -> bool:
        """Whether it is a video; everything else is read as a picture."""
        if self.kind is not None:
            return self.kind == "video"
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def expand_inputs(
    names: Iterable[str], say: Callable[[str], None] = lambda message: None
) -> Iterator[Source]:
    """Yield the files that names, folders (recursively) and glob patterns stand for, in order.

    Within a folder, files are sorted by path; hidden files and what systems put beside pictures
    are passed over, and so is what is neither picture nor video. A file that is named itself is
    always taken. What cannot be found is yielded with its ``problem``.

    Args:
        names: as typed.
        say: is told how many files of a folder were left out.
    """
    for name in names:
        path = Path(name)
        try:
            mode = _mode(path)
            if stat.S_ISDIR(mode):
                otherwise = f"folder {readable(name)} holds no picture or video"
                yield from _some(_in_folder(path, say), path, otherwise)
            elif stat.S_ISREG(mode):
                yield Source(path, Path(path.name), _kind(path))
            elif mode:
                problem = f"{readable(name)} is no file; a camera is read with --camera"
                yield Source(path, Path(path.name), problem=problem)
            elif any(character in name for character in "*?["):
                yield from _some(_matching(path), path, f"nothing matches {readable(name)}")
            else:
                yield Source(path, Path(path.name), problem=_absent(name))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            problem = f"cannot read {readable(name)}: {reason}; check the name"
            yield Source(path, Path(path.name), problem=problem)


def read_list(data: bytes) -> Iterator[str]:
    """Yield the names in a list, one a line, or between NUL bytes as ``find -print0`` writes them.

    Byte-order marks are passed over (after one of UTF-16, the list is), and so are empty lines and
    lines that begin with ``#``, unless a file has that very name.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        text = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf"))
    if "\0" in text:
        yield from filter(None, text.split("\0"))
        return
    for line in text.split("\n"):
        name = line.removesuffix("\r")
        if os.path.lexists(name) or ((name := name.strip()) and not name.startswith("#")):
            yield name


def is_junk(name: str) -> bool:
    """Return whether a file or folder is hidden, or lies beside pictures for a system's use."""
    return name.startswith(".") or name.lower() in _JUNK_FOLDERS


def is_media_suffix(suffix: str) -> bool:
    """Return whether files with that ending are pictures, videos, raw pictures or sound."""
    return suffix.lower() in VIDEO_SUFFIXES | _PICTURE_SUFFIXES | _NEITHER


def _mode(path: Path) -> int:
    """Return the mode of what lies at a path, 0 for nothing.

    Raises:
        OSError: it cannot be told.
        ValueError: there is no such name.
    """
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _absent(name: str) -> str:
    shown = readable(name)
    if re.match(r"[a-zA-Z][\w+.-]+://", name) and not name.lower().startswith("file:"):
        return f"{shown} is an address; read a network camera with --camera ADDRESS"
    if name.isdecimal() or name.startswith("/dev/video"):
        return f"{shown} does not exist; a camera is read with --camera NUMBER"
    return f"{shown} does not exist; check the name"


def _some(sources: Iterable[Source], path: Path, otherwise: str) -> Iterator[Source]:
    empty = True
    for source in sources:
        empty = False
        yield source
    if empty:
        problem = f"{otherwise}; name files the toolkit can read"
        yield Source(path, Path(path.name), problem=problem)


def _in_folder(folder: Path, say: Callable[[str], None]) -> Iterator[Source]:
    left_out: Counter[str] = Counter()
    locked: list[OSError] = []
    found: list[Source] = []
    for here, folders, files in os.walk(folder, onerror=locked.append):
        folders[:] = [name for name in folders if not is_junk(name)]
        for name in files:
            path = Path(here, name)
            if is_junk(name):
                continue
            source = _found(path, path.relative_to(folder))
            if source is not None:
                found.append(source)
            elif is_file(path):
                left_out[path.suffix.lower() or "no ending"] += 1
    for error in locked:
        path = Path(os.fsdecode(error.filename))
        problem = f"cannot read {readable(str(path))}: {error.strerror}; check its permissions"
        found.append(Source(path, path.relative_to(folder), problem=problem))
    yield from sorted(found, key=lambda source: source.path)
    if left_out:
        count, kinds = left_out.total(), ", ".join(map(readable, sorted(left_out)[:8]))
        what = "1 file is" if count == 1 else f"{count} files are"
        where = readable(str(folder))
        say(f"note: {what} neither picture nor video and left out of {where} ({kinds})")


def _matching(pattern: Path) -> Iterator[Source]:
    root = Path(pattern.anchor)
    parts = pattern.relative_to(root).parts
    fixed = next(i for i, part in enumerate(parts) if any(c in part for c in "*?["))
    # As in a shell, a hidden file is matched by a pattern with a dot.
    hidden = any(part.startswith(".") for part in parts[fixed:])
    for path in sorted(root.glob(str(Path(*parts)))):
        beyond = path.relative_to(root).parts[fixed:]
        name = Path(path.name)
        source = Source(path, name, _kind(path)) if is_file(path) else _found(path, name)
        if source is not None and (hidden or not any(map(is_junk, beyond))):
            yield source


def _found(path: Path, name: Path) -> Source | None:
    """Return what was come across in a folder as a source, None for what is left out."""
    if is_file(path):
        kind = _kind(path)
        return None if kind is None else Source(path, name, kind)
    if is_dir(path) or not is_media_suffix(path.suffix):
        return None
    problem = f"{readable(str(path))} is no file, or a link to none; remove it"
    return Source(path, name, problem=problem)


def _kind(path: Path) -> Literal["picture", "video"] | None:
    """Return what a file is: by its ending where that is clear, otherwise by its content."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES - _AMBIGUOUS:
        return "video"
    if suffix in _PICTURE_SUFFIXES:
        return "picture"
    if suffix in _NEITHER:
        return None
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    if suffix in _AMBIGUOUS and describe_content(head) != "text":
        return "video"
    return media_kind(head)
