"""``emonet bench``: speed and agreement in one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from emonet_deploy.benchmarks.choices import Peer
from emonet_deploy.commands.console import print_table, say, write_json
from emonet_deploy.commands.options import (
    Artifacts,
    Device,
    JsonFile,
    NClass,
    engines_of,
    whole_numbers,
    words,
)
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.runtime.choices import Backend, Precision, Target

__all__ = ["bench"]


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
    seconds: Annotated[float, typer.Option(help="Measured time a row, on average.", min=0.1)] = 5.0
    n: Annotated[int, typer.Option("--n", help="Faces for the agreement.", min=2)] = 32
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph", help="Run engines as CUDA graphs.")
    ] = False


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


def bench(
    candidates: Candidates,
    measurement: Measurement,
    reports: Reports,
    artifacts: Annotated[
        list[str] | None,
        typer.Argument(help="Artifacts, or served ones' addresses; else those of the options."),
    ] = None,
) -> None:
    """Measure speed, memory and agreement in one table; all are timed in turns."""
    with needs("export", "run the reference"):
        from emonet_deploy.commands.bench.run import BenchPlan, measure, write_files
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.benchmarks.speed.compare_runs import change_table, changes_since
    from emonet_deploy.benchmarks.speed.table import bench_table, device_table
    from emonet_deploy.commands.artifacts import (
        choose_reference,
        obtain,
        resolve_checkpoint,
        runnable,
    )

    nclass, checkpoint, out = candidates.nclass, candidates.checkpoint, candidates.out
    default: Sequence[Backend] = () if artifacts else ("torch", "onnx")
    engines = engines_of(",".join(candidates.engine or default), measurement.device)
    given = runnable(artifacts, engines) if artifacts else []
    if artifacts and checkpoint is None:
        source = choose_reference(artifacts, nclass, say)
    else:
        source = resolve_checkpoint(checkpoint or "original", nclass, say)
    plan = BenchPlan(
        source=source,
        artifacts=given
        or obtain(engines, candidates.precision, nclass, source, out, say, candidates.target),
        peers=candidates.peers,
        batches=measurement.batch,
        threads=measurement.threads or (None,),
        device=measurement.device,
        cuda_graph=measurement.cuda_graph,
        seconds=measurement.seconds,
        faces=measurement.n,
        out=out,
    )
    rows = measure(plan, say)
    print_table(bench_table(rows))
    if reports.compare is not None:
        print_table(change_table(changes_since(reports.compare, rows)))
    if any(row.device is not None for row in rows):
        print_table(device_table(rows))
    environment = describe_environment()
    write_json(reports.json, {"environment": environment, "rows": [row.to_dict() for row in rows]})
    write_files(rows, environment, reports.markdown, reports.plot)
