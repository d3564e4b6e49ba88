"""``emonet predict``: emotions of the faces in pictures, videos and cameras."""

from typing import Annotated

import typer

from emonet_deploy.commands.console import say
from emonet_deploy.commands.options import Model, engine_of
from emonet_deploy.commands.predict.options import Clips, Faces, Outputs, parse_camera

__all__ = ["predict"]


def predict(
    model: Model,
    faces: Faces,
    clips: Clips,
    outputs: Outputs,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, videos, folders, patterns, or - for a list on stdin."),
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="A camera: its number, or its address (rtsp://, http://).")
    ] = None,
    batch: Annotated[int, typer.Option(help="Faces run at once.", min=1, max=4096)] = 8,
) -> None:
    """Tell the emotion, valence and arousal of every face in pictures, videos or a camera."""
    from emonet_deploy.commands.outputs import check_outputs
    from emonet_deploy.commands.predict.run import prepare, run_predict
    from emonet_deploy.runtime.backends.registry import load_session

    source = None if camera is None else parse_camera(camera)
    weights = (model.model, model.checkpoint)
    job = prepare(inputs or (), source, faces, clips, outputs, weights)
    artifact, backend = model.model, engine_of(model.engine, model.device)
    threads = model.threads
    if artifact is None:
        from emonet_deploy.commands.prepare_artifacts import obtain_one, resolve_checkpoint

        made_from = resolve_checkpoint(model.checkpoint, model.nclass, say)
        path, backend, threads = obtain_one(
            backend, model.wanted(), model.nclass, made_from, model.out, say,
            "throughput" if camera is None and batch > 1 else "latency",
        )  # fmt: skip
        artifact = str(path)
        check_outputs(outputs.files, [artifact, made_from.path])
    with load_session(artifact, backend, model.device, threads) as session:
        if session.info.checkpoint.startswith("standin"):
            say("note: the stand-in is untrained, its predictions mean nothing")
        code = run_predict(job, session, batch)
    if code:
        raise typer.Exit(code)
