"""``emonet parity``: an artifact against the reference it came from."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from emonet_deploy.commands.console import (
    print_differences,
    print_parity,
    progress_bar,
    say,
    write_json,
)
from emonet_deploy.commands.options import (
    Device,
    Engine,
    FacesFolder,
    Gates,
    JsonFile,
    Threads,
    engine_of,
)

__all__ = ["parity"]


def parity(
    artifact: Annotated[
        str, typer.Argument(help="A checkpoint, ONNX model or engine, or a served one's address.")
    ],
    checkpoint: Annotated[
        str | None, typer.Option(help="The reference; by default the one it was made from.")
    ] = None,
    faces: FacesFolder = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            help="Number of faces; by default 96, and more when it is close.",
            min=2,
            max=10_000,
        ),
    ] = None,
    gate: Gates = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also after each layer of an ONNX model, on 4 faces.")
    ] = False,
    engine: Engine = None,
    device: Device = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
) -> None:
    """Compare an artifact with the reference it came from; exit code 3 when a gate fails."""
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.commands.judging import judge, judged_faces, notes
    from emonet_deploy.commands.outputs import check_outputs
    from emonet_deploy.commands.prepare_artifacts import layer_differences, resolve_reference
    from emonet_deploy.runtime.backends.registry import load_session

    check_outputs([json_file], [artifact, checkpoint])
    with load_session(artifact, engine_of(engine, device), device, threads) as session:
        info = session.info
        source = resolve_reference(info.checkpoint, info.nclass, checkpoint, say)
        check_outputs([json_file], [source.path])
        for note in notes(source, faces):
            say(note)
        judged = judged_faces(faces, n)
        with (
            load_session(source.path, device="cpu", threads=threads) as reference,
            progress_bar("comparing") as progress,
        ):
            result = judge(source, reference, session, artifact, judged, gate or (), progress)
    inside = layer_differences(Path(artifact), source) if layers else {}
    print_differences("layer", inside)
    print_parity(result)
    write_json(
        json_file,
        {
            "artifact": artifact,
            "reference": source.identity,
            **result.to_dict(),
            "faces": judged.source,
            **({"layers": {name: asdict(d) for name, d in inside.items()}} if layers else {}),
            "environment": describe_environment(),
        },
    )
    result.require(artifact)
