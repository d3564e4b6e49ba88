"""``emonet tune``: find the fastest way to run EmoNet on this machine, and remember it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, get_args

import typer

from emonet_deploy.commands.console import print_table, progress_bar, say, show, write_json
from emonet_deploy.commands.options import (
    Artifacts,
    CheckpointName,
    Device,
    JsonFile,
    NClass,
    whole_numbers,
    words,
)
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.runtime.choices import Backend, Optimize, Precision

if TYPE_CHECKING:
    from emonet_deploy.runtime.output.table_formats import Table
    from emonet_deploy.runtime.tuning.configuration import Measured

__all__ = ["tune"]


@dataclass(frozen=True)
class Goal:
    """What is looked for."""

    panel: ClassVar[str] = "What to find"

    purpose: Annotated[
        Sequence[Optimize],
        words(Optimize, "--for", help="latency: of one image; throughput: of many."),
    ] = get_args(Optimize)
    precision: Annotated[
        Precision | None,
        typer.Option(help="The lowest that may be chosen; fp32 unless --min-ccc is given."),
    ] = None
    min_ccc: Annotated[
        float | None,
        typer.Option(
            help="Lowest CCC with the reference, as an artifact's record has it.", min=0, max=1
        ),
    ] = None
    make: Annotated[
        bool, typer.Option("--make", help="Make artifacts that are missing; int8 takes minutes.")
    ] = False


@dataclass(frozen=True)
class Effort:
    """How it is measured."""

    panel: ClassVar[str] = "How to measure"

    engine: Annotated[
        Sequence[Backend],
        words(Backend, "--engine", "--backend", help="Of which; by default all that run here."),
    ] = get_args(Backend)
    device: Device = "auto"
    threads: Annotated[
        Sequence[int], whole_numbers(help="CPU threads to try; by default all, half and one.")
    ] = ()
    seconds: Annotated[
        float, typer.Option(help="Measured time for each of the fastest.", min=0.1, max=3600)
    ] = 3.0
    again: Annotated[
        bool, typer.Option("--again", help="Measure also what is known from before.")
    ] = False


def tune(
    goal: Goal,
    effort: Effort,
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    out: Artifacts = Path("artifacts"),
    json_file: JsonFile = None,
) -> None:
    """Find the fastest way to run EmoNet on this machine; predict, eval and serve use it.

    Each artifact that is exact enough is timed on each engine with several numbers of threads, in
    turns; what is far behind is dropped early. The result is kept beside the artifacts.
    """
    with needs("export", "read checkpoints"):
        from emonet_deploy.commands.prepare_artifacts import obtain, resolve_checkpoint
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.commands.outputs import check_outputs
    from emonet_deploy.commands.tune.artifacts import Floor, find_artifacts, models
    from emonet_deploy.commands.tune.run import Measuring, merge, timer, tune_for
    from emonet_deploy.commands.tune.ways import configurations, engines_here, thread_counts
    from emonet_deploy.errors import ArtifactError, EmonetError
    from emonet_deploy.runtime.hardware.gpu import cuda_device_count
    from emonet_deploy.runtime.precision_specs import PRECISIONS
    from emonet_deploy.runtime.tuning.machine import Machine
    from emonet_deploy.runtime.tuning.record import (
        TuningRecord,
        read_record,
        record_path,
        write_record,
    )

    path = record_path(out, nclass)
    check_outputs([json_file, path], [checkpoint])
    lowest: Precision = "fp32" if goal.min_ccc is None else "int8"
    floor = Floor(goal.precision or lowest, goal.min_ccc)
    source = resolve_checkpoint(checkpoint, nclass, say)
    on_gpu = effort.device == "cuda" or (effort.device == "auto" and cuda_device_count() > 0)
    for precision, target in models(floor.precisions, on_gpu, goal.make):
        try:
            obtain(["onnx"], [precision], nclass, source, out, say, [target])
        except EmonetError as error:
            if precision == "fp32":
                raise
            say(f"left out: {precision}: {error.message}")
    if on_gpu and goal.make:
        on_gpus = [each for each in floor.precisions if "gpu" in PRECISIONS[each].gates]
        for engine in engines_here(effort.engine):
            for purpose in goal.purpose:
                obtain([engine], on_gpus, nclass, source, out, say, optimize=purpose)
    artifacts = find_artifacts(out, nclass, source.identity, floor, say)

    machine = Machine.here()
    try:
        old = read_record(path)
    except ArtifactError as error:
        say(f"note: {error.message}")
        old = None
    if old is not None and (old.checkpoint, old.machine) != (source.identity, machine):
        say(f"{path} is of another machine or checkpoint; measuring anew")
        old = None
    rows: list[Measured] = []
    choice = dict(old.choice) if old is not None else {}
    for purpose in goal.purpose:
        candidates = configurations(
            source, artifacts, purpose, effort.engine, on_gpu,
            effort.threads or thread_counts(machine.processors),
        )  # fmt: skip
        with progress_bar(f"tuning for {purpose}") as advance:
            measuring = Measuring(out, source.path, effort.seconds, timer(on_gpu), say, advance)
            known = () if old is None or effort.again else old.rows
            found, choice[purpose] = tune_for(purpose, candidates, known, measuring)
        rows += found
        print_table(_table(found, choice[purpose]))
        # After each purpose: what was announced is kept, however the rest ends.
        record = TuningRecord(nclass, source.identity, machine, merge(old, rows, machine), choice)
        write_record(path, record)
    for purpose in goal.purpose:
        row = choice[purpose]
        show(f"{purpose}: {row.configuration}: {row.cost:.1f} ms an image")
    say(f"{path} keeps this; predict, eval and serve use it with --engine auto, the default")
    write_json(json_file, {**record.to_dict(), "environment": describe_environment()})


def _table(rows: Sequence["Measured"], chosen: "Measured") -> "Table":
    from emonet_deploy.runtime.output.table_formats import Table

    columns = (
        "engine", "file", "precision", "threads", "batch", "p25 ms", "p50 ms", "images/s",
        "times best", "",
    )  # fmt: skip
    best = rows[0].cost
    cells = []
    for row in rows:
        way = row.configuration
        remark = "chosen" if row is chosen else "" if row.final else "dropped early"
        cells.append(
            (
                way.backend, way.file or "checkpoint", way.precision,
                "-" if way.threads is None else str(way.threads), str(way.batch),
                f"{row.cost:.1f}", f"{row.p50_ms / way.batch:.1f}",
                f"{row.images_per_second:.2f}",
                # Those that were dropped were timed in other turns, which a busy machine shows.
                f"{row.cost / best:.2f}" if row.final else "-", remark,
            )
        )  # fmt: skip
    return Table(columns, cells)
