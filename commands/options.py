"""Options that several commands share, and how options are declared, read and grouped."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_type_hints

import typer

from emonet_deploy.commands.console import set_verbosity
from emonet_deploy.commands.process.streams import hear_libraries
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.choices import (
    Backend,
    Crop,
    DetectorName,
    EngineOrAuto,
    Precision,
    Target,
)
from emonet_deploy.runtime.choices import Device as DeviceName

if TYPE_CHECKING:
    from emonet_deploy.runtime.tuning.configuration import Wanted

__all__ = [
    "Artifacts",
    "CheckpointName",
    "Clips",
    "DetectedFaces",
    "Device",
    "Engine",
    "FacesFolder",
    "Gates",
    "JsonFile",
    "Judging",
    "Model",
    "NClass",
    "PrecisionName",
    "Reporting",
    "TargetName",
    "Threads",
    "TunedEngine",
    "engine_of",
    "grouped",
    "parse_numbers",
    "parse_words",
    "require_engines",
    "whole_numbers",
    "words",
]

_MOST = 65_536
"""The largest number in a list: of a batch, of threads, of connections."""

_LARGEST = 2**63 - 1
"""The largest number that libraries in C take."""

NClass = Annotated[Literal[5, 8], typer.Option("--nclass", help="Number of emotion classes.")]
CheckpointName = Annotated[
    str,
    typer.Option(
        "--checkpoint",
        help="original (cached, else fetched), standin[:SEED[:TRAIT...]], or a file.",
    ),
]
Engine = Annotated[
    Backend | None, typer.Option("--engine", "--backend", help="What runs the artifact.")
]
TunedEngine = Annotated[
    EngineOrAuto,
    typer.Option(
        "--engine",
        "--backend",
        help="What runs the artifact; auto: what `emonet tune` chose, else what its file tells.",
    ),
]
PrecisionName = Annotated[
    Precision | None,
    typer.Option("--precision", help="Of the artifact; else the tuned one's, else fp32."),
]
TargetName = Annotated[
    Target | None,
    typer.Option("--target", help="What it is made for; else the tuned one's, else gpu."),
]
Artifacts = Annotated[Path, typer.Option("--out", help="Folder of the artifacts.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result there as JSON.")]
Device = Annotated[DeviceName, typer.Option("--device", help="Where the artifact runs.")]
Threads = Annotated[
    int | None, typer.Option("--threads", help="CPU threads of one run.", min=1, max=1024)
]


@dataclass(frozen=True)
class Reporting:
    """How much is told; every command takes these options, before its name and after it."""

    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Only results, warnings and errors.")
    ] = False
    verbose: Annotated[
        int,
        typer.Option(
            "-v", "--verbose", count=True, metavar="", show_default=False,
            help="Also devices, caches and times; -vv: all details.",
        ),
    ] = 0  # fmt: skip

    def apply(self) -> None:
        """Set what is printed on standard error, if either option was given."""
        if self.quiet and self.verbose:
            raise typer.BadParameter("--quiet and --verbose exclude each other")
        if self.verbose:
            hear_libraries()
        if self.quiet or self.verbose:
            set_verbosity(quiet=self.quiet, verbose=self.verbose)


@dataclass(frozen=True)
class Model:
    """What predicts, and where."""

    panel: ClassVar[str] = "Model"

    model: Annotated[
        str | None, typer.Option(help="An artifact, or a served one's address; else --nclass's.")
    ] = None
    engine: TunedEngine = "auto"
    precision: PrecisionName = None
    target: TargetName = None
    nclass: NClass = 8
    checkpoint: CheckpointName = "original"
    out: Artifacts = Path("artifacts")
    device: Device = "auto"
    threads: Threads = None

    def wanted(self) -> "Wanted":
        """Return what of a tuned way was asked for."""
        from emonet_deploy.runtime.tuning.configuration import Wanted

        return Wanted(self.precision, self.target, self.device, self.threads)


Gates = Annotated[
    list[str] | None,
    typer.Option("--gate", metavar="NAME=LIMIT", help="Another limit of a gate, such as ccc=0.98."),
]
FacesFolder = Annotated[
    Path | None,
    typer.Option("--faces", help="Folder of face crops to judge on; by default drawn ones."),
]


@dataclass(frozen=True)
class Judging:
    """On which faces an export is judged, against which gates, and what happens when one fails."""

    panel: ClassVar[str] = "Gates"

    faces: FacesFolder = None
    gate: Gates = None
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the file even when a gate fails; exit code 3.")
    ] = False


@dataclass(frozen=True)
class DetectedFaces:
    """Where the faces of a frame are, and how they are cut out."""

    panel: ClassVar[str] = "Faces"

    detector: Annotated[
        DetectorName, typer.Option(help="What finds faces; none: pictures are face crops already.")
    ] = "auto"
    detector_model: Annotated[Path | None, typer.Option(help="YuNet's model file.")] = None
    detect_size: Annotated[
        int | None,
        typer.Option(help="Pixels of the longer side when faces are searched.", min=32, max=16384),
    ] = None
    min_score: Annotated[
        float, typer.Option(help="Lowest score of a face, 0 to 1.", min=0, max=1)
    ] = 0.4
    crop: Annotated[
        Crop, typer.Option(help="paper: as in training; stretch: as in the authors' demo.")
    ] = "paper"


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


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the fields of its dataclasses as options of its own.

    A parameter whose type is a dataclass is replaced by an option for each field, with the field's
    name, type and default; the command gets the dataclass. Its class variable ``panel``, where it
    has one, is the heading of these options in the help. ``Reporting`` is added to every command.

    Raises:
        ValueError: two fields or parameters have the same name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {"": Reporting}
    parameters: list[Parameter] = []
    for parameter in signature(command).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind) and isinstance(kind, type):
            groups[parameter.name] = kind
            parameters += _field_parameters(kind)
        else:
            parameters.append(parameter.replace(annotation=kind, kind=Parameter.KEYWORD_ONLY))
    flat = Signature([*parameters, *_field_parameters(Reporting)])

    @wraps(command)
    def run(**values: Any) -> None:
        for name, value in values.items():
            _require_a_number(name, value)
        made = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        made.pop("").apply()
        command(**values, **made)

    run.__signature__ = flat  # type: ignore[attr-defined] # what Typer reads
    run.__annotations__ = {name: p.annotation for name, p in flat.parameters.items()}
    return run


def _require_a_number(name: str, value: object) -> None:
    """Refuse what passes for a number and compares with none, or that no library takes."""
    too_large = isinstance(value, int) and abs(value) > _LARGEST
    if too_large or (isinstance(value, float) and not isfinite(value)):
        option = name.replace("_", "-")
        raise typer.BadParameter(
            f"--{option} must be a {'smaller' if too_large else 'finite'} number"
        )


def _field_parameters(kind: type[Any]) -> Iterator[Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        value, option = get_args(hints[field.name])
        option = copy(option)
        option.rich_help_panel = getattr(kind, "panel", None)
        yield Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=Annotated[value, option],
        )


def words(vocabulary: Any, *names: str, help: str) -> Any:  # noqa: A002, ANN401 - as Typer's own
    """Return an option that takes words of a ``Literal``, several with commas.

    Annotate it as ``Sequence`` of the ``Literal``; its value is a tuple.
    """
    known = get_args(vocabulary)

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [before + comma + word for word in known if word.startswith(last)]

    return typer.Option(
        *names,
        parser=lambda value: parse_words(value, known),
        autocompletion=complete,
        metavar=f"<{'|'.join(known)},...>",
        help=help,
    )


def whole_numbers(*names: str, help: str) -> Any:  # noqa: A002, ANN401 - as Typer's own
    """Return an option that takes whole numbers from 1, several with commas.

    Annotate it as ``Sequence[int]``; its value is a tuple.
    """
    return typer.Option(*names, parser=parse_numbers, metavar="<int,...>", help=help)


def parse_words(value: str | Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a list with commas; a default, which is no text, as it is.

    Raises:
        typer.BadParameter: one of them is not known.
    """
    found = _parts(value)
    for word in found:
        if word not in known:
            raise typer.BadParameter(f"{word!r} is not one of {', '.join(map(repr, known))}.")
    return found


def parse_numbers(value: str | Sequence[int]) -> tuple[int, ...]:
    """Return the whole numbers in a list with commas; a default, which is no text, as it is.

    Raises:
        typer.BadParameter: something else is in it.
    """
    if not isinstance(value, str):
        return tuple(value)
    found = _parts(value) or ("",)
    for part in found:
        if not (part.isdecimal() and len(part) <= len(str(_MOST)) and 1 <= int(part) <= _MOST):
            shown = part if len(part) <= 40 else f"{part[:40]}..."
            raise typer.BadParameter(f"{shown!r} is not a whole number from 1 to {_MOST}.")
    return tuple(map(int, found))


def _parts(value: str | Sequence[str]) -> tuple[str, ...]:
    if not isinstance(value, str):
        return tuple(value)
    return tuple(part.strip() for part in value.split(",")) if value else ()


def engine_of(name: EngineOrAuto | None, device: DeviceName) -> Backend | None:
    """Return the engine given, None for none; see ``require_engines`` for what is raised."""
    if name is None or name == "auto":
        return None
    require_engines([name], device)
    return name


def require_engines(engines: Sequence[Backend], device: DeviceName) -> None:
    """Raise unless engines can run here.

    Raises:
        MissingDependencyError: packages are missing.
        BackendError: no GPU, or an engine that does not run on the device.
    """
    from emonet_deploy.runtime.backends.registry import require_backend, require_device

    for engine in engines:
        require_device(engine, device)
        require_backend(engine, "run")
