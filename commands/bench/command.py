"""``emonet bench``: speed and agreement in one table."""

from pathlib import Path
from typing import Annotated

import typer

from emonet_deploy.commands.console import print_table, say, write_json
from emonet_deploy.commands.options import (
    Artifacts,
    Device,
    Engines,
    JsonFile,
    NClass,
    device_of,
    engines_of,
    numbers_of,
)
from emonet_deploy.emonet_ref.optional_packages import needs

__all__ = ["bench"]


def bench(
    artifacts: Annotated[
        list[Path] | None, typer.Argument(help="Artifacts; by default those of the options.")
    ] = None,
    engine: Engines = "",
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8; several with commas.")] = "fp32",
    target: Annotated[str, typer.Option(help="gpu or cpu; both with a comma.")] = "gpu",
    batch: Annotated[str, typer.Option(help="Batch sizes, with commas.")] = "1",
    peers: Annotated[
        str, typer.Option(help="Other runtimes: torch.compile, openvino, mnn, ncnn.")
    ] = "",
    nclass: NClass = 8,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="original, standin, standin:SEED or a file; else the artifacts'."),
    ] = None,
    out: Artifacts = Path("artifacts"),
    device: Device = "auto",
    threads: Annotated[str, typer.Option(help="CPU threads; several with commas.")] = "",
    seconds: Annotated[float, typer.Option(help="Measured time a row, on average.", min=0.1)] = 5.0,
    faces: Annotated[int, typer.Option("--n", help="Faces for the agreement.", min=2)] = 32,
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph", help="Run engines as CUDA graphs.")
    ] = False,
    json_file: JsonFile = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write the table there as Markdown.")
    ] = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", help="Draw speed against agreement there, as SVG.")
    ] = None,
    older: Annotated[
        Path | None, typer.Option("--compare", help="JSON of an older run: what has changed?")
    ] = None,
) -> None:
    """Measure speed, memory and agreement in one table; all are timed in turns."""
    with needs("export", "run the reference"):
        from emonet_deploy.commands.bench.run import BenchPlan, measure, write_files
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.benchmarks.speed.compare_runs import change_table, changes_since
    from emonet_deploy.benchmarks.speed.table import bench_table, device_table
    from emonet_deploy.commands.artifacts import (
        obtain,
        reference_for,
        runnable,
        source_of,
        target_of,
    )

    batches, counts = numbers_of(batch, "--batch"), numbers_of(threads, "--threads")
    targets = [target_of(name) for name in target.split(",")]
    where = device_of(device)
    engines = engines_of(engine or ("" if artifacts else "torch,onnx"), where)
    given = runnable(artifacts, engines) if artifacts else []
    if artifacts and checkpoint is None:
        source = reference_for(artifacts, nclass, say)
    else:
        source = source_of(checkpoint or "original", nclass, say)
    precisions = precision.split(",")
    plan = BenchPlan(
        source=source,
        artifacts=given or obtain(engines, precisions, nclass, source, out, say, targets),
        peers=[name.strip() for name in peers.split(",") if name],
        batches=batches,
        threads=counts or [None],
        device=where,
        cuda_graph=cuda_graph,
        seconds=seconds,
        faces=faces,
        out=out,
    )
    rows = measure(plan, say)
    print_table(bench_table(rows))
    if older is not None:
        print_table(change_table(changes_since(older, rows)))
    if any(row.device is not None for row in rows):
        print_table(device_table(rows))
    environment = describe_environment()
    write_json(json_file, {"environment": environment, "rows": [row.to_dict() for row in rows]})
    write_files(rows, environment, markdown_file, plot_file)
