"""``emonet dataset``: make data sets."""

from pathlib import Path
from typing import Annotated

import typer

from emonet_deploy.commands.console import progress_bar, say, show
from emonet_deploy.commands.options import CheckpointName, Device, NClass, Threads

__all__ = ["make"]


def make(
    folder: Path,
    n: Annotated[int, typer.Option("--n", help="Number of samples.", min=1)] = 500,
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    seed: Annotated[int, typer.Option(help="Of faces and labels.", min=0)] = 0,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Write procedural faces in AffectNet's layout, labelled around a checkpoint's outputs."""
    from emonet_deploy.benchmarks.datasets.procedural import make_procedural
    from emonet_deploy.commands.artifacts import resolve_checkpoint
    from emonet_deploy.runtime.backends.registry import load_session

    source = resolve_checkpoint(checkpoint, nclass, say)
    with (
        load_session(source.path, device=device, threads=threads) as reference,
        progress_bar("drawing") as progress,
    ):
        make_procedural(folder, reference, n, seed, progress)
    show(folder, f"{n} samples")
