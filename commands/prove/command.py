"""``emonet prove``: what holds on this machine's GPU, in one folder and one table."""

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from emonet_deploy.commands.console import print_table, say, show, warn, write_json
from emonet_deploy.commands.options import words
from emonet_deploy.commands.process.exit_codes import ExitCode
from emonet_deploy.runtime.choices import Backend

if TYPE_CHECKING:
    from emonet_deploy.benchmarks.gpu.stage import Outcome, Settings
    from emonet_deploy.commands.prove.stages import Stage

__all__ = ["Run", "prove", "run_stages"]

StageName = Literal[
    "environment", "ceilings", "tests", "models", "build", "parity", "speed", "stress", "report"
]

_BUDGET = 600.0

Run = Callable[[str, "Settings", float], "Outcome"]
"""Runs a stage, given its name, the settings and its limit in seconds."""


def prove(
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; by default gpu-proof/GPU-DATE.")
    ] = None,
    artifacts: Annotated[
        Path, typer.Option(help="Folder of models and engines; those that are there are used.")
    ] = Path("artifacts"),
    checkpoint: Annotated[
        str, typer.Option(help="original, standin, standin:SEED or a file.")
    ] = "standin",
    budget: Annotated[
        float, typer.Option(help="Seconds for all; the stages' limits follow.", min=10)
    ] = _BUDGET,
    only: Annotated[Sequence[StageName], words(StageName, help="Only these stages.")] = (),
    engine: Annotated[
        Sequence[Backend], words(Backend, "--engine", "--backend", help="Only what these run.")
    ] = (),
) -> None:
    """Prove on an NVIDIA GPU that all agrees and holds, and measure what is fastest; 10 minutes.

    Nothing in the folder of results names the machine or a file of it. A stage that cannot run here
    is left out and says why. Exit code 1 when a stage failed, 2 without a GPU.
    """
    from emonet_deploy.runtime.hardware.gpu import cuda_device

    gpu = cuda_device()
    if gpu is None:
        warn("error: there is no NVIDIA GPU with a driver here, on which anything could be proven")
        raise typer.Exit(ExitCode.USAGE)
    from emonet_deploy.benchmarks.gpu.stage import Settings
    from emonet_deploy.benchmarks.gpu.summary import stage_table, summarize
    from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
    from emonet_deploy.errors import InputError

    date = datetime.now(UTC).date().isoformat()
    folder = out or Path("gpu-proof") / f"{gpu.slug}-{date}"
    for needed in (folder, artifacts):
        try:
            needed.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make {needed}: {error.strerror}") from error
    backends = tuple(engine) or ("torch", "onnx", "trt", "trt-rtx")
    settings = Settings(folder.resolve(), artifacts.resolve(), checkpoint, backends=backends)
    outcomes = run_stages(settings, only, budget, in_process_of_its_own, say)
    report = summarize(settings, outcomes)
    write_json(folder / "summary.json", report.to_dict())
    with atomic_write(folder / "summary.md", InputError) as temporary:
        temporary.write_text(report.to_markdown(), encoding="utf-8")
    print_table(stage_table(outcomes))
    print_table(report.table)
    for sentence in report.sentences:
        show(sentence)
    say(f"results: {folder}")
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(ExitCode.ERROR)


def run_stages(
    settings: "Settings",
    only: Sequence[str],
    budget: float,
    run: Run,
    say: Callable[[str], None],
    stages: Mapping[str, "Stage"] | None = None,
) -> "list[Outcome]":
    """Run the stages in their order; whatever becomes of one, the next one follows.

    Args:
        settings: for all of them.
        only: names of the stages to run; all if empty.
        budget: seconds for all: each stage's limit is its share.
        run: runs one.
        say: told what begins and how it ended.
        stages: by name; by default those of the proof.
    """
    from emonet_deploy.commands.prove.stages import STAGES

    outcomes = []
    for name, stage in (stages or STAGES).items():
        if only and name not in only:
            continue
        say(f"{name} ...")
        for folder in (settings.folder, settings.work):  # what an earlier proof has left
            (folder / f"{name}.json").unlink(missing_ok=True)
        outcome = run(name, settings, stage.seconds * budget / _BUDGET)
        if stage.inside:
            _publish(settings, name)
        say(" ".join(filter(None, (f"{name}: {outcome.status}", outcome.line))))
        outcomes.append(outcome)
    return outcomes


def in_process_of_its_own(name: str, settings: "Settings", limit: float) -> "Outcome":
    """Run a stage of the proof."""
    from emonet_deploy.benchmarks.gpu.stage import run_child

    file = settings.work / "proof-settings.json"
    file.write_text(settings.to_json(), encoding="utf-8")
    module = "emonet_deploy.commands.prove.stages"
    return run_child(name, [sys.executable, "-m", module, name, str(file)], limit)


def _publish(settings: "Settings", stage: str) -> None:
    """Copy the rows of a stage to the results, without the files they name."""
    rows = settings.rows(stage)
    for row in rows:
        row.pop("artifact", None)
    if rows:
        write_json(settings.folder / f"{stage}.json", {"rows": rows})
