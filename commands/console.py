"""What the command line prints: results to standard output, the rest to standard error."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from emonet_deploy.emonet_ref.storage.files import atomic_write

if TYPE_CHECKING:
    from emonet_deploy.benchmarks.accuracy.summary import Summary
    from emonet_deploy.benchmarks.metrics.difference import Difference
    from emonet_deploy.benchmarks.parity.compare import Parity, Verdict
    from emonet_deploy.runtime.output.table import Table

__all__ = [
    "number",
    "phase_bar",
    "print_accuracy",
    "print_differences",
    "print_parity",
    "print_table",
    "progress_bar",
    "say",
    "write_json",
]

_LISTED = 20
"""How many missing pictures are named."""


def say(message: str) -> None:
    """Print a note, a warning or an error."""
    print(message, file=sys.stderr, flush=True)


def number(value: float | None, form: str) -> str:
    """Format a number, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def print_table(table: "Table") -> None:
    """Print a table on a terminal, tab-separated lines elsewhere."""
    from emonet_deploy.runtime.output.table import as_rich, as_tsv

    if sys.stdout.isatty():
        Console().print(as_rich(table))
    else:
        print(as_tsv(table), end="")


def print_differences(kind: str, differences: "Mapping[str, Difference]") -> None:
    """Print how far each tensor is from the reference's; nothing where there is none."""
    from emonet_deploy.runtime.output.table import Table

    if not differences:
        return
    table = Table(
        (kind, "max error", "mean error", "share of spread", "cosine", "SNR dB"),
        [
            (
                name,
                f"{d.max_abs:.2e}",
                f"{d.mean_abs:.2e}",
                number(d.max_abs / d.spread if d.spread else None, ".2e"),
                number(d.cosine, ".7f"),
                number(d.snr_db, ".1f"),
            )
            for name, d in differences.items()
        ],
    )
    print_table(table)


def print_parity(result: "Parity") -> None:
    """Print how far an artifact is from its reference, and each gate."""
    print_differences("output", result.outputs)
    print(
        f"{result.n} faces: {result.agreement:.1%} equal classes, "
        f"CCC valence {number(result.ccc_valence, '.6f')}, "
        f"arousal {number(result.ccc_arousal, '.6f')}"
    )
    print_gates(result.gates)


def print_gates(gates: "Mapping[str, Verdict]") -> None:
    """Print each gate, what was measured, and whether it passes."""
    for name, gate in gates.items():
        verdict = "pass" if gate.passed else "FAIL"
        print(f"{verdict}\t{name}\t{number(gate.value, '.6g')}\tgate {gate.limit:g}")


def print_accuracy(summary: "Summary") -> None:
    """Print the metrics of a run, the paper's beside them, and what it was compared with."""
    from emonet_deploy.benchmarks.accuracy.tables import metrics_table

    print_table(metrics_table(summary))
    if summary.against is not None:
        found = summary.against
        print(
            f"against the reference: {found.agreement:.1%} equal classes, "
            f"CCC valence {number(found.ccc_valence, '.6f')}, "
            f"arousal {number(found.ccc_arousal, '.6f')}"
        )
        print_gates(found.gates)
    run = summary.run
    for missing in run.missing[:_LISTED]:
        say(f"missing: {missing.reason}")
    if len(run.missing) > _LISTED:
        say(f"missing: {len(run.missing) - _LISTED} more; --json lists all")
    speed = number(summary.throughput, ".1f")
    print(f"{len(run.numbers)} samples, {len(run.missing)} missing, {speed} samples/s")


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on a terminal, nothing elsewhere; yields ``update(done, total)``."""
    with _bar(label) as update:
        yield lambda done, total: update(label, done, total)


@contextmanager
def phase_bar(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for one phase after another; yields ``update(phase, done, total)``."""
    with _bar(label) as update:
        yield lambda phase, done, total: update(f"{label}: {phase}", done, total)


@contextmanager
def _bar(label: str) -> Iterator[Callable[[str, int, int | None], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task(label, total=None)
        yield lambda text, done, total: progress.update(
            task, description=text, completed=done, total=total
        )


def write_json(path: Path | None, result: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write a result as JSON, all or nothing; ``None`` as path writes nothing."""
    if path is None:
        return
    with atomic_write(path) as temporary:
        text = json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False)
        # A name's bytes that are no UTF-8 become escapes, which JSON has too.
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
