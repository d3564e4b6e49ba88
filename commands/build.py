"""``emonet build``: from an ONNX model to a TensorRT engine."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from emonet_deploy.commands.console import phase_bar, say, show, write_json
from emonet_deploy.commands.options import whole_numbers
from emonet_deploy.runtime.choices import EngineKind, HardwareCompatibility, Optimize

__all__ = ["build"]


def build(
    model: Annotated[Path, typer.Argument(help="An ONNX model of this toolkit.")],
    engine: Annotated[
        EngineKind,
        typer.Option("--engine", "--backend", help="trt: on its GPU; trt-rtx: anywhere."),
    ] = "trt",
    optimize: Annotated[
        Optimize,
        typer.Option(help="latency: batches of 1; throughput: up to 64, fastest at 32."),
    ] = "throughput",
    max_batch: Annotated[
        int | None,
        typer.Option(help="Largest batch at once, instead of --optimize's.", min=1, max=65536),
    ] = None,
    opt_batch: Annotated[
        int | None, typer.Option(help="Batch to be fastest at, likewise.", min=1, max=65536)
    ] = None,
    min_batch: Annotated[int, typer.Option(help="Smallest batch.", min=1, max=65536)] = 1,
    sm: Annotated[
        Sequence[int],
        whole_numbers("--sm", help="trt-rtx: compute capabilities, as 75,80,86,89,120,121."),
    ] = (),
    workspace: Annotated[
        int | None, typer.Option(help="Limit of scratch memory, MiB.", min=1, max=1 << 20)
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(help="0 builds fastest, 5 looks longest for a fast engine.", min=0, max=5),
    ] = None,
    hardware_compatibility: Annotated[
        HardwareCompatibility,
        typer.Option(
            help="trt: run also on GPUs of the same compute capability, or of Ampere and later."
        ),
    ] = "none",
    version_compatible: Annotated[
        bool,
        typer.Option("--version-compatible", help="trt: run on later versions of TensorRT, too."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The engine, or its folder; by default beside the model.")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", help="Write what each layer became as JSON.")
    ] = None,
) -> None:
    """Compile an ONNX model into a TensorRT engine."""
    from emonet_deploy.commands.outputs import check_outputs
    from emonet_deploy.emonet_ref.storage.path_access import is_dir
    from emonet_deploy.export.tensorrt.build_engine import build_engine
    from emonet_deploy.export.tensorrt.inspector import report
    from emonet_deploy.export.tensorrt.options import BuildOptions
    from emonet_deploy.runtime.backends.registry import SUFFIXES
    from emonet_deploy.runtime.backends.tensorrt.library import PACKAGES

    named = out is not None and out.suffix.lower() in SUFFIXES["engine"] and not is_dir(out)
    check_outputs([report_file, out if named else None], [model])
    options = BuildOptions(
        max_batch, opt_batch, min_batch, tuple(sm), workspace, level, optimize,
        hardware_compatibility, version_compatible,
    )  # fmt: skip
    with phase_bar(f"building {model.name}") as progress:
        built = build_engine(model, out, engine, options, progress)
    layers = report(built.layers, built.convolutions)
    builder = f"{PACKAGES[engine].module} {built.info.tools[PACKAGES[engine].module]}"
    write_json(report_file, layers | {"traffic": asdict(built.traffic), "builder": builder})
    show(layers["summary"])
    show(built.traffic)
    show(f"done: {built.path} ({built.path.stat().st_size / 1e6:.1f} MB)")
    say(f"not yet compared: on its GPU, emonet parity {built.path}")
