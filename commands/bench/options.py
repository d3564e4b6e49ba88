"""The options of ``emonet bench``, in groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from emonet_deploy.benchmarks.choices import Peer
from emonet_deploy.commands.options import (
    Artifacts,
    Device,
    JsonFile,
    NClass,
    whole_numbers,
    words,
)
from emonet_deploy.runtime.choices import Backend, Precision, Target

__all__ = ["Candidates", "Measurement", "Reports", "Serving"]


@dataclass(frozen=True)
class Candidates:
    """What is measured."""

    panel: ClassVar[str] = "What to measure"

    engine: Annotated[
        Sequence[Backend],
        words(
            Backend,
            "--engine",
            "--backend",
            help="What runs them; by default torch,onnx, or what runs the artifacts named.",
        ),
    ] = ()
    precision: Annotated[Sequence[Precision], words(Precision, help="Of the artifacts.")] = (
        "fp32",
    )
    target: Annotated[
        Sequence[Target], words(Target, help="What the ONNX models are made for.")
    ] = ("gpu",)
    nclass: NClass = 8
    checkpoint: Annotated[
        str | None,
        typer.Option(help="original, standin, standin:SEED or a file; else the artifacts'."),
    ] = None
    out: Artifacts = Path("artifacts")
    peers: Annotated[Sequence[Peer], words(Peer, help="Other runtimes beside them.")] = ()


@dataclass(frozen=True)
class Measurement:
    """How it is measured."""

    panel: ClassVar[str] = "How to measure"

    batch: Annotated[Sequence[int], whole_numbers(help="Batch sizes.")] = (1,)
    device: Device = "auto"
    threads: Annotated[
        Sequence[int], whole_numbers(help="CPU threads; by default each library's own choice.")
    ] = ()
    seconds: Annotated[
        float, typer.Option(help="Measured time a row, on average.", min=0.1, max=3600)
    ] = 5.0
    n: Annotated[int, typer.Option("--n", help="Faces for the agreement.", min=2, max=10_000)] = 32
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph", help="Run engines as CUDA graphs.")
    ] = False


@dataclass(frozen=True)
class Serving:
    """A server instead of artifacts."""

    panel: ClassVar[str] = "A server"

    serve: Annotated[
        str | None,
        typer.Option(
            help="Put load on a route of `emonet serve`, in turns with the artifact alone."
        ),
    ] = None
    connections: Annotated[Sequence[int], whole_numbers(help="With --serve: requests at once.")] = (
        16,
    )


@dataclass(frozen=True)
class Reports:
    """Where the result goes, apart from standard output."""

    panel: ClassVar[str] = "Results"

    json: JsonFile = None
    markdown: Annotated[Path | None, typer.Option(help="Write the table there as Markdown.")] = None
    plot: Annotated[
        Path | None, typer.Option(help="Draw speed against agreement there, as SVG.")
    ] = None
    compare: Annotated[
        Path | None, typer.Option(help="JSON of an older run: what has changed?")
    ] = None

    @property
    def files(self) -> list[Path | None]:
        """The files that are to be written."""
        return [self.json, self.markdown, self.plot]
