"""The table of data sets: what each is told by, and what reads it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

from emonet_deploy.benchmarks.choices import DatasetFormat, Split
from emonet_deploy.benchmarks.datasets.afew_va import find_clips, read_afew_va
from emonet_deploy.benchmarks.datasets.aff_wild2 import find_videos, read_aff_wild2
from emonet_deploy.benchmarks.datasets.affectnet_arrays import find_arrays, read_affectnet_arrays
from emonet_deploy.benchmarks.datasets.affectnet_pickle import read_affectnet
from emonet_deploy.benchmarks.datasets.base import Dataset
from emonet_deploy.benchmarks.datasets.csv_table import read_table
from emonet_deploy.emonet_ref.storage.path_access import (
    exists,
    is_dir,
    is_file,
)
from emonet_deploy.errors import DatasetError

__all__ = ["DATASETS", "DatasetReader", "find_format", "read_dataset"]


@dataclass(frozen=True)
class DatasetReader:
    """One way in which data sets come.

    Attributes:
        title: what it is called in messages.
        layout: what it is told by, for people.
        matches: tells whether a path is one.
        read: reads it, given the path, the number of classes and the split.
    """

    title: str
    layout: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, int, Split], Dataset]


def _is_pickled(path: Path) -> bool:
    return any(is_file(path / f"{split}_fullpath.pkl") for split in ("test", "val"))


DATASETS: Final[Mapping[DatasetFormat, DatasetReader]] = {
    "table": DatasetReader(
        "a table", "a CSV file", is_file, lambda path, nclass, _: read_table(path, nclass)
    ),
    "affectnet": DatasetReader(
        "AffectNet as the EmoNet authors lay it out", "test_fullpath.pkl and the folder test",
        _is_pickled, read_affectnet,
    ),
    "affectnet-arrays": DatasetReader(
        "AffectNet's later release", "the folders images and annotations (N_exp.npy ...)",
        lambda path: find_arrays(path) is not None, read_affectnet_arrays,
    ),
    "afew-va": DatasetReader(
        "AFEW-VA", "folders NNN with NNN.json",
        lambda path: bool(find_clips(path)), read_afew_va,
    ),
    "aff-wild2": DatasetReader(
        "Aff-Wild2", "text files that begin with valence,arousal",
        lambda path: bool(find_videos(path)), read_aff_wild2,
    ),
}  # fmt: skip
"""In the order in which they are looked for."""


def find_format(path: str | PathLike[str]) -> DatasetFormat:
    """Return how a data set is laid out, told by what lies there.

    Raises:
        DatasetError: there is nothing, or nothing that is known.
    """
    path = Path(path)
    if not exists(path):
        raise DatasetError(f"no data set at {path}; check the name, and whether you may enter it")
    if is_dir(path):
        for name, reader in DATASETS.items():
            if reader.matches(path):
                return name
    elif is_file(path):
        return "table"
    layouts = "; ".join(f"{reader.layout} ({name})" for name, reader in DATASETS.items())
    raise DatasetError(f"{path} is no data set that is known; known are: {layouts}")


def read_dataset(
    path: str | PathLike[str],
    nclass: int = 8,
    split: Split = "test",
    form: DatasetFormat | None = None,
) -> Dataset:
    """Read a data set of any known layout.

    Args:
        path: its root, or a table.
        nclass: 5 or 8.
        split: which part, where it has several.
        form: its layout; by default told by what lies there.

    Raises:
        DatasetError: it cannot be read; the message says why.
    """
    return DATASETS[form or find_format(path)].read(Path(path), nclass, split)
