"""``emonet export``: from a checkpoint to an ONNX model."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emonet_deploy.commands.console import print_parity, print_table, say, show, write_json
from emonet_deploy.commands.options import (
    Artifacts,
    CheckpointName,
    JsonFile,
    Judging,
    NClass,
    words,
)
from emonet_deploy.errors import ParityError
from emonet_deploy.export.choices import Calibrator, PlanName
from emonet_deploy.runtime.choices import Interface, Precision, Target

if TYPE_CHECKING:
    from emonet_deploy.benchmarks.parity.compare import Parity
    from emonet_deploy.export.onnx import Exported
    from emonet_deploy.export.quantization.calibrate import Calibration

__all__ = ["export"]


def export(
    judging: Judging,
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    target: Annotated[
        Target, typer.Option(help="gpu: the network as it is; cpu: the same in fewer operations.")
    ] = "gpu",
    precision: Annotated[
        Sequence[Precision], words(Precision, "--precision", help="Of the artifact, or several.")
    ] = ("fp32",),
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
    plan: Annotated[
        PlanName,
        typer.Option(help="Of a float32 model for CPUs: rewrite what pays here, or on many."),
    ] = "measured",
    card: Annotated[
        bool, typer.Option("--card", help="Write a model card beside it: use, limits, bias, proof.")
    ] = False,
    out: Artifacts = Path("artifacts"),
    json_file: JsonFile = None,
) -> None:
    """Write the reference as ONNX; done only when it was shown to compute the same."""
    from emonet_deploy.commands.outputs import check_outputs
    from emonet_deploy.commands.prepare_artifacts import (
        export_checked,
        load_calibration,
        resolve_checkpoint,
    )
    from emonet_deploy.runtime.metadata import artifact_name

    models = [out / artifact_name(nclass, each, target, interface) for each in precision]
    check_outputs([json_file, *models], [checkpoint, calibration, judging.faces])
    source = resolve_checkpoint(checkpoint, nclass, say)
    check_outputs([json_file, *models], [source.path])

    @cache
    def calibrated() -> "Calibration":
        return load_calibration(calibration, source.identity, budget, calibrator)

    results: list[dict[str, Any]] = []
    failures: list[ParityError] = []
    for each in precision:
        faces = None
        if each == "int8" or (each == "fp16" and calibration is not None):
            faces = calibrated()
        try:
            made, result = export_checked(
                nclass, source, out, say, target, each, interface, faces, judging, plan
            )
            _print(made, result, sensitivity, card)
            results.append(_to_json(made, source.identity, result))
            result.require(f"{made.path}, kept as asked,")
        except ParityError as error:  # the other precisions may pass
            failures.append(error)
    if results:
        write_json(json_file, results[0] if len(precision) == 1 else {"exports": results})
    if failures:
        raise ParityError("; ".join(e.message for e in failures), hint=failures[0].hint)


def _print(made: "Exported", result: "Parity", sensitivity: bool, card: bool) -> None:
    record = made.info.calibration or {}
    if made.info.precision == "int8":
        print_calibration(record, sensitivity)
    if made.info.precision == "fp16":
        show(
            f"values up to {record['largest']:g} on {record['source']} faces; "
            f"in float32: {', '.join(record['float_layers'])}"
        )
    print_parity(result)
    if card:
        from emonet_deploy.export.model_card import write_card

        say(f"model card: {write_card(made.path, made.info, result.to_dict())}")
    show(f"done: {made.path} ({made.path.stat().st_size / 1e6:.1f} MB)")


def _to_json(made: "Exported", reference: str, result: "Parity") -> dict[str, Any]:
    from emonet_deploy.benchmarks.environment import describe_environment

    return {
        "artifact": str(made.path),
        "reference": reference,
        **result.to_dict(),
        "faces": (made.info.parity or {}).get("faces"),
        "environment": describe_environment(),
    }


def print_calibration(record: Mapping[str, Any], every_layer: bool) -> None:
    """Print which layers stayed in float and, on request, what each would cost in int8."""
    from emonet_deploy.runtime.output.table_formats import Table

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
