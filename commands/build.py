"""``emonet build``: from an ONNX model to a TensorRT engine."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from emonet_deploy.commands.console import phase_bar, write_json
from emonet_deploy.commands.options import numbers_of
from emonet_deploy.errors import InputError

if TYPE_CHECKING:
    from emonet_deploy.runtime.backends.tensorrt.library import EngineKind

__all__ = ["build"]


def build(
    model: Annotated[Path, typer.Argument(help="An ONNX model of this toolkit.")],
    engine: Annotated[
        str, typer.Option("--engine", "--backend", help="trt (on its GPU) or trt-rtx (anywhere).")
    ] = "trt",
    max_batch: Annotated[int, typer.Option(help="Largest batch at once.")] = 16,
    opt_batch: Annotated[
        int | None, typer.Option(help="Batch to be fastest at; by default 8 or the largest.")
    ] = None,
    min_batch: Annotated[int, typer.Option(help="Smallest batch.")] = 1,
    sm: Annotated[
        str, typer.Option(help="trt-rtx: compute capabilities, as 75,80,86,89,120,121.")
    ] = "",
    workspace: Annotated[int | None, typer.Option(help="Limit of scratch memory, MiB.")] = None,
    level: Annotated[
        int | None, typer.Option(help="0 builds fastest, 5 looks longest for a fast engine.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The engine, or its folder; by default beside the model.")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", help="Write what each layer became as JSON.")
    ] = None,
) -> None:
    """Compile an ONNX model into a TensorRT engine."""
    from emonet_deploy.export.tensorrt.engine import build_engine
    from emonet_deploy.export.tensorrt.inspector import report
    from emonet_deploy.export.tensorrt.options import BuildOptions

    if engine not in {"trt", "trt-rtx"}:
        raise InputError(f"--engine must be trt or trt-rtx, not {engine}")
    options = BuildOptions(
        max_batch, opt_batch, min_batch, tuple(numbers_of(sm, "--sm")),
        workspace, level,
    )  # fmt: skip
    with phase_bar(f"building {model.name}") as progress:
        built = build_engine(model, out, cast("EngineKind", engine), options, progress)
    layers = report(built.layers, built.convolutions)
    write_json(report_file, layers | {"traffic": asdict(built.traffic)})
    print(layers["summary"])
    print(built.traffic)
    print(f"done: {built.path} ({built.path.stat().st_size / 1e6:.1f} MB)")
