"""Options that several commands share, and how they are read."""

from pathlib import Path
from typing import Annotated, Any

import typer

from emonet_deploy.errors import InputError

__all__ = [
    "Artifacts",
    "CheckpointName",
    "Device",
    "Engines",
    "JsonFile",
    "NClass",
    "Threads",
    "device_of",
    "numbers_of",
]

NClass = Annotated[int, typer.Option("--nclass", help="Number of emotion classes: 5 or 8.")]
CheckpointName = Annotated[
    str,
    typer.Option(
        "--checkpoint", help="original (cached, else fetched), standin, standin:SEED, or a file."
    ),
]
Engines = Annotated[
    str,
    typer.Option("--engine", "--backend", help="torch, onnx, trt, trt-rtx; several with commas."),
]
Artifacts = Annotated[Path, typer.Option("--out", help="Folder of the artifacts.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result there as JSON.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Threads = Annotated[int | None, typer.Option("--threads", help="CPU threads of one run.", min=1)]


def device_of(name: str) -> Any:  # noqa: ANN401 - a Literal, checked here
    """Return a device's name once it is sure that it is one."""
    if name not in {"auto", "cpu", "cuda"}:
        raise InputError(f"--device must be auto, cpu or cuda, not {name}")
    return name


def numbers_of(text: str, option: str) -> list[int]:
    """Return the whole numbers from 1 that a list with commas holds; an empty text holds none.

    Raises:
        InputError: something else is in it; ``option`` names the place in the message.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    for part in parts:
        if not part.isdecimal() or int(part) < 1:
            raise InputError(f"{option} takes whole numbers from 1, not {part!r}")
    return [int(part) for part in parts]
