"""The options of ``emonet predict``, in groups."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from emonet_deploy.commands.options import DetectedFaces, JsonFile, Model
from emonet_deploy.errors import InputError

__all__ = ["Clips", "Faces", "Model", "Outputs", "parse_camera"]


@dataclass(frozen=True)
class Faces(DetectedFaces):
    """Where the faces of a frame are, found or known, and how they are cut out."""

    boxes: Annotated[
        Path | None, typer.Option(help="CSV of known faces: file, frame, x0, y0, x1, y1.")
    ] = None


def parse_camera(name: str) -> int | str:
    """Return a camera's number, or its address.

    Raises:
        typer.BadParameter: it is neither.
    """
    number = name.removeprefix("/dev/video")
    if number.isdecimal() and len(number) < 4:
        return int(number)
    scheme, separator, host = name.partition("://")
    if separator and host and scheme.isalnum() and scheme.lower() != "file":
        return name
    raise typer.BadParameter(f"{name!r} is no number of a camera, nor an address (rtsp://...)")


def parse_smoothing(name: str) -> str:
    """Return what smooths over time, once it is sure that it does.

    Raises:
        typer.BadParameter: it is neither ``authors`` nor ``none`` nor a number of seconds.
    """
    from emonet_deploy.runtime.pipeline.smoothing import smoother_of

    try:
        smoother_of(name)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    return name


@dataclass(frozen=True)
class Clips:
    """What is kept from one frame of a clip to the next."""

    panel: ClassVar[str] = "Clips"

    smooth: Annotated[
        str,
        typer.Option(
            help="Over the frames of a clip: authors, none, or seconds.",
            parser=parse_smoothing,
            metavar="<authors|none|seconds>",
            autocompletion=lambda: ["authors", "none"],
        ),
    ] = "authors"
    memory: Annotated[
        float, typer.Option(help="Seconds after which a face that left is forgotten.", min=0)
    ] = 60.0
    every: Annotated[int, typer.Option(help="Look at each so-many-th frame only.", min=1)] = 1
    fps: Annotated[
        float | None,
        typer.Option(help="Look at no more frames of a second than that.", min=0.01),
    ] = None


@dataclass(frozen=True)
class Outputs:
    """Where results go, apart from standard output."""

    panel: ClassVar[str] = "Results"

    json: JsonFile = None
    jsonl: Annotated[Path | None, typer.Option(help="Write a JSON line per face.")] = None
    csv: Annotated[Path | None, typer.Option(help="Write a CSV table.")] = None
    parquet: Annotated[Path | None, typer.Option(help="Write a Parquet table.")] = None
    landmarks: Annotated[bool, typer.Option("--landmarks", help="Write landmarks too.")] = False
    save: Annotated[
        Path | None, typer.Option(help="Annotated copies: a folder, or a file for one input.")
    ] = None
    timeline: Annotated[
        Path | None, typer.Option(help="Plot one video over time: .svg, .png or .html.")
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")] = False

    @property
    def files(self) -> list[Path]:
        """The files that are to be written, without the annotated copies."""
        named = (self.json, self.jsonl, self.csv, self.parquet, self.timeline)
        return [path for path in named if path is not None]
