"""``emonet eval``: accuracy by the paper's protocol."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from emonet_deploy.commands.console import print_accuracy, progress_bar, say, write_json
from emonet_deploy.commands.eval.options import Gates, Machines, Samples
from emonet_deploy.commands.options import (
    Artifacts,
    Device,
    JsonFile,
    PrecisionName,
    Threads,
    TunedEngine,
    engine_of,
)

__all__ = ["evaluate"]


def evaluate(
    samples: Samples,
    gates: Gates,
    machines: Machines,
    artifact: Annotated[
        str | None,
        typer.Argument(help="Artifact, or a served one's address; else that of the options."),
    ] = None,
    engine: TunedEngine = "auto",
    precision: PrecisionName = None,
    nclass: Annotated[
        Literal[5, 8] | None, typer.Option(help="By default the artifact's, else 8.")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="original, standin, standin:SEED or a file; else the artifact's."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for an HTML page.")] = None,
    out: Artifacts = Path("artifacts"),
    device: Device = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
) -> None:
    """Measure accuracy by the paper's protocol, on AffectNet, a table or procedural faces."""
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.commands.eval.run import Evaluated, run_eval
    from emonet_deploy.commands.outputs import check_outputs
    from emonet_deploy.runtime.backends.registry import load_session

    gates.check_against(samples)
    page = None if report is None else report / "index.html"
    read = [artifact, checkpoint, samples.data, gates.against]
    check_outputs([json_file, page], read, kept=samples.files)
    made = None
    backend = engine_of(engine, device)
    if artifact is None:
        from emonet_deploy.commands.prepare_artifacts import obtain_one, resolve_checkpoint
        from emonet_deploy.runtime.tuning.configuration import Wanted

        made = resolve_checkpoint(checkpoint or "original", nclass or 8, say)
        wanted = Wanted(precision, None, device, threads)
        path, backend, threads = obtain_one(backend, wanted, nclass or 8, made, out, say)
        artifact = str(path)
        check_outputs([json_file, page], [artifact, made.path], kept=samples.files)
    load = partial(load_session, device=device, threads=threads)
    judged = Evaluated(artifact, backend, made, nclass, checkpoint)
    many = None if machines.ray is None and machines.rows is None else machines
    summary = run_eval(judged, samples, gates, load, say, progress_bar, many)
    print_accuracy(summary)
    environment = describe_environment()
    write_json(json_file, {**summary.to_dict(), "environment": environment})
    if report is not None:
        from emonet_deploy.benchmarks.accuracy.html_report import write_report

        say(f"report: {write_report(report, summary, environment)}")
    summary.require(artifact, gates.allow_missing)
