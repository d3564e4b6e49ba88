"""``emonet dataset``: make data sets, and convert those people have."""

from pathlib import Path
from typing import Annotated

import typer

from emonet_deploy.benchmarks.choices import DatasetFormat, Split
from emonet_deploy.commands.console import progress_bar, say, show
from emonet_deploy.commands.options import CheckpointName, Device, NClass, Threads

__all__ = ["convert", "make"]


def make(
    folder: Path,
    n: Annotated[int, typer.Option("--n", help="Number of samples.", min=1, max=1_000_000)] = 500,
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    seed: Annotated[int, typer.Option(help="Of faces and labels.", min=0)] = 0,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Write procedural faces in AffectNet's layout, labelled around a checkpoint's outputs."""
    from emonet_deploy.benchmarks.datasets.procedural import make_procedural
    from emonet_deploy.commands.prepare_artifacts import resolve_checkpoint
    from emonet_deploy.runtime.backends.registry import load_session

    source = resolve_checkpoint(checkpoint, nclass, say)
    with (
        load_session(source.path, device=device, threads=threads) as reference,
        progress_bar("drawing") as progress,
    ):
        make_procedural(folder, reference, n, seed, progress)
    show(folder, f"{n} samples")


def convert(
    source: Path,
    table: Annotated[Path, typer.Argument(help="CSV file, in the pictures' folder or above it.")],
    form: Annotated[
        DatasetFormat | None,
        typer.Option("--format", help="Layout of the data; by default told by what lies there."),
    ] = None,
    split: Annotated[Split, typer.Option(help="Of AffectNet.")] = "test",
    cleaned: Annotated[
        bool, typer.Option("--cleaned", help="Keep what passes the paper's cleaning of AffectNet.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the table if it exists.")] = False,
) -> None:
    """Write a data set of any known layout as the toolkit's table; see docs/datasets.md."""
    from emonet_deploy.benchmarks.datasets.convert import write_table
    from emonet_deploy.benchmarks.datasets.load import read_dataset
    from emonet_deploy.commands.outputs import check_outputs

    check_outputs([], [source], kept=[table])
    dataset = read_dataset(source, 8, split, form)
    for reason, count in dataset.left_out.items():
        say(f"left out: {count} {reason}")
    written = write_table(dataset, table, cleaned=cleaned, force=force)
    show(table, f"{written} samples")
