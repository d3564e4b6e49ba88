"""``emonet export``: from a checkpoint to an ONNX model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from emonet_deploy.commands.console import print_parity, print_table, say, show, write_json
from emonet_deploy.commands.options import (
    Artifacts,
    CheckpointName,
    JsonFile,
    NClass,
    PrecisionName,
)
from emonet_deploy.export.choices import Calibrator
from emonet_deploy.runtime.choices import Interface, Target

__all__ = ["export"]


def export(
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    target: Annotated[
        Target, typer.Option(help="gpu: the network as it is; cpu: the same in fewer operations.")
    ] = "gpu",
    precision: PrecisionName = "fp32",
    interface: Annotated[
        Interface, typer.Option("--io", help="image: all processing inside the graph.")
    ] = "tensor",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="int8: a folder of face crops; the stand-in does with drawn faces. fp16: faces "
            "on which to look which values need float32."
        ),
    ] = None,
    calibrator: Annotated[Calibrator, typer.Option(help="int8: how ranges are chosen.")] = "minmax",
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
    card: Annotated[
        bool, typer.Option("--card", help="Write a model card beside it: use, limits, bias, proof.")
    ] = False,
    out: Artifacts = Path("artifacts"),
    json_file: JsonFile = None,
) -> None:
    """Write the reference as ONNX; done only when it was shown to compute the same."""
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.commands.outputs import check_outputs
    from emonet_deploy.commands.prepare_artifacts import (
        export_checked,
        load_calibration,
        resolve_checkpoint,
    )
    from emonet_deploy.runtime.metadata import artifact_name

    model = out / artifact_name(nclass, precision, target, interface)
    check_outputs([json_file, model], [checkpoint, calibration])
    source = resolve_checkpoint(checkpoint, nclass, say)
    check_outputs([json_file, model], [source.path])
    faces = None
    if precision == "int8" or (precision == "fp16" and calibration is not None):
        faces = load_calibration(calibration, source.identity, budget, calibrator)
    made, result = export_checked(nclass, source, out, say, target, precision, interface, faces)
    path = made.path
    if precision == "int8":
        print_calibration(made.info.calibration or {}, sensitivity)
    if precision == "fp16":
        record = made.info.calibration or {}
        show(
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
    if card:
        from emonet_deploy.export.model_card import write_card

        say(f"model card: {write_card(path, made.info, result.to_dict())}")
    show(f"done: {path} ({path.stat().st_size / 1e6:.1f} MB)")


def print_calibration(record: Mapping[str, Any], every_layer: bool) -> None:
    """Print which layers stayed in float and, on request, what each would cost in int8."""
    from emonet_deploy.runtime.output.text_table import Table

    kept = set(record["float_layers"])
    if every_layer:
        work = sum(macs for _, macs, _ in record["sensitivity"])
        table = Table(
            ("layer", "share of work", "noise in int8", "runs in"),
            [
                (name, f"{macs / work:.2%}", f"{noise:.2g}", "float" if name in kept else "int8")
                for name, macs, noise in sorted(record["sensitivity"], key=lambda row: -row[2])
            ],
        )
        print_table(table)
    show(
        f"{record['int8_share']:.1%} of the multiply-accumulates in int8, "
        f"{len(kept)} of {len(record['sensitivity'])} convolutions in float, "
        f"calibrated on {record['faces']} {record['source']} faces"
    )
