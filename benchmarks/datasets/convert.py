"""Any data set as the toolkit's table, which every command and other programs read."""

import csv
from os import PathLike
from pathlib import Path
from typing import Final

from emonet_deploy.benchmarks.datasets.affectnet_pickle import is_consistent
from emonet_deploy.benchmarks.datasets.base import Dataset
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.storage.path_access import exists, open_file, resolve
from emonet_deploy.emonet_ref.storage.path_encoding import csv_path
from emonet_deploy.errors import DatasetError

__all__ = ["COLUMNS", "write_table"]

COLUMNS: Final = ("path", "expression", "valence", "arousal", "x0", "y0", "x1", "y1")


def write_table(
    dataset: Dataset, path: str | PathLike[str], *, cleaned: bool = False, force: bool = False
) -> int:
    """Write a data set, read for 8 classes, as a table of ``COLUMNS``.

    Args:
        dataset: what to write.
        path: a CSV file in the folder of the pictures or above it, since its paths lead down.
        cleaned: keep only samples that pass the paper's cleaning of AffectNet.
        force: replace a table of this kind that lies there; nothing else is.

    Returns:
        How many samples were written.

    Raises:
        DatasetError: the pictures do not lie below the table, a file lies there already, no sample
            is left, or it cannot be written.
    """
    table = Path(path)
    folder, pictures = resolve(table.parent), resolve(dataset.pictures)
    if not pictures.is_relative_to(folder):
        raise DatasetError(
            f"the paths in a table lead down from its folder; write it to {pictures / table.name}"
        )
    if exists(table) and not force:
        raise DatasetError(f"{table} exists; name another file, or add --force")
    if exists(table) and not _is_ours(table):
        raise DatasetError(f"{table} is no table of this toolkit's; name another file")
    if dataset.nclass != 8:
        raise DatasetError("a table keeps all eight emotions; read the data set for 8 classes")
    kept = [
        sample
        for sample in dataset.samples
        if not cleaned
        or (
            sample.expression != NO_EXPRESSION
            and is_consistent(sample.expression, sample.valence, sample.arousal)
        )
    ]
    if not kept:
        raise DatasetError(f"{dataset.name}: no sample passes the paper's cleaning of AffectNet")
    with (
        atomic_write(table, DatasetError) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for sample in kept:
            expression = "" if sample.expression == NO_EXPRESSION else sample.expression
            start = (pictures / sample.path).relative_to(folder).as_posix()
            box = sample.box or ("", "", "", "")
            writer.writerow((csv_path(start), expression, sample.valence, sample.arousal, *box))
    return len(kept)


def _is_ours(table: Path) -> bool:
    """Tell by its heading: a data set's own tables must not be replaced."""
    heading = ",".join(COLUMNS).encode()
    try:
        with open_file(table) as file:
            return file.readline(len(heading) + 2).strip() == heading
    except OSError:
        return False
