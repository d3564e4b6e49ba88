"""``emonet export``: from a checkpoint to an ONNX model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from emonet_deploy.commands.console import print_parity, print_table, say, write_json
from emonet_deploy.commands.options import Artifacts, CheckpointName, JsonFile, NClass

__all__ = ["export"]


def export(
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    target: Annotated[
        str, typer.Option(help="gpu: the network as it is; cpu: the same in fewer operations.")
    ] = "gpu",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    interface: Annotated[
        str, typer.Option("--io", help="tensor, or image: processing inside the graph.")
    ] = "tensor",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="int8: a folder of face crops; the stand-in does with drawn faces. fp16: faces "
            "on which to look which values need float32."
        ),
    ] = None,
    calibrator: Annotated[
        str, typer.Option(help="int8: how ranges are chosen: minmax, entropy or percentile.")
    ] = "minmax",
    budget: Annotated[
        float | None,
        typer.Option(
            "--int8-budget",
            help="int8: share of the work that may stay in float; 0.1, on CPUs 0.19.",
            min=0,
            max=1,
        ),
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="int8: show what each layer costs.")
    ] = False,
    out: Artifacts = Path("artifacts"),
    json_file: JsonFile = None,
) -> None:
    """Write the reference as ONNX; done only when it was shown to compute the same."""
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.commands.artifacts import (
        calibration_of,
        export_checked,
        interface_of,
        precision_of,
        source_of,
        target_of,
    )

    wanted, io = precision_of(precision), interface_of(interface)
    source = source_of(checkpoint, nclass, say)
    faces = None
    if wanted == "int8" or (wanted == "fp16" and calibration is not None):
        faces = calibration_of(calibration, source.identity, budget, calibrator)
    made, result = export_checked(nclass, source, out, say, target_of(target), wanted, io, faces)
    path = made.path
    if wanted == "int8":
        print_calibration(made.info.calibration or {}, sensitivity)
    if wanted == "fp16":
        record = made.info.calibration or {}
        print(
            f"values up to {record['largest']:g} on {record['source']} faces; "
            f"in float32: {', '.join(record['float_layers'])}"
        )
    print_parity(result)
    write_json(
        json_file,
        {
            "artifact": str(path),
            "reference": source.identity,
            **result.to_dict(),
            "environment": describe_environment(),
        },
    )
    print(f"done: {path} ({path.stat().st_size / 1e6:.1f} MB)")


def print_calibration(record: Mapping[str, Any], every_layer: bool) -> None:
    """Print which layers stayed in float and, on request, what each would cost in int8."""
    kept = set(record["float_layers"])
    if every_layer:
        work = sum(macs for _, macs, _ in record["sensitivity"])
        print_table(
            ("layer", "share of work", "noise in int8", "runs in"),
            [
                (name, f"{macs / work:.2%}", f"{noise:.2g}", "float" if name in kept else "int8")
                for name, macs, noise in sorted(record["sensitivity"], key=lambda row: -row[2])
            ],
        )
    print(
        f"{record['int8_share']:.1%} of the multiply-accumulates in int8, "
        f"{len(kept)} of {len(record['sensitivity'])} convolutions in float, "
        f"calibrated on {record['faces']} {record['source']} faces"
    )
