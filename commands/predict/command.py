"""``emonet predict``: emotions of the faces in pictures, videos and cameras."""

import os
from pathlib import Path
from typing import Annotated

import typer

from emonet_deploy.commands.console import say
from emonet_deploy.commands.options import (
    Artifacts,
    CheckpointName,
    Device,
    Engine,
    JsonFile,
    NClass,
    Threads,
    device_of,
    engine_of,
)

__all__ = ["predict"]


def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, videos, folders, patterns, or - for a list on stdin."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="An artifact; else that of --nclass.")] = None,
    engine: Engine = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    target: Annotated[str, typer.Option(help="What the model is made for: gpu or cpu.")] = "gpu",
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    out: Artifacts = Path("artifacts"),
    batch: Annotated[int, typer.Option(help="Faces run at once.", min=1)] = 8,
    device: Device = "auto",
    threads: Threads = None,
    camera: Annotated[int | None, typer.Option(help="Number of a camera.", min=0)] = None,
    detector: Annotated[
        str, typer.Option(help="auto, centerface, yunet, or none for ready face crops.")
    ] = "auto",
    detector_model: Annotated[Path | None, typer.Option(help="YuNet's model file.")] = None,
    detect_size: Annotated[
        int | None, typer.Option(help="Pixels of the longer side when faces are searched.")
    ] = None,
    min_score: Annotated[float, typer.Option(help="Lowest score of a face, 0 to 1.")] = 0.4,
    boxes: Annotated[
        Path | None, typer.Option(help="CSV of known faces: file, frame, x0, y0, x1, y1.")
    ] = None,
    crop: Annotated[
        str, typer.Option(help="paper (as in training) or stretch (as in the authors' demo).")
    ] = "paper",
    smooth: Annotated[
        str, typer.Option(help="Over the frames of a clip: authors, none, or seconds.")
    ] = "authors",
    memory: Annotated[
        float, typer.Option(help="Seconds after which a face that left is forgotten.", min=0)
    ] = 60.0,
    landmarks: Annotated[bool, typer.Option("--landmarks", help="Write landmarks too.")] = False,
    json_file: JsonFile = None,
    jsonl: Annotated[Path | None, typer.Option(help="Write a JSON line per face.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a CSV table.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write a Parquet table.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Annotated copies: a folder, or a file for one input.")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Plot one video over time: .svg, .png or .html.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")] = False,
) -> None:
    """Tell the emotion, valence and arousal of every face in pictures, videos or a camera."""
    # Read when OpenCV is loaded: what goes wrong is said by us, once.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from emonet_deploy.commands.predict.run import Options, check_options, run_predict
    from emonet_deploy.runtime.backends.registry import load_session

    job = check_options(
        Options(
            inputs or (),
            camera=camera,
            detector=detector,
            detector_model=detector_model,
            detect_size=detect_size,
            min_score=min_score,
            boxes=boxes,
            crop=crop,
            smooth=smooth,
            memory=memory,
            batch=batch,
            landmarks=landmarks,
            json=json_file,
            jsonl=jsonl,
            csv=csv_file,
            parquet=parquet,
            save=save,
            timeline=timeline,
            force=force,
        )
    )
    where = device_of(device)
    backend = engine_of(engine, where)
    if model is None:
        from emonet_deploy.commands.artifacts import obtain, source_of, target_of

        targets = [target_of(target)]
        source = source_of(checkpoint, nclass, say)
        ((model, backend),) = obtain(
            [backend or "onnx"], [precision], nclass, source, out, say, targets
        )
    with load_session(model, backend, where, threads) as session:
        if session.info.checkpoint.startswith("standin"):
            say("note: the stand-in is untrained, its predictions mean nothing")
        code = run_predict(job, session)
    if code:
        raise typer.Exit(code)
