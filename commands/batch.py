"""``emonet batch`` and ``emonet summarize``: faces of very many files, and what they say."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from emonet_deploy.batch.choices import Grouping
from emonet_deploy.commands.console import print_table, ray_progress, say, show, warn, write_json
from emonet_deploy.commands.options import (
    Clips,
    DetectedFaces,
    JsonFile,
    Model,
    engine_of,
)
from emonet_deploy.commands.process.exit_codes import ExitCode
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.errors import InputError

__all__ = ["batch", "summarize"]

Report = Annotated[Path | None, typer.Option(help="Folder for an HTML page.")]


@dataclass(frozen=True)
class Artifact(Model):
    """What predicts, on each worker."""

    out: Annotated[
        Path, typer.Option("--artifacts", help="Folder of the artifacts that are made.")
    ] = Path("artifacts")


@dataclass(frozen=True)
class Machines:
    """Where the work is done, and how it is shared out."""

    panel: ClassVar[str] = "Machines"

    ray: Annotated[
        str, typer.Option(help="local: this machine; auto: its cluster; or a cluster's address.")
    ] = "local"
    workers: Annotated[
        int | None, typer.Option(help="That hold the model; else all there is room for.", min=1)
    ] = None
    cpus: Annotated[int, typer.Option(help="CPUs, and threads, of a worker.", min=1)] = 1
    gpus: Annotated[float, typer.Option(help="GPUs of a worker.", min=0)] = 0.0
    block: Annotated[
        int | None, typer.Option(help="Files written at once; else 64, with --segment 1.", min=1)
    ] = None
    finders: Annotated[
        int | None,
        typer.Option(
            help="CPUs that find the faces for the workers; with --gpus all others.", min=0
        ),
    ] = None


@dataclass(frozen=True)
class Cut:
    """How long clips are shared out."""

    panel: ClassVar[str] = "Clips"

    segment: Annotated[
        float | None,
        typer.Option(help="Cut clips every so many seconds, for several workers.", min=0),
    ] = None
    overlap: Annotated[
        float | None, typer.Option(help="Seconds that segments share; else 2.", min=0)
    ] = None


def batch(
    model: Artifact,
    faces: DetectedFaces,
    clips: Clips,
    cut: Cut,
    machines: Machines,
    rows: Annotated[str, typer.Option("--out", help="Folder or address of the results.")],
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Pictures, clips, folders, patterns, addresses.")
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="Names, one a line; or a .parquet with `file`.")
    ] = None,
    faces_at_once: Annotated[int, typer.Option("--batch", help="Faces run at once.", min=1)] = 8,
    landmarks: Annotated[bool, typer.Option("--landmarks", help="Write landmarks too.")] = False,
    report: Report = None,
) -> None:
    """Read very many pictures and clips, on one machine or many; the same line again goes on.

    Files that cannot be read are rows with the reason, and exit code 1.
    """
    with needs("batch", "run over many machines"):
        from emonet_deploy.batch.actor import Reading
        from emonet_deploy.batch.cluster import Cluster
        from emonet_deploy.batch.files.filesystems import absolute
        from emonet_deploy.batch.files.inputs import list_files
        from emonet_deploy.batch.listing import RunFolder
        from emonet_deploy.batch.run import run_batch
        from emonet_deploy.batch.segments import Segments
    from emonet_deploy.runtime.backends.registry import load_session

    if cut.segment is None and cut.overlap is not None:
        raise InputError("--overlap goes with --segment", hint="say how long a segment is")
    segments = None
    if cut.segment is not None:
        segments = Segments(cut.segment, 2.0 if cut.overlap is None else cut.overlap)
    begun = RunFolder.of(rows).frozen
    files = [] if begun else list_files(inputs or (), listed, say)
    if begun:
        say(f"{rows} has its list of files: going on with that")
    artifact, backend = model.model, engine_of(model.engine, model.device)
    if artifact is None:
        from emonet_deploy.commands.prepare_artifacts import obtain_one, resolve_checkpoint

        source = resolve_checkpoint(model.checkpoint, model.nclass, say)
        # How many threads each worker has is told by --cpus: a tuned number is for one process.
        wanted = replace(model.wanted(), threads=None)
        path, backend, _ = obtain_one(backend, wanted, model.nclass, source, model.out, say)
        artifact = str(path)
    with load_session(artifact, backend, model.device, model.threads) as session:
        info = session.info
    if info.checkpoint.startswith("standin"):
        say("note: the stand-in is untrained, its predictions mean nothing")
    reading = Reading(
        absolute(artifact),
        backend,
        model.device,
        model.threads or machines.cpus,
        faces_at_once,
        faces.detector,
        None if faces.detector_model is None else str(faces.detector_model.absolute()),
        faces.detect_size,
        faces.min_score,
        faces.crop,
        clips.smooth,
        clips.memory,
        clips.every,
        clips.fps,
        landmarks,
    )
    cluster = Cluster(
        machines.ray,
        machines.workers,
        machines.cpus,
        machines.gpus,
        machines.block or (64 if segments is None else 1),
        machines.finders,
    )
    with ray_progress("files" if segments is None else "segments") as progress:
        found = run_batch(files, rows, reading, info, cluster, progress, segments)
    show(f"{found.rows} of {found.files} files, {found.faces} faces, in {rows}")
    if report is not None:
        from emonet_deploy.batch.report import write_report

        say(f"report: {write_report(report, rows, 'folder')}")
    for file, reason in found.reasons:
        warn(f"unreadable: {file}: {reason}")
    if found.unreadable:
        warn(f"error: {found.unreadable} of {found.files} files could not be read")
        raise typer.Exit(ExitCode.ERROR)


def summarize(
    results: Annotated[str, typer.Argument(help="Folder or address that `emonet batch` wrote.")],
    by: Annotated[Grouping, typer.Option(help="What a line is about.")] = "clip",
    json: JsonFile = None,
    report: Report = None,
) -> None:
    """Print means, shares and changes of expression over the rows of a run."""
    with needs("batch", "read what a batch wrote"):
        from emonet_deploy.batch.report import write_report
        from emonet_deploy.batch.summary import summary_rows, summary_table

    rows = summary_rows(results, by)
    print_table(summary_table(rows))
    write_json(json, [row.as_dict() for row in rows])
    if report is not None:
        say(f"report: {write_report(report, results, by)}")
