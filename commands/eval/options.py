"""The options of ``emonet eval``, in groups."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import typer

from emonet_deploy.benchmarks.choices import DatasetFormat, Split
from emonet_deploy.errors import InputError

__all__ = ["Gates", "Machines", "Samples"]


@dataclass(frozen=True)
class Samples:
    """What an evaluation runs on, and how."""

    panel: ClassVar[str] = "Data and protocol"

    data: Annotated[
        Path | None,
        typer.Option(help="A data set's root or a CSV table; procedural faces if left out."),
    ] = None
    form: Annotated[
        DatasetFormat | None,
        typer.Option("--format", help="Layout of the data; by default told by what lies there."),
    ] = None
    split: Annotated[Split, typer.Option(help="Of AffectNet.")] = "test"
    flip: Annotated[
        bool, typer.Option(help="Average valence and arousal over the mirror image.")
    ] = True
    limit: Annotated[int | None, typer.Option(help="Only the first samples.", min=1)] = None
    batch: Annotated[int, typer.Option(help="Samples run at once.", min=1, max=4096)] = 8
    workers: Annotated[int, typer.Option(help="Threads that read pictures.", min=1, max=256)] = 4
    predictions: Annotated[
        Path | None,
        typer.Option(help="Keep a row for each sample there (.csv, .parquet), and go on from it."),
    ] = None

    @property
    def files(self) -> list[Path]:
        """The files that are to be written: predictions, and what they were made with."""
        rows = self.predictions
        return [] if rows is None else [rows, Path(f"{rows}.json")]


@dataclass(frozen=True)
class Machines:
    """Where samples are run, when one machine is not enough."""

    panel: ClassVar[str] = "Machines"

    ray: Annotated[
        str | None,
        typer.Option(help="Run on Ray: local, auto, or a cluster's address; with --rows."),
    ] = None
    rows: Annotated[
        str | None,
        typer.Option(help="With --ray: folder or address of the predictions; goes on from them."),
    ] = None
    ray_workers: Annotated[
        int | None,
        typer.Option(help="With --ray: that hold the model; else all there is room for.", min=1),
    ] = None


@dataclass(frozen=True)
class Gates:
    """What an evaluation must reach."""

    panel: ClassVar[str] = "Gates"

    check: Annotated[
        Literal["published"] | None, typer.Option(help="Exit 3 unless it is the paper's accuracy.")
    ] = None
    tolerance: Annotated[
        float | None, typer.Option(help="With --check: how far off, instead of rounding.", min=0)
    ] = None
    against: Annotated[
        str | None,
        typer.Option(help="`reference` or an artifact: exit 3 if it lost more than it may."),
    ] = None
    max_drop: Annotated[
        float | None, typer.Option(help="With --against: what any metric may lose.", min=0)
    ] = None
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Exit 0 although pictures are missing.")
    ] = False

    def check_against(self, samples: Samples) -> None:
        """Raise ``InputError`` unless the gates go together, and with the samples."""
        if self.check and samples.data is None:
            raise InputError("--check published needs --data: procedural labels prove nothing")
        if self.tolerance is not None and not self.check:
            raise InputError("--tolerance goes with --check published")
        if self.max_drop is not None and not self.against:
            raise InputError("--max-drop goes with --against")
