"""``emonet bench``: speed and agreement in one table."""

from pathlib import Path
from typing import Annotated

import typer

from emonet_deploy.commands.console import (
    number,
    print_table,
    say,
    write_json,
)
from emonet_deploy.commands.options import (
    Artifacts,
    CheckpointName,
    Device,
    Engines,
    JsonFile,
    NClass,
    Threads,
    device_of,
    numbers_of,
)

__all__ = ["bench"]


def bench(
    artifacts: Annotated[
        list[Path] | None, typer.Argument(help="Artifacts; by default those of the options.")
    ] = None,
    engine: Engines = "torch,onnx",
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8; several with commas.")] = "fp32",
    batch: Annotated[str, typer.Option(help="Batch sizes, with commas.")] = "1",
    nclass: NClass = 8,
    checkpoint: CheckpointName = "original",
    out: Artifacts = Path("artifacts"),
    device: Device = "auto",
    threads: Threads = None,
    seconds: Annotated[float, typer.Option(help="Measured time a row, on average.", min=0.1)] = 5.0,
    faces: Annotated[int, typer.Option("--n", help="Faces for the agreement.", min=2)] = 32,
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph", help="Run engines as CUDA graphs.")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Measure speed, memory and agreement in one table; backends are timed in turns."""
    from emonet_deploy.benchmarks.bench import Candidate, run_bench
    from emonet_deploy.benchmarks.environment import describe_environment
    from emonet_deploy.commands.recipes import engines_of, obtain, parity_crops, source_of
    from emonet_deploy.runtime.session import load_session

    batches = numbers_of(batch)
    engines = [] if artifacts else engines_of(engine)
    source = source_of(checkpoint, nclass, say)
    paths = artifacts or obtain(engines, precision.split(","), nclass, source, out, say)
    loaded = [
        Candidate(path, load_session(path, None, device_of(device), threads, cuda_graph))
        for path in dict.fromkeys([source.path, *paths])
    ]
    rows = run_bench(
        loaded[0],
        [candidate for candidate in loaded if candidate.path in paths],
        batches,
        parity_crops(faces),
        threads,
        seconds,
        say,
    )
    print_table(
        ("engine", "precision", "batch", "p50 ms", "p95 ms", "images/s", "speed-up", "RSS MB",
         "start ms", "size MB", "equal classes", "CCC v", "CCC a"),
        [
            (r.backend, r.precision, r.batch, f"{r.p50_ms:.1f}", f"{r.p95_ms:.1f}",
             f"{r.throughput:.2f}", f"{r.speedup:.2f}", number(r.peak_rss_mb, ".0f"),
             number(r.cold_start_ms, ".0f"), f"{r.size_mb:.1f}", f"{r.agreement:.1%}",
             number(r.ccc_valence, ".5f"), number(r.ccc_arousal, ".5f"))
            for r in rows
        ],
    )  # fmt: skip
    on_device = [(r, r.device) for r in rows if r.device is not None]
    if on_device:
        print_table(
            ("engine", "precision", "batch", "copy in ms", "compute ms", "copy out ms"),
            [
                (r.backend, r.precision, r.batch,
                 f"{d.copy_in:.3f}", f"{d.compute:.3f}", f"{d.copy_out:.3f}")
                for r, d in on_device
            ],
        )  # fmt: skip
    environment = describe_environment()
    write_json(json_file, {"environment": environment, "rows": [row.to_dict() for row in rows]})
