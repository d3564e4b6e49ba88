"""``emonet bench``: speed and agreement in one table."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from emonet_deploy.commands.bench.options import Candidates, Measurement, Reports, Serving
from emonet_deploy.commands.console import print_table, say, show, write_json
from emonet_deploy.commands.options import require_engines
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.choices import Backend

__all__ = ["bench"]


def bench(
    candidates: Candidates,
    measurement: Measurement,
    serving: Serving,
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
    from emonet_deploy.benchmarks.speed.table import (
        bench_table,
        device_table,
        disturbed,
        one_row,
        verdicts,
    )
    from emonet_deploy.commands.outputs import check_outputs
    from emonet_deploy.commands.prepare_artifacts import (
        choose_reference,
        obtain,
        resolve_checkpoint,
        runnable,
    )

    nclass, checkpoint, out = candidates.nclass, candidates.checkpoint, candidates.out
    check_outputs(reports.files, [*(artifacts or ()), checkpoint, reports.compare])
    if reports.compare is not None:
        changes_since(reports.compare, [])  # read now: what is wrong with it is not told too late
    default: Sequence[Backend] = () if artifacts else ("torch", "onnx")
    engines = candidates.engine or default
    require_engines(engines, measurement.device)
    if candidates.peers:
        from emonet_deploy.benchmarks.speed.other_runtimes import quantized, require_peers

        require_peers(candidates.peers)
        if not measurement.threads:
            raise InputError("--peers needs --threads, so that all have the same number")
    given = runnable(artifacts, engines) if artifacts else []
    if serving.serve is not None and given:
        _bench_served(given[0], measurement, serving, reports)
        return
    if artifacts and checkpoint is None:
        source = choose_reference(artifacts, nclass, say)
    else:
        source = resolve_checkpoint(checkpoint or "original", nclass, say)
    if candidates.peers and not source.is_standin and (few := quantized(candidates.peers)):
        raise InputError(
            f"{', '.join(few)}: calibrated on drawn faces, which suit the stand-in alone; "
            "drop that from --peers"
        )
    chosen = given or obtain(
        engines, candidates.precision, nclass, source, out, say, candidates.target,
        "latency" if max(measurement.batch) == 1 else "throughput",
    )  # fmt: skip
    check_outputs(reports.files, [source.path, *(path for path, _ in chosen)])
    if serving.serve is not None:
        _bench_served(chosen[-1], measurement, serving, reports)
        return
    plan = BenchPlan(
        source=source,
        artifacts=chosen,
        peers=candidates.peers,
        batches=measurement.batch,
        threads=measurement.threads or (None,),
        device=measurement.device,
        cuda_graph=measurement.cuda_graph,
        seconds=measurement.seconds,
        faces=measurement.n,
        out=out,
    )
    rows = []
    for row in measure(plan, say):
        say(one_row(row))
        rows.append(row)
    print_table(bench_table(rows))
    for sentence in verdicts(rows):
        show(sentence)
    if (note := disturbed(rows)) is not None:
        say(f"note: {note}")
    if reports.compare is not None:
        print_table(change_table(changes_since(reports.compare, rows)))
    if any(row.device is not None for row in rows):
        print_table(device_table(rows))
    environment = describe_environment()
    write_json(reports.json, {"environment": environment, "rows": [row.to_dict() for row in rows]})
    write_files(rows, environment, reports.markdown, reports.plot)


def _bench_served(
    artifact: tuple[str | Path, Backend],
    measurement: Measurement,
    serving: Serving,
    reports: Reports,
) -> None:
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.commands.bench.served import bench_served, served_table
    from emonet_deploy.runtime.backends.registry import load_session

    path, backend = artifact
    threads = measurement.threads[0] if measurement.threads else None
    with load_session(path, backend, measurement.device, threads) as session:
        rows = bench_served(
            str(serving.serve), session, serving.connections, measurement.seconds,
            os.environ.get("EMONET_TOKEN"), say,
        )  # fmt: skip
    print_table(served_table(rows))
    environment = describe_environment()
    write_json(reports.json, {"environment": environment, "rows": [asdict(row) for row in rows]})
