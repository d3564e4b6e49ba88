"""``emonet predict``: emotions of the faces in pictures, videos and cameras."""

import os
from typing import Annotated

import typer

from emonet_deploy.commands.console import say
from emonet_deploy.commands.options import Model, engine_of
from emonet_deploy.commands.predict.options import Clips, Faces, Outputs

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
    camera: Annotated[int | None, typer.Option(help="Number of a camera.", min=0)] = None,
    batch: Annotated[int, typer.Option(help="Faces run at once.", min=1)] = 8,
) -> None:
    """Tell the emotion, valence and arousal of every face in pictures, videos or a camera."""
    # Read when OpenCV is loaded: what goes wrong is said by us, once.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from emonet_deploy.commands.predict.run import prepare, run_predict
    from emonet_deploy.runtime.backends.registry import load_session

    job = prepare(inputs or (), camera, faces, clips, outputs)
    artifact, backend = model.model, engine_of(model.engine, model.device)
    if artifact is None:
        from emonet_deploy.commands.artifacts import obtain, resolve_checkpoint

        source = resolve_checkpoint(model.checkpoint, model.nclass, say)
        ((path, backend),) = obtain(
            [backend or "onnx"], [model.precision], model.nclass, source, model.out, say,
            [model.target],
        )  # fmt: skip
        artifact = str(path)
    with load_session(artifact, backend, model.device, model.threads) as session:
        if session.info.checkpoint.startswith("standin"):
            say("note: the stand-in is untrained, its predictions mean nothing")
        code = run_predict(job, session, batch)
    if code:
        raise typer.Exit(code)
