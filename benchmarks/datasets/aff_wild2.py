"""Aff-Wild2, valence and arousal: a text file for each video, a picture for each frame (ABAW).

A file's first line is ``valence,arousal``, and each further line is of the next frame; -5 stands
for none. The frames, cropped and aligned by the data set's authors, lie under the video's name as
``00001.jpg`` ..., in a folder such as ``cropped_aligned``; where no face was found there is none.
"""

import os
from collections import Counter
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Final

from emonet_deploy.benchmarks.choices import Split
from emonet_deploy.benchmarks.datasets.base import Dataset, Sample, number, unit_number
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.emonet_ref.storage.path_access import (
    is_dir,
    open_file,
    read_text,
    why,
)
from emonet_deploy.errors import DatasetError

__all__ = ["find_videos", "read_aff_wild2"]

HEADER: Final = "valence,arousal"
MISSING: Final = -5.0
MAX_SIZE: Final = 64 << 20
MAX_DEPTH: Final = 4
"""Folders between the root and the text files."""

_CROPS: Final = ("cropped_aligned", "cropped_aligned_new", "cropped", "images", "frames", ".")


def find_videos(root: Path) -> list[Path]:
    """Return the text files below ``root`` that annotate valence and arousal.

    Where there are files for training, too, those are no part of it.
    """
    found = sorted(path for path in _text_files(root, MAX_DEPTH) if _first_line(path) == HEADER)
    others = [
        path
        for path in found
        if not any("train" in part.lower() for part in path.relative_to(root).parts[:-1])
    ]
    return others or found


def read_aff_wild2(root: str | PathLike[str], nclass: int = 8, split: Split = "test") -> Dataset:
    """Read the annotations of all videos; those for validation alone, where there are others.

    No picture is opened. Frames marked -5 and frames without a picture are left out, and counted.

    Raises:
        DatasetError: a file is damaged, a value impossible, or no sample is left.
    """
    root = Path(root)
    videos = find_videos(root)
    pictures = next(
        (
            root / name
            for name in _CROPS
            if any(is_dir(root / name / video.stem) for video in videos)
        ),
        root,
    )
    samples: list[Sample] = []
    left_out: Counter[str] = Counter()
    for video in videos:
        try:
            _, *lines = read_text(video, MAX_SIZE).splitlines()
            folder = pictures / video.stem
            there = {Path(x).stem: x for x in os.listdir(folder)} if is_dir(folder) else {}
        except OSError as error:
            raise DatasetError(f"cannot read {video}: {why(error)}; check --data") from error
        for at, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = [number(text, HEADER) for text in line.split(",")]
                if len(values) != 2:
                    raise DatasetError(f"it has {len(values)} values, not two")
                picture = there.get(f"{at:05d}")
                if MISSING in values:
                    left_out["without valence and arousal (-5)"] += 1
                elif picture is None:
                    left_out["without a picture"] += 1
                else:
                    valence, arousal = (unit_number(value, HEADER) for value in values)
                    path = f"{video.stem}/{picture}"
                    samples.append(Sample(path, NO_EXPRESSION, valence, arousal, None))
            except DatasetError as error:
                raise DatasetError(f"{video}, line {at + 1}: {error}") from error
    return Dataset("Aff-Wild2", pictures, nclass, tuple(samples), left_out)


def _text_files(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"cannot read {folder}: {why(error)}; check --data") from error
    names = {entry.name for entry in entries}
    for entry in entries:
        if entry.name.endswith(".txt"):
            yield Path(entry.path)
        # The frames of a video are no place for annotations, and there are a million of them.
        elif depth and entry.is_dir() and entry.name not in _CROPS and "00001.jpg" not in names:
            yield from _text_files(Path(entry.path), depth - 1)


def _first_line(path: Path) -> str:
    try:
        with open_file(path) as file:
            return file.readline(100).decode("utf-8-sig").strip().lower().replace(" ", "")
    except (OSError, UnicodeDecodeError):
        return ""
