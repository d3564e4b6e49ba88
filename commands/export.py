"""``emonet export``: from a checkpoint to an ONNX model."""

from pathlib import Path
from typing import Annotated

import typer

from emonet_deploy.commands.console import (
    print_parity,
    say,
    write_json,
)
from emonet_deploy.commands.options import Artifacts, CheckpointName, JsonFile, NClass

__all__ = ["export"]


def export(
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    target: Annotated[
        str, typer.Option(help="gpu: the network as it is; cpu: the same in fewer operations.")
    ] = "gpu",
    out: Artifacts = Path("artifacts"),
    json_file: JsonFile = None,
) -> None:
    """Write the reference as ONNX; done only when it was shown to compute the same."""
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.commands.recipes import export_checked, source_of, target_of

    source = source_of(checkpoint, nclass, say)
    path, result = export_checked(nclass, source, out, say, target_of(target))
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
