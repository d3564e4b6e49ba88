"""``emonet checkpoint``: get, check or make weights."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from emonet_deploy.commands.console import progress_bar, say, show, warn
from emonet_deploy.commands.options import NClass
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.emonet_ref.optional_packages import needs

__all__ = ["fetch", "standin", "verify"]


def fetch(
    nclass: Annotated[
        Literal[5, 8] | None, typer.Option("--nclass", help="Both if left out.")
    ] = None,
) -> None:
    """Download the authors' weights (CC BY-NC-ND 4.0) and check their hash."""
    with needs("export", "read checkpoints"):
        from emonet_deploy.emonet_ref.checkpoint import fetch_checkpoint

    for classes in sorted(CLASS_NAMES) if nclass is None else [nclass]:
        with progress_bar(f"emonet_{classes}.pth") as progress:
            path = fetch_checkpoint(classes, notify=warn, progress=progress)
        show(path, "original")


def verify(
    path: Path,
    nclass: Annotated[Literal[5, 8] | None, typer.Option(help="Classes it must have.")] = None,
) -> None:
    """Check that a file is a usable checkpoint, and say which."""
    with needs("export", "read checkpoints"):
        from emonet_deploy.emonet_ref.checkpoint import identify_checkpoint, load_checkpoint

    model = load_checkpoint(path, nclass)
    show(path, f"{model.nclass} classes", identify_checkpoint(path))


def standin(
    nclass: NClass = 8,
    seed: Annotated[int, typer.Option(help="Seed of the weights.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Copy it there.")] = None,
) -> None:
    """Make a checkpoint of untrained weights, to try everything without the originals."""
    from emonet_deploy.commands.outputs import check_outputs
    from emonet_deploy.commands.prepare_artifacts import resolve_checkpoint
    from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
    from emonet_deploy.errors import CheckpointError

    check_outputs([out], [])
    path = resolve_checkpoint(f"standin:{seed}", nclass, say).path
    check_outputs([out], [path])
    if out is not None:
        with atomic_write(out, CheckpointError) as temporary:
            temporary.write_bytes(path.read_bytes())
    show(out or path)
