"""Options that several commands share, and how they are read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from emonet_deploy.errors import InputError

if TYPE_CHECKING:
    from emonet_deploy.runtime.types import Backend
    from emonet_deploy.runtime.types import Device as DeviceName

__all__ = [
    "Artifacts",
    "CheckpointName",
    "Device",
    "Engine",
    "Engines",
    "JsonFile",
    "NClass",
    "Threads",
    "device_of",
    "engine_of",
    "engines_of",
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
    typer.Option(
        "--engine",
        "--backend",
        help="torch, onnx, openvino, trt, trt-rtx; several with commas.",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine", "--backend", help="What runs it: torch, onnx, openvino, trt, trt-rtx."
    ),
]
Artifacts = Annotated[Path, typer.Option("--out", help="Folder of the artifacts.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result there as JSON.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Threads = Annotated[int | None, typer.Option("--threads", help="CPU threads of one run.", min=1)]


def device_of(name: str) -> "DeviceName":
    """Return a device's name once it is sure that it is one."""
    if name not in {"auto", "cpu", "cuda"}:
        raise InputError(f"--device must be auto, cpu or cuda, not {name}")
    return cast("DeviceName", name)


def engine_of(name: str | None, device: "DeviceName") -> "Backend | None":
    """Return the engine of that name, or None for none; see ``engines_of`` for what is raised."""
    if name is None:
        return None
    engines = engines_of(name, device)
    if len(engines) != 1:
        raise InputError(f"--engine takes one engine here, not {name!r}")
    return engines[0]


def engines_of(names: str, device: "DeviceName") -> "list[Backend]":
    """Return the engines a list with commas names, once it is sure that they can run here.

    An empty text names none.

    Raises:
        InputError: an unknown engine.
        MissingDependencyError: packages are missing.
        BackendError: no GPU, or an engine that does not run on the device.
    """
    from emonet_deploy.runtime.backends.registry import (
        BACKENDS,
        require_backend,
        require_device,
    )

    engines = []
    for name in names.split(",") if names else []:
        known = [backend for backend in BACKENDS if backend == name.strip()]
        if not known:
            raise InputError(f"unknown engine {name!r}; choose {', '.join(BACKENDS)}")
        engines += known
    for engine in engines:
        require_device(engine, device)
        require_backend(engine, "run")
    return engines


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
