"""``emonet eval``: accuracy by the paper's protocol."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from emonet_deploy.commands.console import print_accuracy, progress_bar, say, write_json
from emonet_deploy.commands.options import (
    Artifacts,
    Device,
    Engine,
    JsonFile,
    Threads,
    device_of,
    engine_of,
)

__all__ = ["evaluate"]


def evaluate(
    artifact: Annotated[
        Path | None, typer.Argument(help="Artifact; by default that of the options.")
    ] = None,
    engine: Engine = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    nclass: Annotated[
        int | None, typer.Option(help="5 or 8; by default the artifact's, else 8.")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="original, standin, standin:SEED or a file; else the artifact's."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="AffectNet's root or a CSV table; procedural faces if left out."),
    ] = None,
    split: Annotated[str, typer.Option(help="AffectNet's test or val.")] = "test",
    flip: Annotated[
        bool, typer.Option(help="Average valence and arousal over the mirror image.")
    ] = True,
    limit: Annotated[int | None, typer.Option(help="Only the first samples.", min=1)] = None,
    batch: Annotated[int, typer.Option(help="Samples run at once.", min=1)] = 8,
    workers: Annotated[int, typer.Option(help="Threads that read pictures.", min=1)] = 4,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Keep a row for each sample there (.csv, .parquet), and go on from it."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for an HTML page.")] = None,
    check: Annotated[
        str | None, typer.Option(help="`published`: exit 3 unless it is the paper's accuracy.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="With --check: how far off, instead of rounding.", min=0)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="`reference` or an artifact: exit 3 if it lost more than it may."),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="With --against: what any metric may lose.", min=0)
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Exit 0 although pictures are missing.")
    ] = False,
    out: Artifacts = Path("artifacts"),
    device: Device = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
) -> None:
    """Measure accuracy by the paper's protocol, on AffectNet, a table or procedural faces."""
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.commands.eval.run import Options, run_eval
    from emonet_deploy.runtime.backends.registry import load_session

    options = Options(
        data=data, split=split, limit=limit, flip=flip, batch=batch, workers=workers,
        predictions=predictions, check=check, tolerance=tolerance, against=against,
        max_drop=max_drop, checkpoint=checkpoint,
    )  # fmt: skip
    made = None
    where = device_of(device)
    backend = engine_of(engine, where)
    if artifact is None:
        from emonet_deploy.commands.artifacts import obtain, source_of

        made = source_of(checkpoint or "original", nclass or 8, say)
        ((artifact, backend),) = obtain(
            [backend or "onnx"], [precision], nclass or 8, made, out, say
        )
    load = partial(load_session, device=where, threads=threads)
    summary = run_eval(artifact, backend, made, nclass, options, load, say, progress_bar)
    print_accuracy(summary)
    environment = describe_environment()
    write_json(json_file, {**summary.to_dict(), "environment": environment})
    if report is not None:
        from emonet_deploy.benchmarks.accuracy.html_report import write_report

        say(f"report: {write_report(report, summary, environment)}")
    summary.require(str(artifact), allow_missing)
