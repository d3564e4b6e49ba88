"""The options of ``emonet predict``, in groups."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from emonet_deploy.commands.options import Clips, DetectedFaces, JsonFile, Model

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
